"""A large worktree under watch: what is told of it is what git says now, whatever happened in between; else nothing is."""

from __future__ import annotations

import os
import random

import pytest

from thrum import vigil
from thrum.git import context, evidence, memory
from thrum.git.evidence import CannotTellError
from thrum.git.glance import Index
from thrum.git.memory import Memory
from thrum.git.place import Place, find
from thrum.git.watched import Watched
from thrum.vigil import LostSightError, Vigil

from .kit import git, write
from .test_memory import DEEDS, agree, patient, shop

__all__ = ["patient", "shop"]

PLAIN = (
    *("nothing", "a change", "a change that has size and time of what was there", "a change taken back"),
    *("an executable", "a file gone", "an untracked file gone", "a commit", "a commit amended"),
    *("an ignored file", "our own files", "a commit of one file"),
)
"""Deeds after which git need not be asked to look at everything."""


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    """As if every worktree were large."""
    try:
        Vigil(str(tmp_path)).close()
    except LostSightError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(evidence, "MOST", -1)
    monkeypatch.setattr(memory, "REST", 0.0)


@pytest.mark.parametrize("deed", DEEDS)
def test_no_deed_leaves_a_worktree_that_is_told_wrong(shop: str, deed: str) -> None:
    place, known = find(shop), Memory()
    assert known.learn(place) and place in known._watched and agree(known, place)
    DEEDS[deed](shop)
    assert agree(known, place) or deed not in PLAIN
    agree(known, place)
    known.learn(place)
    agree(known, place)


@pytest.mark.parametrize("seed", range(6))
def test_no_series_of_deeds_leaves_a_worktree_that_is_told_wrong(shop: str, seed: int) -> None:
    choice, place, known = random.Random(seed), find(shop), Memory()
    known.learn(place)
    for _ in range(25):
        deeds = PLAIN if choice.random() < 0.8 else list(DEEDS)
        try:
            DEEDS[choice.choice(deeds)](shop)
            write(f"{shop}/src/cart.py", str(choice.random())) if choice.random() < 0.5 else None
        except (AssertionError, OSError):  # not possible after what was done before
            git(shop, "status", "--porcelain")
        agree(known, place)
        if choice.random() < 0.4:
            known.learn(place)


def test_commit_after_commit_is_worked_out_without_a_process(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(find(shop))
    for number in range(4):
        write(f"{shop}/src/cart.py", f"{number}\n")
        write(f"{shop}/same", f"{number}\n")
        git(shop, "commit", "-q", "-m", f"Number {number}\n\nbody", "--", "src/cart.py")
        with monkeypatch.context() as patch:
            patch.setattr("thrum.git.child.subprocess.Popen", lambda *a, **k: pytest.fail("a process"))
            found = watched.recall()
        assert found == context.read(find(shop))
        assert found["unmerged_commits"][0]["message"] == f"Number {number}" and "same" in found["uncommitted_files"]
    watched.close()
    with pytest.raises(LostSightError):
        watched.recall()


def told(watched: Watched) -> context.Context | None:
    """What is told, if anything is; it has to be what git says."""
    try:
        found = watched.recall()
    except (CannotTellError, LostSightError):
        return None
    assert found == context.read(watched._place)
    return found


def test_a_commit_taken_back_leaves_its_files_changed(shop: str) -> None:
    git(shop, "commit", "-q", "-a", "-m", "docs")
    watched = Watched(find(shop))
    git(shop, "reset", "-q", "--soft", "HEAD~1")
    git(shop, "read-tree", "HEAD")
    found = told(watched)
    assert found is not None and "docs/a.md" in found["uncommitted_files"]
    watched.close()


def test_files_whose_commit_was_taken_back_are_new_files(repo: str) -> None:
    git(repo, "checkout", "-q", "-b", "feature")
    write(f"{repo}/one", "x")
    git(repo, "add", "one")
    git(repo, "commit", "-q", "-m", "one")
    watched = Watched(find(repo))
    assert told(watched)
    git(repo, "reset", "-q", "--soft", "HEAD~1")
    git(repo, "read-tree", "HEAD")
    told(watched)
    watched.close()


def test_an_untracked_folder_of_which_a_file_is_committed_is_told_by_its_others(shop: str) -> None:
    for number in range(201):
        write(f"{shop}/many/{number}", "x")
    git(shop, "commit", "-q", "-a", "-m", "docs")
    watched = Watched(find(shop))
    assert told(watched)
    git(shop, "add", "many/1")
    git(shop, "commit", "-q", "-m", "one of many")
    told(watched)
    watched.close()


def test_what_is_tracked_in_an_ignored_folder_is_seen_to_change(shop: str) -> None:
    place, known = find(shop), Memory()
    assert known.learn(place) and agree(known, place)
    git(shop, "add", "-f", "build/out")
    git(shop, "commit", "-q", "-m", "out", "--", "build/out")
    agree(known, place)
    known.learn(place)
    write(f"{shop}/build/out", "changed\n")
    agree(known, place)
    assert "build/out" in context.read(place)["uncommitted_files"]


def test_a_large_untracked_folder_that_shrinks_is_told_by_what_is_left(shop: str) -> None:
    for number in range(201):
        write(f"{shop}/gen/{number}", "x")
    place, known = find(shop), Memory()
    assert known.learn(place) and "gen/" in context.read(place)["uncommitted_files"]
    for number in range(201):
        os.unlink(f"{shop}/gen/{number}")
        if number in (0, 1, 199, 200):
            agree(known, place)
    assert not [path for path in context.read(place)["uncommitted_files"] if path.startswith("gen")]


def test_a_folder_that_lost_its_last_tracked_file_is_told_as_a_folder(shop: str) -> None:
    for number in range(201):
        write(f"{shop}/docs/{number}.log", "ignored")
    write(f"{shop}/docs/new", "x")
    git(shop, "commit", "-q", "-a", "-m", "docs")
    watched = Watched(find(shop))
    assert told(watched)
    git(shop, "rm", "-q", "docs/a.md")
    git(shop, "commit", "-q", "-m", "no docs")
    told(watched)
    assert "docs/" in context.read(find(shop))["uncommitted_files"]
    watched.close()


def test_a_glance_works_nothing_out_and_waits_for_nobody(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, known = find(shop), Memory()
    assert known.learn(place) and known.glance([place]) == [context.read(place)]
    watched, _ = known._watched[place]
    with watched._lock:
        assert known.glance([place]) is None
    with monkeypatch.context() as patch:
        patch.setattr(memory, "LONGEST", 0.0)
        assert known.glance([place]) is None
    write(f"{shop}/src/cart.py", "two\n")
    assert known.glance([place]) is None
    assert [known.recall(place)] == known.glance([place]) == [context.read(place)]
    git(shop, "config", "core.ignoreCase", "true")
    assert known.glance([place]) is None and place in known._watched
    assert known.recall(place) is None and place not in known._watched


def test_what_others_committed_is_not_told_as_ones_own(repo: str, shop: str) -> None:
    write(f"{repo}/theirs", "x")
    git(repo, "add", "theirs")
    git(repo, "commit", "-q", "-m", "theirs")
    watched = Watched(find(shop))
    for number in range(2):
        git(shop, "commit", "-q", "-a", "--allow-empty", "-m", f"mine {number}")
        assert told(watched)
    watched.close()


@pytest.mark.parametrize("message", ["two\nlines", " lead", "ünï", "x\x01y", "tab\there", "only"])
def test_a_subject_is_told_as_git_tells_it(shop: str, message: str) -> None:
    watched = Watched(find(shop))
    git(shop, "commit", "-q", "-a", "--cleanup=verbatim", "-m", message)
    assert watched.recall() == context.read(find(shop))
    watched.close()


def test_a_merge_and_what_others_committed_are_told(repo: str, shop: str) -> None:
    git(shop, "commit", "-q", "-a", "-m", "mine")
    write(f"{repo}/theirs", "x")
    git(repo, "add", "theirs")
    git(repo, "commit", "-q", "-m", "theirs")
    watched = Watched(find(shop))
    git(shop, "merge", "-q", "--no-edit", "main", check=False)
    told(watched)
    watched.close()


@pytest.mark.parametrize(
    "words",
    [
        ("config", "diff.orderFile", "x"),
        ("config", "core.ignoreCase", "true"),
        ("checkout", "-q", "--detach"),
        ("replace", "HEAD", "HEAD~1"),
    ],
)
def test_what_is_unusual_is_not_worked_out(shop: str, words: tuple[str, ...]) -> None:
    git(shop, *words)
    with pytest.raises(CannotTellError):
        Watched(find(shop))


def test_files_touched_while_git_is_asked_are_looked_at_again(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = context.read

    def read(place: Place) -> context.Context:
        found = real(place)
        write(f"{shop}/src/cart.py", "later")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(context, "read", read)
        watched = Watched(find(shop))
    found = told(watched)
    assert found is not None and "src/cart.py" in found["uncommitted_files"]
    watched.close()


def test_a_commit_while_git_is_asked_is_not_worked_out(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = context.read

    def read(place: Place) -> context.Context:
        found = real(place)
        git(shop, "commit", "-q", "--allow-empty", "-m", "meanwhile")
        return found

    monkeypatch.setattr(context, "read", read)
    with pytest.raises(CannotTellError):
        Watched(find(shop))


def test_git_is_asked_again_when_somebody_committed_meanwhile(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, commits = context.read, iter(("one", "two"))

    def read(place: Place) -> context.Context:
        found = real(place)
        for subject in commits:
            git(shop, "commit", "-q", "--allow-empty", "-m", subject)
            break
        return found

    with monkeypatch.context() as patch:
        patch.setattr(context, "read", read)
        watched = Watched(find(shop))
    found = told(watched)
    assert found is not None and found["unmerged_commits"][0]["message"] == "two"
    watched.close()


def test_a_file_with_another_name_elsewhere_is_not_worked_out(shop: str) -> None:
    os.link(f"{shop}/same", f"{shop}/../elsewhere")
    with pytest.raises(CannotTellError, match="another name"):
        Watched(find(shop))


def test_contents_that_git_changes_are_left_to_git(shop: str) -> None:
    write(f"{shop}/.gitattributes", "same text\n")
    git(shop, "add", ".gitattributes")
    git(shop, "commit", "-q", "-m", "attributes")
    watched = Watched(find(shop))
    write(f"{shop}/same", "one\r\n")
    with pytest.raises(CannotTellError):
        watched.recall()
    watched.close()


def test_learning_a_large_worktree_is_paid_for(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REST", 1000.0)
    known, place = Memory(), find(shop)
    assert known.learn(place) and known.learn(place)
    os.mkdir(f"{shop}/another")
    assert known.recall(place) is None
    assert not known.learn(place)


def test_only_so_many_large_worktrees_are_watched(repo: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_WATCHED", 1)
    known = Memory()
    assert known.learn(find(repo)) and known.learn(find(shop))
    assert known.recall(find(repo)) is None and known.recall(find(shop))


def test_nothing_is_known_for_ever(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Memory()
    assert known.learn(find(shop))
    monkeypatch.setattr(memory, "LONGEST", 0.0)
    assert known.recall(find(shop)) is None


# The watch itself.


def test_a_vigil_tells_of_what_happened_before_it_was_asked(tmp_path: os.PathLike[str]) -> None:
    top = str(tmp_path)
    write(f"{top}/a/old", "x")
    seen = Vigil(top)
    seen.watch("")
    seen.watch("a")
    assert seen.touched() == frozenset()
    write(f"{top}/a/new", "x")
    os.rename(f"{top}/a/old", f"{top}/moved")
    assert seen.touched() == {"a/new", "a/old", "moved"}
    seen.forget(frozenset({"a/new", "a/old", "moved"}))
    assert seen.touched() == frozenset()
    os.utime(f"{top}/moved")
    assert seen.touched() == {"moved"}
    os.makedirs(f"{top}/.thrum")
    assert seen.touched() == {"moved"}
    seen.close()


@pytest.mark.parametrize("deed", ["come", "go", "away", "much", "flood"])
def test_a_vigil_says_when_it_lost_sight(
    tmp_path: os.PathLike[str], deed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = str(tmp_path)
    os.makedirs(f"{top}/a/b")
    seen = Vigil(top)
    seen.watch("a")
    if deed == "come":
        os.mkdir(f"{top}/a/c")
    elif deed == "go":
        os.rmdir(f"{top}/a/b")
    elif deed == "away":
        os.rename(f"{top}/a", f"{top}/z")
    elif deed == "much":
        monkeypatch.setattr(vigil, "MOST_TOUCHED", 3)
        for number in range(4):
            write(f"{top}/a/{number}", "x")
    else:
        seen._note(vigil._EVENT.pack(-1, 0x4000, 0, 0))
    for _ in range(2):
        with pytest.raises(LostSightError):
            seen.touched()
    seen.close()


def test_a_vigil_is_bounded(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "MOST_FOLDERS", 1)
    os.mkdir(f"{tmp_path}/a")
    seen = Vigil(str(tmp_path))
    seen.watch("")
    with pytest.raises(LostSightError):
        seen.watch("a")
    seen.close()
    with pytest.raises(LostSightError):
        Vigil("/proc/self")


# git's index at a glance.


def test_an_index_tells_its_tree_and_its_rows(shop: str) -> None:
    index = Index(f"{find(shop).git_dir}/index")
    assert index.tree() == git(shop, "rev-parse", "HEAD^{tree}")
    for line in git(shop, "ls-files", "--stage").splitlines():
        entry, path = line.split("\t")
        row = index.row(path)
        assert row is not None and f"{row.state[6]:o} {row.oid} 0" == entry
    for path in ("cart.py", "src", "ame", "deep/tax.py", "nothing"):
        assert index.row(path) is None
    index.close()


@pytest.mark.parametrize(
    "words",
    [
        ("add", "docs/a.md"),
        ("rm", "-q", "--cached", "same"),
        ("add", "-N", "loose"),
        ("update-index", "--index-version", "4"),
        ("update-index", "--split-index"),
    ],
)
def test_an_index_that_is_no_commit_says_so(shop: str, words: tuple[str, ...]) -> None:
    git(shop, *words)
    with pytest.raises(CannotTellError):
        Index(f"{find(shop).git_dir}/index").tree()


def test_a_path_that_ends_like_another_is_not_taken_for_it(shop: str) -> None:
    tail = "x" * 40 + "/" + "y" * 6
    for length in range(1, 9):
        write(f"{shop}/{'p' * length}/{tail}", "x")
    git(shop, "add", ".")
    index = Index(f"{find(shop).git_dir}/index")
    assert len(tail) == ord("/") and index.row(tail) is None
    assert index.row(f"pp/{tail}")
    index.close()


def test_no_index_and_half_an_index_are_refused(tmp_path: os.PathLike[str], shop: str) -> None:
    with pytest.raises(CannotTellError):
        Index(f"{tmp_path}/none")
    with open(f"{find(shop).git_dir}/index", "rb") as file:
        write(f"{tmp_path}/half", file.read()[:-40])
    with pytest.raises(CannotTellError):
        Index(f"{tmp_path}/half").tree()
