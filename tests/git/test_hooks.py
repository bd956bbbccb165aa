from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from thrum.errors import GitError, Refused
from thrum.git import hooks
from thrum.git.context import mark_time
from thrum.git.hookfiles import stub_source
from thrum.git.place import Place, find

from .kit import fingerprint, git, make, script, write


@pytest.fixture(autouse=True)
def older_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stubs are what we test here, also on a machine whose git knows config hooks."""
    monkeypatch.setattr(hooks, "version", lambda: (2, 39, 5))


def hows(states: list[hooks.HookState]) -> set[str]:
    return {state.how for state in states}


def was_marked(place: Place, act: Callable[[], object]) -> bool:
    """Whether `act` leaves a new mark."""
    if mark_time(place):
        os.utime(place.mark, (1, 1))
    before = mark_time(place)
    act()
    return mark_time(place) > before


def test_install_is_idempotent_and_uninstall_leaves_nothing(repo: str) -> None:
    before = fingerprint(f"{repo}/.git")
    place = find(repo)
    states = hooks.install(place)
    assert hows(states) == {"stub"} and [state.event for state in states] == list(hooks.EVENTS)
    after = fingerprint(f"{repo}/.git")
    assert hooks.install(place) == states and fingerprint(f"{repo}/.git") == after
    assert {os.path.basename(path) for path in after.keys() - before.keys()} == {*hooks.EVENTS, "hooks.json"}
    assert hows(hooks.uninstall(place)) == {"missing"}
    assert fingerprint(f"{repo}/.git") == before
    assert hows(hooks.uninstall(place)) == {"missing"}


@pytest.mark.parametrize("shape", ["main", "linked", "subdirectory", "submodule", "separate", "linked of bare"])
def test_every_way_to_change_history_marks_the_right_worktree(shape: str, tmp_path: Path) -> None:
    work, other = places(shape, str(tmp_path))
    place = find(work)
    hooks.install(place)
    write(f"{work}/f", "1")
    git(work, "add", "f")
    for command in (
        "commit -q -m one",
        "commit -q --amend -m two",
        "commit -q --allow-empty -m three",
        "checkout -q -b side",
        "commit -q --allow-empty -m side",
        "checkout -q -",
        "merge -q --no-ff --no-edit side",
        "rebase -q --force-rebase HEAD~1",
    ):
        assert was_marked(place, lambda command=command: git(work, *command.split())), command  # type: ignore[misc]
    write(f"{work}/f", "2")
    assert was_marked(place, lambda: git(work, "commit", "-q", "-a", "-m", "all"))
    write(f"{work}/f", "3")
    assert was_marked(place, lambda: git(work, "commit", "-q", "-m", "one file", "f"))
    assert git(work, "status", "--porcelain", "f") == ""
    assert other is None or mark_time(other) == 0


def places(shape: str, top: str) -> tuple[str, Place | None]:
    """Where to work, and a neighbour that must stay unmarked."""
    if shape == "submodule":
        outer = make(f"{top}/outer")
        git(outer, "submodule", "--quiet", "add", make(f"{top}/inner"), "sub")
        return f"{outer}/sub", find(outer)
    if shape == "separate":
        git("/", "init", "-q", "--separate-git-dir", f"{top}/store", f"{top}/tree")
        git(f"{top}/tree", "commit", "-q", "--allow-empty", "-m", "first")
        return f"{top}/tree", None
    if shape == "linked of bare":
        git("/", "clone", "-q", "--bare", make(f"{top}/repo"), f"{top}/bare.git")
        git(f"{top}/bare.git", "worktree", "add", "-q", f"{top}/wt")
        return f"{top}/wt", find(f"{top}/bare.git")
    repo = make(f"{top}/repo")
    git(repo, "worktree", "add", "-q", f"{top}/linked")
    if shape == "linked":
        return f"{top}/linked", find(repo)
    if shape == "subdirectory":
        os.makedirs(f"{repo}/sub")
        return f"{repo}/sub", find(f"{top}/linked")
    return repo, find(f"{top}/linked")


def test_a_new_worktree_is_marked_from_the_start(repo: str, tmp_path: Path) -> None:
    hooks.install(find(repo))
    git(repo, "worktree", "add", "-q", str(tmp_path / "new"))
    assert mark_time(find(str(tmp_path / "new"))) and not mark_time(find(repo))


def test_an_original_runs_first_with_its_arguments_and_input(repo: str, tmp_path: Path) -> None:
    said = tmp_path / "said"
    for event in hooks.EVENTS:
        script(f"{repo}/.git/hooks/{event}", f'echo "{event}|$#|$*|$(cat)|$PWD" >>{said}; echo loud\n')
    place = find(repo)
    assert hows(hooks.install(place)) == {"chained"}
    old = git(repo, "rev-parse", "HEAD")
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--amend", "-m", "again"))
    new = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "-q", "-b", "x")
    assert said.read_text().splitlines() == [
        f"post-commit|0|||{repo}",
        f"post-rewrite|1|amend|{old} {new}|{repo}",
        f"post-checkout|3|{new} {new} 1||{repo}",
    ]


def test_an_originals_exit_code_counts_and_the_mark_is_left_all_the_same(repo: str) -> None:
    script(f"{repo}/.git/hooks/post-checkout", "exit 3\n")
    place = find(repo)
    hooks.install(place)
    done = subprocess.run(["git", "checkout", "-q", "-b", "x"], cwd=repo, check=False)
    assert done.returncode and mark_time(place)
    stub = f"{repo}/.git/hooks/post-checkout"
    assert subprocess.run([stub], cwd=repo, check=False).returncode == 3
    hooks.uninstall(place)
    script(f"{repo}/.git/hooks/post-checkout", "exit 0\n")
    hooks.install(place)
    assert subprocess.run(["git", "checkout", "-q", "main"], cwd=repo, check=False).returncode == 0


def test_originals_come_back_byte_for_byte(repo: str, tmp_path: Path) -> None:
    folder = f"{repo}/.git/hooks"
    write(f"{folder}/post-commit", b"#!/bin/sh\n\xff\xfe no line end", 0o751)
    write(f"{folder}/post-checkout", "not executable\n", 0o640)
    script(str(tmp_path / "target"), "exit 0\n")
    os.symlink("../../../target", f"{folder}/post-merge")
    os.utime(f"{folder}/post-commit", (1_000_000, 1_000_000))
    before, place = fingerprint(f"{repo}/.git"), find(repo)
    hooks.install(place)
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x", check=False))
    records = json.loads(Path(place.sync_dir, "hooks.json").read_text())["hooks"]
    assert records["post-commit"]["original"]["mode"] == 0o751
    hooks.uninstall(place)
    after = fingerprint(f"{repo}/.git")
    assert {path: value for path, value in after.items() if "/hooks/" in path} == {
        path: value for path, value in before.items() if "/hooks/" in path
    }
    assert os.stat(f"{folder}/post-commit").st_mtime == 1_000_000 and os.path.islink(f"{folder}/post-merge")
    assert stat.S_IMODE(os.stat(f"{folder}/post-checkout").st_mode) == 0o640


def test_the_hooks_path_of_the_user_is_respected(repo: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "their hooks")
    ran = tmp_path / "ran"
    script(f"{folder}/post-commit", f"touch {ran}\n")
    git(repo, "config", "core.hooksPath", folder)
    place = find(repo)
    states = hooks.install(place)
    assert states[0].how == "chained" and states[0].path == f"{folder}/post-commit"
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x")) and ran.exists()
    git(repo, "config", "--unset", "core.hooksPath")
    assert hows(hooks.status(place)) == {"missing"}
    hooks.uninstall(place)
    assert os.listdir(folder) == ["post-commit"] and "touch" in Path(folder, "post-commit").read_text()


def test_hooks_of_all_repositories_are_not_ours_to_change(repo: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "global")
    os.makedirs(folder)
    git(repo, "config", "--global", "core.hooksPath", folder)
    with pytest.raises(Refused, match="all of your repositories"):
        hooks.install(find(repo))
    assert os.listdir(folder) == []
    assert hows(hooks.install(find(repo), shared=True)) == {"stub"}


def test_tracked_hooks_are_not_written_without_consent(repo: str) -> None:
    script(f"{repo}/.githooks/post-commit", "exit 0\n")
    git(repo, "add", ".githooks")
    git(repo, "commit", "-q", "-m", "hooks")
    git(repo, "config", "core.hooksPath", ".githooks")
    with pytest.raises(Refused, match="project's own files") as caught:
        hooks.install(find(repo))
    assert hooks.LINE in caught.value.hint and git(repo, "status", "--porcelain") == ""
    assert not os.path.exists(find(repo).sync_dir)
    assert hooks.install(find(repo), shared=True)[0].how == "chained"
    hooks.uninstall(find(repo))
    assert git(repo, "status", "--porcelain") == ""


def test_ignored_hooks_in_the_worktree_are_chained(repo: str) -> None:
    write(f"{repo}/.git/info/exclude", ".hooks/\n")
    script(f"{repo}/.hooks/post-commit", "exit 0\n")
    git(repo, "config", "core.hooksPath", ".hooks")
    place = find(repo)
    assert hooks.install(place)[0].how == "chained"
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x"))


HUSKY = '#!/usr/bin/env sh\n. "$(dirname "$0")/h"'
LEFTHOOK = '#!/bin/sh\ncall_lefthook()\n{\n  exit 7\n}\ncall_lefthook run "post-commit" "$@"\n'
PRE_COMMIT = "#!/usr/bin/env bash\n# File generated by pre-commit: https://pre-commit.com\nexit 7\n"
BY_NAME = ['#!/bin/sh\nname=$(basename "$0")\nexit 7\n', "#!/bin/bash -e\nexit ${0##*/post-commit}7\n"]


@pytest.mark.parametrize("body", [HUSKY, LEFTHOOK, PRE_COMMIT, *BY_NAME])
def test_a_script_that_may_not_be_moved_gets_a_line_and_gives_it_back(repo: str, body: str) -> None:
    write(f"{repo}/.git/hooks/h", "exit 7\n")
    path = write(f"{repo}/.git/hooks/post-commit", body, 0o750)
    before, place = fingerprint(f"{repo}/.git"), find(repo)
    assert hooks.status(place)[0].fix == "git thrum hooks install"
    states = hooks.install(place)
    assert [state.how for state in states] == ["line", "stub", "stub", "stub"]
    assert hooks.install(place) == states and Path(path).read_text().count(hooks.LINE) == 1
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x"))
    assert subprocess.run([path], cwd=repo, check=False).returncode == 7
    os.unlink(place.mark)
    hooks.uninstall(place)
    after = {path: value for path, value in fingerprint(f"{repo}/.git").items() if "/hooks/" in path}
    assert after == {path: value for path, value in before.items() if "/hooks/" in path}


def test_a_program_that_needs_its_own_name_is_left_alone(repo: str) -> None:
    write(f"{repo}/.git/hooks/post-commit", "#!/usr/bin/awk -f\n# basename $0\n", 0o755)
    with pytest.raises(Refused, match="own name") as caught:
        hooks.install(find(repo))
    assert hooks.LINE in caught.value.hint
    assert not os.path.exists(f"{repo}/.git/hooks/post-merge")
    assert {state.fix for state in hooks.status(find(repo))} == {caught.value.hint}


def test_a_line_of_the_users_own_counts_and_is_left_alone(repo: str) -> None:
    path = script(f"{repo}/.git/hooks/post-commit", f"{hooks.LINE}\nexit 0\n")
    place, before = find(repo), fingerprint(f"{repo}/.git/hooks/post-commit")
    assert hooks.status(place)[0].how == "line" and hooks.install(place)[0].how == "line"
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x"))
    hooks.uninstall(place)
    assert fingerprint(path) == before
    script(path, f"# {hooks.LINE}\nexit 0\n")
    assert hooks.status(place)[0].how == "missing"


@pytest.mark.parametrize("body", [LEFTHOOK, PRE_COMMIT])
def test_what_an_earlier_version_moved_aside_is_put_back_in_its_place(repo: str, body: str) -> None:
    """pre-commit, moved aside and installed again, would call itself through our stub."""
    place, path = find(repo), f"{repo}/.git/hooks/post-commit"
    write(path + ".thrum-orig", body, 0o755)
    write(path, stub_source("post-commit"), 0o755)
    hooks.install(place)
    assert hooks.status(place)[0].how == "line" and not os.path.exists(path + ".thrum-orig")
    hooks.uninstall(place)
    assert Path(path).read_text() == body


def test_a_tool_that_was_installed_around_its_own_hook_is_found_and_the_remedy_works(repo: str) -> None:
    place, path = find(repo), f"{repo}/.git/hooks/post-commit"
    write(path + ".thrum-orig", PRE_COMMIT, 0o755)
    write(path + ".legacy", stub_source("post-commit"), 0o755)
    write(path, PRE_COMMIT, 0o755)
    state = hooks.status(place)[0]
    assert state.how == "foreign" and "twice" in state.note
    assert state.fix == "git thrum hooks uninstall && git thrum hooks install"
    hooks.uninstall(place)
    assert not os.path.exists(path + ".thrum-orig") and not os.path.exists(path + ".legacy")
    assert Path(path).read_text() == PRE_COMMIT
    assert hooks.install(place)[0].how == "line"


def test_the_other_tools_are_named(repo: str) -> None:
    assert hooks.who_else(find(repo)) == []
    for event, body in (("pre-push", "git lfs pre-push"), ("post-merge", PRE_COMMIT), ("pre-commit", LEFTHOOK)):
        write(f"{repo}/.git/hooks/{event}", body, 0o755)
    hooks.install(find(repo))
    assert hooks.who_else(find(repo)) == ["git-lfs", "lefthook", "pre-commit"]


def test_hooks_switched_off_stay_off(repo: str) -> None:
    git(repo, "config", "core.hooksPath", "/dev/null")
    with pytest.raises(Refused, match="switched off"):
        hooks.install(find(repo))
    assert hows(hooks.status(find(repo))) == {"missing"}


def test_a_changed_stub_is_neither_overwritten_nor_removed(repo: str) -> None:
    place = find(repo)
    hooks.install(place)
    path = f"{repo}/.git/hooks/post-commit"
    with open(path, "a") as file:
        file.write("echo mine\n")
    changed = fingerprint(path)
    state = hooks.install(place)[0]
    assert state.how == "foreign" and "changed" in state.note and fingerprint(path) == changed
    states = hooks.uninstall(place)
    assert states[0].how == "foreign" and fingerprint(path) == changed
    assert hows(states[1:]) == {"missing"}


def test_a_stub_of_an_earlier_version_counts_as_ours(repo: str) -> None:
    place = find(repo)
    hooks.install(place)
    path = f"{repo}/.git/hooks/post-commit"
    old = stub_source("post-commit").replace(b"Starts no process", b"Starts nothing")
    write(path, old, 0o755)
    assert hooks.status(place)[0].how == "foreign"
    records = json.loads(Path(place.sync_dir, "hooks.json").read_text())
    records["hooks"]["post-commit"]["stub"] = __import__("hashlib").sha256(old).hexdigest()
    write(f"{place.sync_dir}/hooks.json", json.dumps(records))
    assert hooks.status(place)[0].how == "stub"
    assert hooks.uninstall(place)[0].how == "missing" and not os.path.exists(path)


def test_pre_commits_renaming_is_seen_and_the_chain_still_holds(repo: str, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    script(f"{repo}/.git/hooks/post-commit", f"echo original >>{ran}\n")
    place, path = find(repo), f"{repo}/.git/hooks/post-commit"
    hooks.install(place)
    os.rename(path, path + ".legacy")
    script(path, f'echo pre-commit >>{ran}; exec "$(dirname "$0")"/post-commit.legacy "$@"\n')
    state = hooks.status(place)[0]
    assert state.how == "chained" and "pre-commit" in state.note
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x"))
    assert ran.read_text().split() == ["pre-commit", "original"]
    assert hooks.install(place)[0].how == "chained"
    hooks.uninstall(place)
    assert "original" in Path(path + ".legacy").read_text() and not os.path.exists(path + ".thrum-orig")


@pytest.mark.parametrize("first", ["tool", "thrum"])
def test_lefthooks_renaming_is_seen_and_installing_again_helps(repo: str, first: str) -> None:
    place, path = find(repo), f"{repo}/.git/hooks/post-commit"
    script(path, "exit 0\n")
    before = fingerprint(f"{repo}/.git/hooks")
    hooks.install(place)
    os.rename(path, path + ".old")
    write(path, LEFTHOOK, 0o755)
    state = hooks.status(place)[0]
    assert state.how == "missing" and "lefthook" in state.note and state.fix == "git thrum hooks install"
    assert hooks.install(place)[0].how == "line"
    assert was_marked(place, lambda: git(repo, "commit", "-q", "--allow-empty", "-m", "x"))
    if first == "thrum":
        hooks.uninstall(place)
        assert Path(path).read_text() == LEFTHOOK and Path(path + ".old").read_text() == "#!/bin/sh\nexit 0\n"
    os.replace(path + ".old", path)
    hooks.uninstall(place)
    assert fingerprint(f"{repo}/.git/hooks") == before


def test_a_hook_that_replaced_the_stub_is_left_alone(repo: str) -> None:
    script(f"{repo}/.git/hooks/post-commit", "exit 0\n")
    place, path = find(repo), f"{repo}/.git/hooks/post-commit"
    hooks.install(place)
    script(path, "echo new\n")
    before = fingerprint(path, path + ".thrum-orig")
    assert hooks.install(place)[0].how == "foreign" and hooks.uninstall(place)[0].how == "foreign"
    assert fingerprint(path, path + ".thrum-orig") == before
    command, then = hooks.remedy(hooks.status(place)).split(" && ")
    subprocess.run(["sh", "-c", command], check=True)
    assert then == "git thrum hooks install" and hooks.install(place)[0].how == "chained"


def test_a_half_done_installation_is_completed(repo: str) -> None:
    script(f"{repo}/.git/hooks/post-commit", "exit 0\n")
    before, place, path = fingerprint(f"{repo}/.git"), find(repo), f"{repo}/.git/hooks/post-commit"
    os.link(path, path + ".thrum-orig")
    assert hooks.install(place)[0].how == "chained"
    os.unlink(f"{place.sync_dir}/hooks.json")
    assert hows(hooks.install(place)) == {"chained", "stub"}
    hooks.uninstall(place)
    assert fingerprint(f"{repo}/.git") == before


def test_a_moved_repository_can_still_be_cleaned(repo: str, tmp_path: Path) -> None:
    script(f"{repo}/.git/hooks/post-commit", "exit 0\n")
    hooks.install(find(repo))
    moved = find(shutil.move(repo, str(tmp_path / "moved")))
    assert hooks.status(moved)[0].how == "chained"
    assert hows(hooks.uninstall(moved)) == {"missing"}
    assert Path(f"{moved.common_dir}/hooks/post-commit").read_text() == "#!/bin/sh\nexit 0\n"


@pytest.mark.parametrize("event", hooks.EVENTS)
@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "busybox"])
def test_a_stub_is_silent_and_exits_0_whatever_happens(event: str, shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    stub = write(str(tmp_path / event), stub_source(event), 0o755)
    write(str(tmp_path / "file"), "")
    command = ["busybox", "sh", stub] if shell == "busybox" else [shell, stub]
    (tmp_path / "dir" / "thrum-mark").mkdir(parents=True)
    for git_dir in ("/nowhere", str(tmp_path / "file"), "/proc/1", str(tmp_path / "dir"), "", "-n", "$(false)"):
        env = {"GIT_DIR": git_dir, "PATH": "/nowhere"}
        shell_path = shutil.which(command[0]) or ""
        done = subprocess.run([shell_path, *command[1:]], cwd=tmp_path, env=env, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), git_dir


def test_a_read_only_git_directory_does_not_disturb_a_commit(repo: str) -> None:
    place = find(repo)
    hooks.install(place)
    os.makedirs(f"{place.mark}/in the way")
    done = subprocess.run(["git", "commit", "--allow-empty", "-qm", "x"], cwd=repo, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_stub_starts_no_process(repo: str) -> None:
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-f", "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not allowed here")
    hooks.install(find(repo))
    trace = ["strace", "-f", "-qq", "-e", "trace=process", f"{repo}/.git/hooks/post-commit"]
    done = subprocess.run(trace, cwd=repo, capture_output=True, text=True, check=True)
    assert mark_time(find(repo))
    assert done.stderr.count("execve(") == 1 and not any(word in done.stderr for word in ("clone", "fork"))


def test_newer_gits_get_config_hooks(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "version", lambda: (2, 54, 0))
    before, place = fingerprint(f"{repo}/.git"), find(repo)
    states = hooks.install(place)
    assert hows(states) == {"config"} and hooks.install(place) == states
    assert git(repo, "config", "hook.thrum-post-commit.event") == "post-commit"
    command = git(repo, "config", "hook.thrum-post-commit.command")
    as_git_does = ["sh", "-c", f'{command} "$@"', command, "some", "args; touch x"]
    done = subprocess.run(as_git_does, cwd=repo, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"") and mark_time(place)
    done = subprocess.run(as_git_does, cwd="/proc", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    os.unlink(place.mark)
    assert hows(hooks.uninstall(place)) == {"missing"} and fingerprint(f"{repo}/.git") == before


def test_uninstall_removes_both_kinds(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = find(repo)
    hooks.install(place)
    monkeypatch.setattr(hooks, "version", lambda: (2, 54, 0))
    hooks.install(place)
    assert hows(hooks.status(place)) == {"config"}
    assert hows(hooks.uninstall(place)) == {"missing"} and not os.path.exists(f"{repo}/.git/hooks/post-commit")


def test_every_event_has_its_stub() -> None:
    for event in hooks.EVENTS:
        assert f"{event}.thrum-orig".encode() in stub_source(event)
    with pytest.raises(GitError):
        stub_source("pre-push")
