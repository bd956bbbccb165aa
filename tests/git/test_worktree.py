from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.errors import Refused, StorageError
from thrum.git import branch, index, worktree
from thrum.git.objects import BLOB, Entry, open_objects
from thrum.git.place import Place, find

from .kit import ALL_HOOKS, fingerprint, git, make, outline, record, script, settle, write

LOGS = {
    "messages/alice/0123456789abcdef/0000/00.jsonl": b'{"a":1}\n',
    "messages/alice/0123456789abcdef/0000/01.jsonl": b'{"a":2}\n{"a":3}\n',
    "messages/bob/0123456789abcdef/0000/00.jsonl": b"",
}


def is_clean(place: Place) -> bool:
    """Nothing to report, and git's own fsck is content."""
    return (
        git(place.log_root, "status", "--porcelain") == ""
        and git(place.log_root, "symbolic-ref", "HEAD") == branch.REF
        and git(place.log_root, "rev-parse", "--show-toplevel") == place.log_root
    )


def test_a_new_worktree_is_clean_and_locked(repo: str) -> None:
    place, objects, _ = settle(repo)
    assert is_clean(place) and worktree.ensure(place) == []
    assert f"worktree {place.log_root}" in git(repo, "worktree", "list", "--porcelain")
    assert "locked git thrum keeps" in git(repo, "worktree", "list", "--porcelain")
    assert git(repo, "status", "--porcelain") == ""
    for command in (["prune"], ["remove", place.log_root], ["remove", "--force", place.log_root]):
        git(repo, "worktree", *command, check=False)
    assert is_clean(place) and os.path.isdir(place.log_root)
    objects.close()


@pytest.mark.parametrize("shape", ["sha1", "sha256", "bare", "linked", "unborn", "submodule"])
def test_status_is_clean_after_every_cycle(shape: str, tmp_path: Path) -> None:
    top = str(tmp_path)
    if shape == "submodule":
        git(make(f"{top}/outer"), "submodule", "--quiet", "add", make(f"{top}/inner"), "sub")
        path = f"{top}/outer/sub"
    elif shape == "linked":
        git(make(f"{top}/main"), "worktree", "add", "-q", f"{top}/wt")
        path = f"{top}/wt"
    elif shape == "bare":
        path = f"{top}/bare.git"
        git("/", "init", "-q", "--bare", path)
    else:
        args = ["--object-format=sha256"] if shape == "sha256" else []
        path = make(f"{top}/{shape}", *args, commit=shape != "unborn")
    place, objects, _ = settle(path)
    assert is_clean(place)
    tree = record(place, objects, LOGS)
    assert is_clean(place)
    tree = record(place, objects, {name: data + b'{"more":1}\n' for name, data in LOGS.items()})
    assert is_clean(place)
    worktree.follow(place, objects, tree, None)
    assert is_clean(place) and set(git(place.log_root, "ls-files").split("\n")) == set(LOGS)
    git(place.log_root, "fsck")
    objects.close()


def test_lines_not_yet_committed_show_as_a_change_until_they_are(repo: str) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    name = next(iter(LOGS))
    with open(f"{place.log_root}/{name}", "ab") as file:
        file.write(b"{}\n")
    assert git(place.log_root, "status", "--porcelain") == f" M {name}"
    tip = objects.head(branch.REF) or ""
    worktree.follow(place, objects, objects.tree_of(tip), None)
    assert git(place.log_root, "status", "--porcelain") == f" M {name}"
    record(place, objects, {name: LOGS[name] + b"{}\n"})
    assert is_clean(place)


def test_a_path_that_goes_away_leaves_the_index(repo: str) -> None:
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    name = next(iter(LOGS))
    after = branch.graft(objects, tree, {name: None})
    tip = objects.head(branch.REF)
    assert objects.move(branch.REF, objects.commit(after, [tip or ""], "x\n"), tip)
    os.unlink(f"{place.log_root}/{name}")
    worktree.follow(place, objects, after, {name: None})
    assert is_clean(place) and len(git(place.log_root, "ls-files").split("\n")) == 2


def test_what_we_never_check_out_does_not_show(repo: str) -> None:
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    blob = objects.write_blob(b"/etc/passwd")
    odd = {
        "link": Entry(0o120000, blob),
        "run.sh": Entry(0o100755, blob),
        "sub": Entry(0o160000, "1" * 40),
        ".gitattributes": Entry(BLOB, objects.write_blob(b"* filter=evil text eol=crlf\n")),
        "ü b/\udcff\n": Entry(BLOB, blob),
    }
    after = branch.graft(objects, tree, odd)
    tip = objects.head(branch.REF)
    assert objects.move(branch.REF, objects.commit(after, [tip or ""], "x\n"), tip)
    worktree.follow(place, objects, after, None)
    assert is_clean(place)
    assert not os.path.lexists(f"{place.log_root}/link") and not os.path.lexists(f"{place.log_root}/sub")
    record(place, objects, {name: data + b"{}\n" for name, data in LOGS.items()})
    assert is_clean(place)


def test_no_filter_of_the_users_runs_on_the_logs(repo: str, tmp_path: Path) -> None:
    sentinel = str(tmp_path / "ran")
    git(repo, "config", "--global", "filter.evil.clean", f"touch {sentinel}; cat")
    git(repo, "config", "--global", "core.autocrlf", "true")
    write(str(tmp_path / "attributes"), "* filter=evil\n")
    git(repo, "config", "--global", "core.attributesFile", str(tmp_path / "attributes"))
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    worktree.follow(place, objects, tree, None)
    assert not os.path.exists(sentinel)
    assert {path: objects.blob(oid) for path, oid in outline(objects, tree).items()} == LOGS


def state(repo: str) -> dict[str, object]:
    """Everything of the user's: configuration, branches, index, stash, files, reflog, metadata of other worktrees."""
    common = f"{repo}/.git"
    return {
        "files": {path: value for path, value in fingerprint(repo).items() if not path.startswith(common)},
        "git": fingerprint(*(f"{common}/{name}" for name in ("config", "index", "HEAD", "ORIG_HEAD", "info", "hooks"))),
        "home": fingerprint(os.environ["HOME"]),
        "refs": [line for line in git(repo, "for-each-ref").split("\n") if branch.BRANCH not in line],
        "log": fingerprint(f"{common}/logs/HEAD", f"{common}/logs/refs/heads/main", f"{common}/logs/refs/stash"),
        "linked": fingerprint(f"{common}/worktrees/linked"),
    }


@pytest.mark.parametrize("trap", ["plain", "signing", "failing hooks", "hooks path", "nobody", "sparse", "odd index"])
def test_nothing_of_the_users_changes_and_nothing_of_theirs_runs(
    repo: str, linked: str, trap: str, tmp_path: Path
) -> None:
    sentinel = str(tmp_path / "ran")
    write(f"{repo}/dirty", "x")
    write(f"{repo}/dir/file", "x")
    git(repo, "add", "dir")
    git(repo, "commit", "-q", "-m", "second")
    git(repo, "stash", "-u", "-q")
    write(f"{repo}/readme", "changed\n")
    set_trap(repo, trap, sentinel, str(tmp_path / "hooks"))
    before = state(repo)
    place, objects, tip = settle(repo)
    record(place, objects, LOGS)
    worktree.ensure(find(linked))
    assert state(repo) == before
    assert not os.path.exists(sentinel)
    assert is_clean(place)
    assert git(repo, "log", "-1", "--format=%an|%ce|%G?", tip) == "git thrum|thrum@localhost|N"


def set_trap(repo: str, trap: str, sentinel: str, hooks: str) -> None:
    """Configure the repository so that a careless tool would stumble; all hooks fail and leave a trace."""
    body = f"echo $0 >>{sentinel}; exit 1\n"
    if trap in ("failing hooks", "hooks path"):
        for name in ALL_HOOKS:
            script(f"{repo}/.git/hooks/{name}" if trap == "failing hooks" else f"{hooks}/{name}", body)
    settings = {
        "plain": [],
        "failing hooks": [],
        "hooks path": [("core.hooksPath", hooks)],
        "signing": [
            ("commit.gpgSign", "true"),
            ("gpg.program", script(f"{hooks}-gpg", body)),
            ("user.signingKey", "x"),
        ],
        "nobody": [("user.useConfigOnly", "true")],
        "sparse": [],
        "odd index": [("index.version", "4"), ("core.splitIndex", "true"), ("core.untrackedCache", "true")],
    }[trap]
    for key, value in settings:
        git(repo, "config", key, value)
    if trap == "sparse":
        git(repo, "checkout", "-q", "--", "readme")
        git(repo, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
        assert not os.path.exists(f"{repo}/dir/file")
    if trap == "nobody":
        git(repo, "config", "--global", "--remove-section", "user")


def test_a_missing_folder_is_made_again(repo: str) -> None:
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    shutil.rmtree(place.log_root)
    assert worktree.ensure(place)
    for name, data in LOGS.items():
        write(f"{place.log_root}/{name}", data)
    worktree.follow(place, objects, tree, None)
    assert is_clean(place) and worktree.ensure(place) == []


def test_a_missing_pointer_is_written_again_and_no_log_is_touched(repo: str) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    before = fingerprint(f"{place.log_root}/messages")
    os.unlink(f"{place.log_root}/.git")
    assert len(worktree.ensure(place)) == 1
    assert is_clean(place) and fingerprint(f"{place.log_root}/messages") == before


@pytest.mark.parametrize("rubbish", ["", "gitdir: /nowhere\n", "\0\0\0"])
def test_a_broken_pointer_is_written_again(repo: str, rubbish: str) -> None:
    place, _, _ = settle(repo)
    write(f"{place.log_root}/.git", rubbish)
    assert worktree.ensure(place)
    assert is_clean(place) and len(os.listdir(f"{repo}/.git/worktrees")) == 1


def test_pruned_metadata_is_made_again(repo: str) -> None:
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    shutil.rmtree(f"{repo}/.git/worktrees")
    assert worktree.ensure(place)
    worktree.follow(place, objects, tree, {})
    worktree.follow(place, objects, tree, None)
    assert is_clean(place)


def test_a_moved_repository_is_healed(repo: str, tmp_path: Path) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    objects.close()
    moved = find(shutil.move(repo, str(tmp_path / "moved")))
    assert worktree.ensure(moved)
    assert is_clean(moved) and os.listdir(f"{moved.common_dir}/worktrees") == ["a-sync"]


def test_a_copied_repository_gets_a_worktree_of_its_own(repo: str, tmp_path: Path) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    before = fingerprint(f"{repo}/.git/worktrees", f"{place.log_root}/.git")
    copied = find(shutil.copytree(repo, str(tmp_path / "copy"), symlinks=True))
    assert worktree.ensure(copied)
    assert fingerprint(f"{repo}/.git/worktrees", f"{place.log_root}/.git") == before
    assert copied.common_dir in git(copied.log_root, "rev-parse", "--absolute-git-dir") and worktree.ensure(place) == []


def test_a_worktree_of_the_users_called_a_sync_is_left_alone(repo: str, tmp_path: Path) -> None:
    theirs = str(tmp_path / "a-sync")
    git(repo, "worktree", "add", "-q", "-b", "theirs", theirs)
    before = fingerprint(f"{repo}/.git/worktrees/a-sync", theirs)
    place, _, _ = settle(repo)
    assert is_clean(place) and fingerprint(f"{repo}/.git/worktrees/a-sync", theirs) == before
    assert worktree.ensure(place) == [] and sorted(os.listdir(f"{repo}/.git/worktrees")) == ["a-sync", "a-sync1"]


@pytest.mark.parametrize("head", ["detached", "elsewhere", "rubbish"])
def test_a_head_that_went_astray_is_put_back(repo: str, head: str) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    if head == "detached":
        git(place.log_root, "checkout", "-q", "--detach")
    elif head == "elsewhere":
        git(place.log_root, "symbolic-ref", "HEAD", "refs/heads/else")
    else:
        write(f"{repo}/.git/worktrees/a-sync/HEAD", "\0" * 41)
    assert worktree.ensure(place) and is_clean(place)


def test_gits_own_repair_is_not_fought(repo: str) -> None:
    place, _, _ = settle(repo)
    git(repo, "worktree", "repair")
    git(repo, "gc", "-q", "--prune=now")
    git(repo, "worktree", "prune", "--expire=now")
    assert worktree.ensure(place) == [] and is_clean(place)


def test_a_worktree_made_by_git_is_adopted(repo: str) -> None:
    place = find(repo)
    objects = open_objects(place.common_dir)
    tip = branch.ensure(objects, place, None)
    git(repo, "worktree", "add", "-q", "--no-checkout", place.log_root, branch.BRANCH)
    assert worktree.ensure(place) == ["locked it against `git worktree prune`"]
    worktree.follow(place, objects, objects.tree_of(tip), None)
    assert is_clean(place) and os.listdir(f"{repo}/.git/worktrees") == ["a-sync"]


def test_the_branch_checked_out_by_somebody_is_refused(repo: str) -> None:
    branch.ensure(open_objects(f"{repo}/.git"), find(repo), None)
    git(repo, "checkout", "-q", branch.BRANCH)
    with pytest.raises(Refused) as caught:
        worktree.ensure(find(repo))
    assert "switch" in caught.value.hint and not os.path.exists(find(repo).log_root)


def test_commands_of_the_users_all_over_the_repository_do_no_harm(repo: str) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    before = fingerprint(f"{place.log_root}/messages")
    for command in ("clean -ffdxq", "checkout -q -f main", "reset -q --hard", "stash -q", "gc -q", "worktree prune"):
        git(repo, *command.split())
    assert is_clean(place) and fingerprint(f"{place.log_root}/messages") == before
    git(repo, "fsck", "--strict")


def test_files_are_private(repo: str) -> None:
    place, _, _ = settle(repo)
    assert [path for path, (mode, _) in fingerprint(place.sync_dir).items() if mode & 0o077] == []
    assert os.stat(place.sync_dir).st_mode & 0o077 == os.stat(place.log_root).st_mode & 0o077 == 0


def test_a_stale_index_lock_is_removed_and_a_young_one_respected(repo: str) -> None:
    place, objects, _ = settle(repo)
    tree = record(place, objects, LOGS)
    path = f"{repo}/.git/worktrees/a-sync/index"
    before = fingerprint(path)
    write(path + ".lock", "")
    os.unlink(f"{place.log_root}/{next(iter(LOGS))}")
    worktree.follow(place, objects, tree, None)
    assert fingerprint(path) == before and os.path.exists(path + ".lock")
    os.utime(path + ".lock", (time.time() - 61,) * 2)
    worktree.follow(place, objects, tree, None)
    assert fingerprint(path) != before and not os.path.exists(path + ".lock")


def test_a_failure_to_follow_is_quiet(repo: str) -> None:
    place, objects, _ = settle(repo)
    worktree.follow(place, objects, "1" * 40, None)
    worktree.follow(place, objects, objects.empty_tree(), {"x": "1" * 40})
    shutil.rmtree(f"{repo}/.git/worktrees")
    worktree.follow(place, objects, objects.empty_tree(), None)


def test_an_index_git_rewrote_is_followed_all_the_same(repo: str) -> None:
    place, objects, _ = settle(repo)
    record(place, objects, LOGS)
    for args in (["--index-version", "4"], ["--split-index"], ["--index-version", "2"]):
        git(place.log_root, "update-index", "--force-write-index", *args)
        tree = record(place, objects, {name: data + str(args).encode() for name, data in LOGS.items()})
        if not is_clean(place):
            worktree.follow(place, objects, tree, None)
        assert is_clean(place)


PATHS = ["a", "ü/\udcff", "x" * 5000, "messages/ann/1/00.jsonl", "messages/ann/1/01.jsonl", "messages/ann.jsonl", "x"]


def some_row(number: int, skip: bool = False) -> index.Row:
    return index.Row(bytes(40), f"{number:x}" * 40, skip)


@given(
    before=st.dictionaries(st.sampled_from(PATHS), st.tuples(st.integers(1, 9), st.booleans())),
    changed=st.dictionaries(st.sampled_from(PATHS), st.none() | st.integers(10, 15)),
)
def test_an_amended_index_is_the_one_that_would_be_written_from_scratch(
    before: dict[str, tuple[int, bool]], changed: dict[str, int | None]
) -> None:
    rows = {path: some_row(*row) for path, row in before.items()}
    new = {path: None if number is None else some_row(number) for path, number in changed.items()}
    after = {path: row for path, row in {**rows, **new}.items() if row is not None}
    amended = index.amend(index.render(rows, 20), new, 20)
    assert amended is not None
    if any(row.skip for row in rows.values()) == any(row.skip for row in after.values()):
        assert amended == index.render(after, 20)


def test_an_index_that_is_not_like_ours_is_not_amended() -> None:
    data = index.render({"a": some_row(1), "x" * 5000: some_row(3)}, 20)
    for cut in range(0, len(data), 97):
        assert index.amend(data[:cut], {}, 20) is None
    assert index.amend(data[:-1] + b"x", {}, 20) is None
    assert index.amend(data, {"b": some_row(2, skip=True)}, 20) is None
    for extension in (b"link" + bytes(4), b"TREE" + b"\xff" * 4, b"TR"):
        body = data[:-20] + extension
        whole = body + hashlib.sha1(body, usedforsecurity=False).digest()
        assert (index.amend(whole, {}, 20) is None) == (extension[:4] != b"TREE"), extension


def test_an_unwritable_repository_is_a_sentence(repo: str) -> None:
    place = find(repo)
    write(place.sync_dir, "a file in the way")
    with pytest.raises(StorageError) as caught:
        worktree.ensure(place)
    assert caught.value.hint


@pytest.mark.parametrize("where", ["main", "linked"])
def test_in_the_environment_of_a_hook_all_goes_to_the_right_place(
    repo: str, linked: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_dir = f"{repo}/.git" if where == "main" else f"{repo}/.git/worktrees/linked"
    before = state(repo)
    for name in git("/", "rev-parse", "--local-env-vars").split():
        monkeypatch.setenv(name, "1")
    for name, value in {
        "DIR": git_dir,
        "INDEX_FILE": f"{git_dir}/index",
        "WORK_TREE": ".",
        "COMMON_DIR": git_dir,
    }.items():
        monkeypatch.setenv(f"GIT_{name}", value)
    place, objects, _ = settle(repo if where == "main" else linked)
    record(place, objects, LOGS)
    for name in list(os.environ):
        if name.startswith("GIT_") and name not in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
            monkeypatch.delenv(name)
    assert state(repo) == before and is_clean(place)


def test_no_process_is_started(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    place = find(repo)
    objects = open_objects(place.common_dir)
    tree = objects.tree_of(branch.ensure(objects, place, None))
    worktree.ensure(place)
    worktree.follow(place, objects, tree, None)


def test_an_index_whose_last_name_never_ends_is_not_amended() -> None:
    row = bytes(40) + bytes(20) + b"\x0f\xff"
    body = b"DIRC" + (2).to_bytes(4, "big") + (2**32 - 1).to_bytes(4, "big") + row + b"x" * 40
    whole = body + hashlib.sha1(body, usedforsecurity=False).digest()
    assert index.amend(whole, {}, 20) is None
