"""The doctor names what is wrong, heals what can be healed, and ends with 1 otherwise."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import pytest

from tests import kit
from tests.cli.conftest import ROOT
from tests.sync.house import put, remote_tip
from thrum.git import place


def wrong(ended):
    return {check["name"]: check["detail"] for check in ended.json["checks"] if not check["ok"]}


def told(here, name):
    return next(check["detail"] for check in here.ask("doctor")["checks"] if check["name"] == name)


@pytest.fixture
def synced(thrum, clones):
    """A clone in which ann works, synced with its remote: how to run commands in it, and its path."""
    (path,) = clones(1)
    here = thrum.at(path)
    here.ok("init")
    here.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
    here.ok("sync", "force")
    return here, path


def test_a_healthy_repository(bob):
    report = bob.ask("doctor")
    assert report["healthy"]
    assert [check["name"] for check in report["checks"]][:5] == ["repository", "settings", "branch", "worktree", "logs"]
    assert bob.ok("doctor").endswith("all is well\n")


def log_of(repository, owner):
    folder = repository / ".git/thrum-sync/a-sync/messages" / owner
    return next(folder.glob("*/0000/00.jsonl"))


def test_a_damaged_line_is_named_by_file_and_place(bob, repository):
    bob.ok("send", "one")
    path = log_of(repository, "bob")
    with open(path, "ab") as file:
        file.write(b"not json\n")
    ended = bob("doctor", "--json")
    assert ended.code == 1
    assert "0000/00.jsonl at byte" in wrong(ended)["logs"]
    assert "!!  logs" in bob("doctor").out


def test_a_lost_line_is_found(bob, repository):
    for number in range(4):
        bob.ok("send", f"number {number}")
    path = log_of(repository, "bob")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert "1 lines are missing before number 4" in wrong(bob("doctor", "--json"))["logs"]


def test_a_torn_end_that_was_put_aside_is_told_and_is_no_fault(bob, repository):
    bob.ok("send", "one")
    with open(log_of(repository, "bob"), "ab") as file:
        file.write(b'{"half": ')
    bob.ok("send", "two")
    checks = {check["name"]: check for check in bob.ask("doctor")["checks"]}
    assert "1 unfinished or damaged line kept" in checks["logs"]["detail"]


def test_fix_heals_the_worktree_and_brings_lost_logs_back(synced):
    here, path = synced
    here.ok("send", "kept")
    here.ok("sync", "force")
    root = path / ".git/thrum-sync/a-sync"
    os.unlink(root / ".git")
    os.unlink(log_of(path, "ann"))
    ended = here("doctor", "--json")
    assert {"worktree", "logs"} <= set(wrong(ended))
    assert here("doctor", "--fix", "--json").json["healthy"]
    assert kit.git(root, "status", "--porcelain") == ""
    assert here.ask("sent")["messages"][0]["body"]["content"] == "kept"


def test_a_broken_identity_file_is_named(bob, repository):
    (repository / ".thrum/identities/zed.json").write_text("{")
    assert "zed.json" in wrong(bob("doctor", "--json"))["identities"]


def test_a_failed_sync_is_told_with_its_hint(thrum, clones):
    (path,) = clones(1)
    here = thrum.at(path)
    here.ok("init")
    kit.git(path, "remote", "set-url", "origin", "/nowhere")
    here("sync", "force")
    assert "the last sync failed" in wrong(here("doctor", "--json"))["remote"]


def test_the_remote_is_told_with_who_may_read_it(synced):
    here, path = synced
    assert "closed to strangers" in told(here, "remote")
    kit.git(path, "config", "thrum.allowPublic", "true")
    here.ok("send", "one more")
    here.ok("sync", "force")
    assert "thrum.allowPublic allows" in told(here, "remote")


def test_what_somebody_put_into_the_branch_is_named_and_no_fault(synced, bare_remote):
    here, _ = synced
    leaves = {"messages/l.jsonl": ("120000", b"/etc/passwd"), "messages/x.jsonl": ("160000", "1" * 40)}
    put(bare_remote, leaves, [remote_tip(bare_remote)])
    here.ok("sync", "force")
    assert "messages/l.jsonl is a link; messages/x.jsonl is a submodule" in told(here, "branch")


def test_a_changed_hook_is_told(bob, repository):
    path = repository / ".git/hooks/post-commit"
    path.write_bytes(path.read_bytes() + b"echo hi\n")
    assert "post-commit" in wrong(bob("doctor", "--json"))["hooks"]


def test_leftovers_of_a_dead_daemon_are_no_fault(bob, repository):
    (repository / ".thrum/var/thrum.pid").write_text('{"pid": 1}')
    checks = {check["name"]: check for check in bob.ask("doctor")["checks"]}
    assert "1 file of killed processes, in nobody's way: thrum.pid" in checks["leftovers"]["detail"]


def test_a_foreign_thrum_is_told_apart(bob, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "thrum").write_bytes(b"\x7fELF")
    (folder / "thrum").chmod(0o755)
    report = bob.ask("doctor", PATH=f"{folder}:{os.environ['PATH']}")
    assert "another program" in {check["name"]: check for check in report["checks"]}["thrum"]["detail"]


def test_rebuild_and_its_proof(bob, repository):
    bob.ok("send", "one")
    assert "built anew" in bob.ok("rebuild")
    assert bob.ask("rebuild", "--check") == {"equal": True, "differences": []}
    (database,) = (repository / ".thrum/var").glob("thrum-*.db")
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM message")
    connection.commit()
    connection.close()
    ended = bob("rebuild", "--check")
    assert (ended.code, "git thrum rebuild" in ended.out) == (1, True)
    assert "projection" in wrong(bob("doctor", "--json"))
    assert bob("doctor", "--fix").code == 0
    assert bob.ask("sent")["total"] == 1


def test_looking_takes_no_lock_and_changes_nothing(bob, repository):
    before = kit.git(repository, "rev-parse", "a-sync")
    began = time.monotonic()
    bob.ok("doctor")
    assert time.monotonic() - began < 20
    assert kit.git(repository, "rev-parse", "a-sync") == before


# Whatever is broken


def shell(command, cwd, tmp_path):
    """Runs a remedy as a person would copy it."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    program = folder / "git-thrum"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m thrum "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", command], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def tip(path):
    return kit.git(path, "rev-parse", "a-sync").strip()


def drop_object(path, name):
    oid = kit.git(path, "rev-parse", name).strip()
    os.unlink(path / ".git/objects" / oid[:2] / oid[2:])


def a_branch_without_objects(path):
    drop_object(path, "a-sync")


def a_branch_without_a_blob(path):
    drop_object(path, kit.git(path, "ls-tree", "-r", "a-sync").split()[2])


def a_branch_with_a_hole_in_its_past(path):
    drop_object(path, "a-sync~1^{tree}")


def a_branch_of_zeros(path):
    (path / ".git/refs/heads/a-sync").write_bytes(bytes(41))


def no_branch(path):
    kit.git(path, "update-ref", "-d", "refs/heads/a-sync")


def no_origin(path):
    os.unlink(path / ".git/thrum-sync/origin")


def an_origin_that_is_a_folder(path):
    no_origin(path)
    os.mkdir(path / ".git/thrum-sync/origin")


def no_folder_of_logs(path):
    shutil.rmtree(path / ".git/thrum-sync/a-sync")


def a_file_for_the_logs(path):
    no_folder_of_logs(path)
    (path / ".git/thrum-sync/a-sync").write_text("oops")


def no_metadata(path):
    shutil.rmtree(path / ".git/worktrees")


def no_log(path):
    os.unlink(log_of(path, "ann"))


def a_shorter_log(path):
    log = log_of(path, "ann")
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:1]))


def a_database_that_is_a_folder(path):
    (database,) = (path / ".thrum/var").glob("thrum-*.db")
    for name in (path / ".thrum/var").glob("thrum-*.db*"):
        os.unlink(name)
    os.mkdir(database)
    (database / "something").write_text("")


def a_var_that_is_a_file(path):
    shutil.rmtree(path / ".thrum/var")
    (path / ".thrum/var").write_text("")


def a_database_that_lies(path):
    (database,) = (path / ".thrum/var").glob("thrum-*.db")
    connection = sqlite3.connect(database)
    connection.execute("DELETE FROM message")
    connection.commit()
    connection.close()


def a_changed_stub(path):
    with open(path / ".git/hooks/post-commit", "ab") as file:
        file.write(b"echo hi\n")


def a_replaced_stub(path):
    (path / ".git/hooks/post-commit.thrum-orig").write_text("#!/bin/sh\necho before\n")
    (path / ".git/hooks/post-commit").write_text("#!/bin/sh\necho after\n")


def a_missing_stub(path):
    os.unlink(path / ".git/hooks/post-merge")


def a_bad_setting(path):
    kit.git(path, "config", "thrum.interval", "soon")


def a_bad_setting_of_the_users(path):
    kit.git(path, "config", "--global", "thrum.wsPort", "none")


def a_broken_identity(path):
    (path / ".thrum/identities/zed's.json").write_text("{")


def socket_of(path):
    return place.find(str(path)).socket


def a_log_that_nobody_may_write(path):
    log = log_of(path, "ann")
    log.chmod(0o400)
    if os.access(log, os.W_OK) and subprocess.run(["chattr", "+i", log], capture_output=True).returncode:
        log.chmod(0o600)
        pytest.skip("root may write everything here, and this file system knows no files that nobody may change")


def a_socket_that_is_a_file(path):
    with open(socket_of(path), "w"):
        pass


def an_open_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(socket_of(path))
    os.chmod(socket_of(path), 0o777)


CURABLE = [
    a_branch_without_objects,
    a_branch_without_a_blob,
    a_branch_with_a_hole_in_its_past,
    a_branch_of_zeros,
    no_branch,
    no_origin,
    no_folder_of_logs,
    no_metadata,
    no_log,
    a_shorter_log,
    a_database_that_is_a_folder,
    a_database_that_lies,
    an_open_socket,
]
BROKEN = [
    no_branch,
    a_database_that_lies,
    an_open_socket,
    an_origin_that_is_a_folder,
    a_file_for_the_logs,
    a_var_that_is_a_file,
    a_changed_stub,
    a_replaced_stub,
    a_missing_stub,
    a_bad_setting,
    a_bad_setting_of_the_users,
    a_broken_identity,
    a_log_that_nobody_may_write,
    a_socket_that_is_a_file,
]


@pytest.fixture
def ann(synced, monkeypatch):
    """@ann's command line in a clone whose branch has all she said."""
    here, path = synced
    here.ok("send", "kept")
    here.ok("sync", "force")
    monkeypatch.chdir(path)
    return here, path


@pytest.mark.parametrize("breaks", BROKEN)
def test_every_remedy_works_as_it_is_printed(ann, tmp_path, breaks):
    here, path = ann
    breaks(path)
    assert here("doctor").code == 1
    for _ in range(3):
        ended = here("doctor", "--json")
        if ended.code == 0:
            break
        for check in ended.json["checks"]:
            assert check["ok"] or check["fix"], check
        command = next(check["fix"] for check in ended.json["checks"] if not check["ok"])
        done = shell(command, path, tmp_path)
        assert done.returncode in (0, 1) if "doctor" in command else done.returncode == 0, (command, done)
    assert ended.code == 0, ended
    assert here.ask("search", "kept")["total"] == 1


@pytest.mark.parametrize("breaks", CURABLE)
def test_fix_says_what_it_will_do_and_then_what_it_did(ann, breaks):
    here, path = ann
    breaks(path)
    before = here("doctor", "--json")
    assert before.code == 1
    assert any(check["heals"] for check in before.json["checks"] if not check["ok"])
    assert "--fix " in here("doctor").out
    after = here("doctor", "--fix")
    assert (after.code, "healed: " in after.out) == (0, True), after
    assert "healed" not in here.ok("doctor")
    assert here.ask("search", "kept")["total"] == 1
    assert kit.git(path / ".git/thrum-sync/a-sync", "status", "--porcelain") == ""


def test_thrums_own_folder_may_be_gone(ann):
    here, path = ann
    shutil.rmtree(path / ".thrum")
    ended = here("doctor", "--json")
    assert not [check for check in ended.json["checks"] if "please report" in check["detail"]], ended


def test_no_repository_and_no_thrum_in_it(thrum, tmp_path):
    ended = thrum.at(tmp_path)("doctor", "--json")
    assert (ended.code, [check["name"] for check in ended.json["checks"]]) == (1, ["repository"])
    checks = {check["name"]: check for check in thrum("doctor", "--json").json["checks"]}
    assert checks["repository"]["fix"] == "git thrum init"
    assert checks["logs"]["detail"].startswith("not looked at")
    assert thrum("doctor", "--fix").code == 1
    assert not (tmp_path / "shop/.git/thrum-sync").exists()


def test_a_repository_that_cannot_be_written(ann):
    here, path = ann
    if subprocess.run(["chattr", "+i", path / ".git"], capture_output=True, check=False).returncode:
        pytest.skip("chattr +i works for root on some file systems only")
    try:
        assert "cannot be written" in wrong(here("doctor", "--json"))["repository"]
        assert here("doctor", "--fix", "--json").code == 1
    finally:
        subprocess.run(["chattr", "-i", path / ".git"], check=True)


def test_a_check_that_fails_itself_keeps_no_other_from_looking(bob, monkeypatch):
    from thrum.cli import checks

    def breaks(patient):
        raise ZeroDivisionError("oops")

    monkeypatch.setitem(checks.CHECKS, "branch", breaks)
    ended = bob("doctor", "--json")
    assert wrong(ended) == {"branch": "this check failed: ZeroDivisionError: oops; please report it"}
    assert len(ended.json["checks"]) == len(checks.CHECKS)


def test_a_line_that_only_claims_to_be_anothers_stays_a_fault_with_a_command_that_shows_it(bob, repository, tmp_path):
    bob.ok("send", "one")
    with open(log_of(repository, "bob"), "ab") as file:
        file.write(kit.raw(kit.message("rita")) + b"\n")
    check = next(check for check in bob("doctor", "--json").json["checks"] if not check["ok"])
    assert "claims to be rita's" in check["detail"]
    assert "claims to be rita's" in shell(check["fix"], repository, tmp_path).stdout


def test_leftovers_of_killed_processes_are_told_and_removed(bob, repository):
    left = [
        repository / ".git/thrum-sync/.state.json.0123456789ab",
        repository / ".thrum/var/thrum-2.db.123.new",
        repository / ".git/refs/heads/a-sync.lock",
        repository / ".thrum/var/thrum-proof-abc",
    ]
    for path in left:
        path.mkdir() if path.name.startswith("thrum-proof") else path.write_text("")
        os.utime(path, (1, 1))
    mine = repository / ".git/hooks/my.tmp"
    mine.write_text("")
    os.utime(mine, (1, 1))
    check = bob.ask("doctor")["checks"][-1]
    assert (check["ok"], check["detail"][:7], check["heals"]) == (True, "4 files", "removes them")
    assert len(bob.ask("doctor", "--fix")["checks"][-1]["healed"]) == 4
    assert not any(path.exists() for path in left) and mine.exists()


def test_what_a_living_process_is_writing_is_no_leftover(bob, repository):
    path = repository / ".git/thrum-sync/.state.json.0123456789ab"
    path.write_text("")
    assert bob.ask("doctor", "--fix")["checks"][-1]["detail"] == "none"
    assert path.exists()


def test_who_has_our_port_is_named(bob):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        port = squatter.getsockname()[1]
        checks = {check["name"]: check for check in bob.ask("doctor", THRUM_WS_PORT=str(port))["checks"]}
    assert f"{port} is held by" in checks["port"]["detail"] and f"(pid {os.getpid()})" in checks["port"]["detail"]


def test_who_else_hooks_in_is_named(bob, repository):
    (repository / ".pre-commit-config.yaml").write_text("")
    (repository / ".husky").mkdir()
    (repository / ".git/hooks/pre-push").write_text("#!/bin/sh\ngit lfs pre-push\n")
    checks = {check["name"]: check for check in bob.ask("doctor")["checks"]}
    assert "beside us: git-lfs, husky, pre-commit" in checks["hooks"]["detail"]


def test_a_stopped_daemon_is_told_with_the_command_that_wakes_it(bob, repository, tmp_path):
    pid = bob.ask("daemon", "start")["pid"]
    try:
        os.kill(pid, signal.SIGSTOP)
        ended = bob("doctor", "--json")
        check = next(check for check in ended.json["checks"] if not check["ok"])
        assert check["fix"] == f"kill -CONT {pid}"
        assert shell(check["fix"], repository, tmp_path).returncode == 0
        assert bob("doctor").code == 0
    finally:
        os.kill(pid, signal.SIGCONT)
        bob.ok("daemon", "stop")
