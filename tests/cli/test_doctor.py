"""The doctor names what is wrong, heals what can be healed, and ends with 1 otherwise."""

import os
import time

from tests import kit
from thrum.cli import chains


def wrong(ended):
    return {check["name"]: check["detail"] for check in ended.json["checks"] if not check["ok"]}


def test_a_healthy_repository(bob):
    report = bob.ask("doctor")
    assert report["healthy"]
    assert [check["name"] for check in report["checks"]][:4] == ["repository", "branch", "worktree", "logs"]
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


def test_a_lost_line_and_a_changed_line_are_found(bob, repository):
    for number in range(4):
        bob.ok("send", f"number {number}")
    path, root = log_of(repository, "bob"), str(repository / ".git/thrum-sync/a-sync")
    lines = path.read_bytes().splitlines(keepends=True)
    assert chains.broken(root) == []
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    assert ["1 lines are missing before number 4" in found for found in chains.broken(root)] == [True]
    path.write_bytes(b"".join(lines).replace(b"number 1", b"number I"))
    assert ["is not the one it was written after" in found for found in chains.broken(root)] == [True]
    path.write_bytes(b"".join([*lines, lines[-1]]))
    assert ["comes again" in found for found in chains.broken(root)] == [True]


def test_a_torn_end_that_was_put_aside_is_told_and_is_no_fault(bob, repository):
    bob.ok("send", "one")
    with open(log_of(repository, "bob"), "ab") as file:
        file.write(b'{"half": ')
    bob.ok("send", "two")
    checks = {check["name"]: check for check in bob.ask("doctor")["checks"]}
    assert "1 unfinished lines are kept" in checks["logs"]["detail"]


def test_fix_heals_the_worktree_and_brings_lost_logs_back(thrum, clones):
    (path,) = clones(1)
    here = thrum.at(path)
    here.ok("init")
    here.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
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


def test_a_changed_hook_is_told(bob, repository):
    path = repository / ".git/hooks/post-commit"
    path.write_bytes(path.read_bytes() + b"echo hi\n")
    assert "post-commit" in wrong(bob("doctor", "--json"))["hooks"]


def test_leftovers_of_a_dead_daemon_are_no_fault(bob, repository):
    (repository / ".thrum/var/thrum.pid").write_text('{"pid": 1}')
    checks = {check["name"]: check for check in bob.ask("doctor")["checks"]}
    assert "left behind by a dead one: thrum.pid" in checks["daemon"]["detail"]


def test_a_foreign_thrum_is_told_apart(bob, tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "thrum").write_bytes(b"\x7fELF")
    (folder / "thrum").chmod(0o755)
    report = bob.ask("doctor", PATH=f"{folder}:{os.environ['PATH']}")
    assert "another program" in report["checks"][-1]["detail"]


def test_rebuild_and_its_proof(bob, repository):
    bob.ok("send", "one")
    assert "built anew" in bob.ok("rebuild")
    assert bob.ask("rebuild", "--check") == {"equal": True, "differences": []}
    import sqlite3

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
