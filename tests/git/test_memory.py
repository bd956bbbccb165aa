"""What is remembered of a worktree is what git would say now, whatever happened in between; else nothing is."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable

import pytest

from thrum.core import clock
from thrum.git import context, evidence, memory
from thrum.git.evidence import CannotTellError
from thrum.git.memory import Memory
from thrum.git.place import Place, find

from .kit import git, make, settle, write

Deed = Callable[[str], object]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if everything had been lying there for a while."""
    monkeypatch.setattr(evidence, "now", lambda: time.time_ns() + 2 * clock.SETTLED)


@pytest.fixture
def shop(repo: str, linked: str) -> str:
    """A worktree on a branch of its own, with a commit, files of every kind and rules of what is ignored."""
    home = os.environ["HOME"]
    write(f"{home}/mine", "*.mine\n")
    write(f"{home}/more", "[thrum]\n\tx = 1\n")
    git(repo, "config", "--global", "core.excludesFile", "~/mine")
    git(repo, "config", "--global", "include.path", "more")
    git(repo, "config", "--global", "includeIf.onbranch:other.path", "~/onother")
    for name in ("src/cart.py", "src/deep/tax.py", "docs/a.md", ".gitignore", "same"):
        write(f"{linked}/{name}", "*.log\nbuild/\n" if name == ".gitignore" else "one\n")
    git(linked, "add", ".")
    git(linked, "commit", "-q", "-m", "work")
    for name in (
        "new/one",
        "new/deep/two",
        "build/out",
        "src/build/out",
        "src/a.log",
        "loose",
        "a.mine",
        ".thrum/x",
        "src/.gitignore",
    ):
        write(f"{linked}/{name}", "x")
    os.makedirs(f"{linked}/empty/er")
    write(f"{linked}/docs/a.md", "two\n")
    return linked


def same_size_and_time(top: str) -> None:
    before = os.stat(f"{top}/same")
    with open(f"{top}/same", "r+") as file:
        file.write("two")
    os.utime(f"{top}/same", ns=(before.st_atime_ns, before.st_mtime_ns))


def behind_a_link(top: str) -> None:
    shutil.move(f"{top}/src", f"{top}/../elsewhere")
    os.symlink("../elsewhere", f"{top}/src")


def to_configuration(*words: str) -> Deed:
    return lambda top: git(top, "config", *words)


def in_file(name: str, content: str = "x\n") -> Deed:
    return lambda top: write(os.path.normpath(f"{top}/{name.replace('~', os.environ['HOME'])}"), content)


def by_git(*words: str) -> Deed:
    return lambda top: git(top, *words)


DEEDS: dict[str, Deed] = {
    "nothing": lambda top: None,
    "a change": in_file("src/cart.py", "two\n"),
    "a change that has size and time of what was there": same_size_and_time,
    "a change taken back": in_file("docs/a.md", "one\n"),
    "an executable": lambda top: os.chmod(f"{top}/same", 0o755),
    "a file gone": lambda top: os.unlink(f"{top}/src/deep/tax.py"),
    "a folder gone": lambda top: shutil.rmtree(f"{top}/src", ignore_errors=True),
    "a folder behind a link": behind_a_link,
    "a new file": in_file("src/new.py"),
    "a new file below an empty folder": in_file("empty/er/new.py"),
    "a new file in a new folder": in_file("src/fresh/new.py"),
    "one more in an untracked folder": in_file("new/deep/three"),
    "many more in an untracked folder": lambda top: [write(f"{top}/new/{n}", "") for n in range(201)],
    "few left in an untracked folder": lambda top: [
        os.unlink(f"{top}/new/{n}") for n in range(201) if os.path.lexists(f"{top}/new/{n}")
    ],
    "an ignored file tracked": lambda top: (
        git(top, "add", "-f", "build/out"),
        git(top, "commit", "-q", "-m", "out", "--", "build/out"),
    ),
    "a file changed that was ignored": in_file("build/out", "changed\n"),
    "a commit that stands for another": lambda top: git(
        top, "replace", "-f", "HEAD", git(top, "commit-tree", "-m", "in its place", "HEAD^{tree}", "-p", "main")
    ),
    "an untracked file gone": lambda top: os.path.lexists(f"{top}/loose") and os.unlink(f"{top}/loose"),
    "an untracked file under another name": lambda top: (
        os.path.lexists(f"{top}/loose") and os.rename(f"{top}/loose", f"{top}/looser")
    ),
    "an ignored file": in_file("build/more"),
    "an ignored folder": in_file("docs/build/out"),
    "a rule more": in_file(".gitignore", "*.log\nbuild/\nloose\n"),
    "a rule in a folder": in_file("new/.gitignore", "*\n"),
    "another rule in a folder": in_file("src/.gitignore", ".gitignore\n"),
    "a rule of the clone": lambda top: write(f"{find(top).common_dir}/info/exclude", "loose\n"),
    "a rule of the user": in_file("~/mine", "loose\n"),
    "another file of rules": to_configuration("core.excludesFile", "/dev/null"),
    "an attribute": in_file(".gitattributes", "*.md text eol=crlf\n"),
    "line ends": to_configuration("core.autocrlf", "true"),
    "modes do not count": to_configuration("core.fileMode", "false"),
    "an included setting": in_file("~/more", "[core]\n\texcludesFile = /dev/null\n"),
    "an included setting for another branch": in_file("~/onother", "[core]\n\texcludesFile = /dev/null\n"),
    "another branch": by_git("checkout", "-q", "-B", "other"),
    "no branch": by_git("checkout", "-q", "--detach"),
    "a branch renamed": by_git("branch", "-q", "-M", "renamed"),
    "a commit": by_git("commit", "-q", "-a", "--allow-empty", "-m", "more"),
    "a commit amended": by_git("commit", "-q", "--amend", "--allow-empty", "-m", "other words"),
    "the last commit taken back, its files left": by_git("reset", "-q", "HEAD~1"),
    "a commit of one file": by_git("commit", "-q", "--allow-empty", "-m", "this", "--", ".gitignore"),
    "the base moves": by_git("update-ref", "refs/heads/main", "HEAD"),
    "the base is packed": by_git("pack-refs", "--all"),
    "a remote appears": by_git("update-ref", "refs/remotes/origin/main", "HEAD"),
    "a remote appears, packed": lambda top: (
        git(top, "update-ref", "refs/remotes/team/master", "HEAD"),
        git(top, "pack-refs", "--all"),
    ),
    "the remote has another default": by_git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main"),
    "another usual branch": by_git("branch", "-q", "-f", "trunk"),
    "the base is another name": by_git("symbolic-ref", "refs/heads/master", "refs/heads/main"),
    "another default branch": to_configuration("init.defaultBranch", "trunk"),
    "staged": by_git("add", "-A"),
    "out of the index": by_git("rm", "-q", "--cached", "--ignore-unmatch", "same"),
    "back to the last commit": by_git("reset", "-q", "--hard"),
    "a repository in it": lambda top: git("/", "init", "-q", f"{top}/new/nested"),
    "left out by git": by_git("update-index", "--skip-worktree", ".gitignore"),
    "our own files": in_file(".thrum/y"),
}
HARMLESS = ("nothing", "an ignored file", "our own files")


def agree(known: Memory, place: Place) -> bool:
    """Whether something is remembered; it has to be what git says. What a glance tells is told without git, and no more."""
    glanced, found = known.glance([place]), known.recall(place)
    assert found is None or found == context.read(place)
    assert glanced is None or glanced == [found]
    return found is not None


@pytest.mark.parametrize("deed", DEEDS)
def test_no_deed_leaves_a_memory_that_is_wrong(shop: str, deed: str) -> None:
    place, known = find(shop), Memory()
    assert known.learn(place) and agree(known, place)
    DEEDS[deed](shop)
    assert agree(known, place) or deed not in HARMLESS
    known.learn(place)
    agree(known, place)


@pytest.mark.parametrize("seed", range(4))
def test_no_series_of_deeds_leaves_a_memory_that_is_wrong(shop: str, seed: int) -> None:
    choice, place, known = random.Random(seed), find(shop), Memory()
    for _ in range(12):
        try:
            DEEDS[choice.choice(list(DEEDS))](shop)
        except (AssertionError, OSError):  # not possible after what was done before
            git(shop, "status", "--porcelain")
        agree(known, place)
        if choice.random() < 0.7:
            known.learn(place)


def test_a_glance_tells_what_a_few_files_prove(repo: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, known = find(shop), find(repo), Memory()
    assert known.glance([]) == [] and known.glance([here]) is None
    assert known.learn(here) and known.glance([here]) == [context.read(here)]
    assert known.glance([here, there]) is None
    assert known.learn(there) and known.glance([there, here]) == [context.read(there), context.read(here)]
    sizes = [len(known._known[place].rests_on) for place in (here, there)]
    monkeypatch.setattr(memory, "FEW", max(sizes))
    assert known.glance([here]) and known.glance([there]) and known.glance([here, there]) is None
    monkeypatch.setattr(evidence, "stamp", lambda path: pytest.fail("a file was looked at"))
    assert known.glance([here, there]) is None


def test_what_changed_a_moment_ago_is_not_remembered(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "now", time.time_ns)
    write(f"{shop}/src/cart.py", "now")
    assert not Memory().learn(find(shop))


def test_what_changes_while_git_is_asked_is_not_remembered(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = context.read

    def read(place: Place) -> context.Context:
        found = real(place)
        write(f"{shop}/src/cart.py", "later")
        return found

    monkeypatch.setattr(context, "read", read)
    assert not Memory().learn(find(shop))


def test_nothing_is_remembered_for_ever(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Memory()
    assert known.learn(find(shop)) and known.recall(find(shop))
    monkeypatch.setattr(memory, "LONGEST", 0.0)
    assert known.recall(find(shop)) is None


def test_only_so_much_is_kept_in_mind(repo: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Memory()
    assert known.learn(find(repo)) and known.learn(find(shop))
    monkeypatch.setattr(memory, "MOST", 1)
    assert known.learn(find(repo))
    assert known.recall(find(repo)) and not known.recall(find(shop))


def test_nothing_is_started_to_remember(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Memory()
    assert known.learn(find(shop))
    monkeypatch.setattr("thrum.git.child.subprocess.Popen", lambda *a, **k: pytest.fail("a process"))
    assert known.recall(find(shop))


def test_what_files_cannot_tell_is_asked(repo: str, shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = find(shop)
    git(repo, "config", "includeIf.moon:full.path", "x")
    with pytest.raises(CannotTellError):
        evidence.of_worktree(place)
    git(repo, "config", "--unset", "includeIf.moon:full.path")
    git(repo, "config", "core.excludesFile", "%(prefix)/x")
    with pytest.raises(CannotTellError):
        evidence.of_worktree(place)
    git(repo, "config", "--unset", "core.excludesFile")
    evidence.of_worktree(place)
    monkeypatch.setattr(evidence, "MOST", 8)
    assert not Memory().learn(place)


def test_a_submodule_is_looked_at_by_git(repo: str, shop: str) -> None:
    git(shop, "submodule", "--quiet", "add", repo, "sub")
    assert not Memory().learn(find(shop))


def test_a_clone_and_an_unborn_branch_are_remembered_too(tmp_path: os.PathLike[str], repo: str, bare: str) -> None:
    settle(repo)
    git("/", "clone", "-q", repo, f"{tmp_path}/clone")
    for path in (repo, f"{tmp_path}/clone", make(f"{tmp_path}/unborn", commit=False)):
        known = Memory()
        assert known.learn(find(path)) and agree(known, find(path))
    assert not Memory().learn(find(bare))
