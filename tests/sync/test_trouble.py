"""A remote that refuses, moves, disappears, hangs or asks for a password: told in one sentence, nothing lost, no prompt."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from tests import kit
from thrum.config import Settings
from thrum.core import clock
from thrum.errors import GitError, RemoteError
from thrum.git import branch, remote
from thrum.store import disk
from thrum.sync import cycle, files

from . import servers
from .house import REF, agree, fsck, move, put, remote_tip, settle


def says(clone, *words):
    """The cycle fails with one sentence that holds the words, in the report, the state and the status."""
    before = clone.state.get("last_success"), clone.state.get("reached")
    report = clone.sync()
    assert not report.ok and not report.pushed, report
    for told in (report.error, clone.state["error"], clone.status()["last_error"]):
        assert told and "\n" not in told and len(told) < 400
        assert all(word in told for word in words), told
    assert report.hint and clone.status()["sync_state"] == "error"
    assert clone.state.get("last_success") == before[0], "an error claims no success"
    assert not before[1] or clone.state.get("reached") in (before[1], None)
    return report


def recovers(*clones, sent, bare):
    """After the cause is gone, one cycle clears the error; `last_success` says when that was."""
    started = clock.text(time.time_ns())
    for clone in clones:
        clone.works()
        assert clone.status()["sync_state"] in ("synced", "pending")
        assert "last_error" not in clone.status() and clone.state["last_success"] >= started
    agree(*clones, sent=sent, bare=bare)


def hook(bare, name, body="exit 1"):
    path = bare / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def sleepless(monkeypatch):
    """The cycle does not sleep; how long it would have."""
    pauses = []
    clockwork = SimpleNamespace(sleep=pauses.append, monotonic=time.monotonic, time_ns=time.time_ns)
    monkeypatch.setattr(cycle, "time", clockwork)
    return pauses


@pytest.mark.parametrize("name", ["update", "pre-receive"])
def test_a_hook_of_the_remote_that_refuses(pair, bare_remote, name):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    refusing = hook(bare_remote, name, 'echo "not on my watch" >&2\nexit 1')
    tip = remote_tip(bare_remote)
    sent.append(ann.send())
    assert says(ann, "refuses", "a-sync").remote == "origin"
    assert remote_tip(bare_remote) == tip and ann.status()["pending"] == 1
    sent.append(ann.send("still works"))
    refusing.unlink()
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_refused_at_first_contact(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    refusing = hook(bare_remote, "update")
    says(ann, "refuses")
    assert "last_sync_at" not in ann.status() or not ann.status()["last_sync_at"]
    refusing.unlink()
    recovers(ann, bob, sent=sent, bare=bare_remote)


@pytest.mark.parametrize("lost", ["nothing", "everything"])
def test_the_remote_moves_between_fetch_and_push(pair, bare_remote, monkeypatch, lost):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    kit.git(bare_remote, "config", "receive.denyNonFastForwards", "true")
    sent.append(ann.send())
    real, raced = remote.push, []

    def push(place, *arguments):
        if place == ann.place and len(raced) < 3:
            raced.append(1)
            sent.append(bob.send(f"race {len(raced)}"))
            bob.works()
            if lost == "everything" and len(raced) == 2:
                move(bare_remote, "")
        return real(place, *arguments)

    monkeypatch.setattr(remote, "push", push)
    report = ann.works()
    assert report.pushed and len(raced) >= 2
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_a_push_that_lies_is_found_out(pair, bare_remote, monkeypatch):
    ann, bob = pair
    settle(ann, bob)
    tip = remote_tip(bare_remote)
    sent = [ann.send()]
    sleepless(monkeypatch)
    monkeypatch.setattr(remote, "push", lambda *_: True)
    says(ann, "moved on")
    assert remote_tip(bare_remote) == tip and ann.status()["pending"] == 1
    monkeypatch.undo()
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_a_push_overwritten_right_after_it_is_pushed_again(pair, bare_remote, monkeypatch):
    """What libgit2 and rsync do to a remote without compare-and-swap."""
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    before = remote_tip(bare_remote)
    real, once = remote.push, []

    def push(*arguments):
        done = real(*arguments)
        if not once:
            once.append(1)
            move(bare_remote, before)
        return done

    monkeypatch.setattr(remote, "push", push)
    sent.append(ann.send())
    assert ann.works().pushed and once
    assert remote_tip(bare_remote) == ann.tip
    agree(ann, bob, sent=sent, bare=bare_remote)


@pytest.mark.parametrize("where", [(remote, "fetch"), (branch, "graft")])
def test_what_fails_while_somebody_tidies_is_done_again(pair, bare_remote, monkeypatch, where):
    """A gc removes the folder that an object is about to be written to."""
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    bob.works()
    lock = f"{ann.place.common_dir}/gc.pid"
    disk.append(lock, b"1 elsewhere\n")
    real, failed = getattr(*where), []

    def fail_once(*arguments):
        if not failed:
            failed.append(1)
            raise RemoteError("failed to write object") if where[0] is remote else GitError("no such folder")
        return real(*arguments)

    monkeypatch.setattr(*where, fail_once)
    assert ann.works().pushed and failed
    os.unlink(lock)
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_endless_races_end(pair, bare_remote, monkeypatch):
    ann, bob = pair
    settle(ann, bob)
    monkeypatch.setattr(remote, "push", lambda *_: False)
    pauses = sleepless(monkeypatch)
    sent = [ann.send()]
    says(ann, "moved on")
    assert len(pauses) <= cycle.TRIES and sum(pauses[-3:]) > sum(pauses[:3]), "no backoff"
    monkeypatch.setattr(cycle, "LONGEST", 0.0)
    says(ann, "moved on, or was locked, 1 times")
    monkeypatch.undo()
    recovers(ann, bob, sent=sent, bare=bare_remote)


def damage_rewind(bare, before):
    move(bare, before)


def damage_delete(bare, before):
    move(bare, "")


def damage_unrelated(bare, before):
    put(bare, {"whatever.txt": b"other\n"}, ref="refs/heads/other")
    move(bare, "refs/heads/other")


def damage_empty(bare, before):
    kit.git(bare, "update-ref", "-d", REF)
    put(bare, {})


def damage_replace(bare, before):
    shutil.rmtree(bare)
    kit.git(bare.parent, "init", "-q", "--bare", str(bare))


DAMAGES = [damage_rewind, damage_delete, damage_unrelated, damage_empty, damage_replace]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_remote_that_lost_lines_gets_them_back(pair, bare_remote, damage):
    ann, bob = pair
    sent = [ann.send("one"), bob.send("two")]
    settle(ann, bob)
    before = remote_tip(bare_remote)
    sent += [ann.send("three"), bob.send("four")]
    settle(ann, bob)
    held = ann.fragments()
    damage(bare_remote, before)

    refusing = hook(bare_remote, "update")
    told = says(ann, "refuses")
    assert told.remote and ann.fragments() == held
    assert ann.status()["pending"] > 0, "it is claimed to be where it is not any more"
    refusing.unlink()
    assert ann.works().pushed
    assert ann.status()["pending"] == 0
    assert ann.fragments() == held
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_another_address_has_not_seen_what_the_first_one_has(pair, bare_remote, tmp_path):
    ann, bob = pair
    ann.send()
    settle(ann, bob)
    path = f"{ann.log}"
    ends = len(ann.fragments()[path])
    assert ann.engine._context(ann.caller.claim).sync.reached([(path, ends)]) == [True]
    kit.git(ann.path, "remote", "set-url", "origin", str(tmp_path / "nowhere.git"))
    says(ann, "nowhere")
    assert ann.engine._context(ann.caller.claim).sync.reached([(path, ends)]) == [False]
    assert ann.status()["pending"] == ann.fragments()[path].count(b"\n")
    kit.git(tmp_path, "init", "-q", "--bare", "nowhere.git")
    ann.works()
    assert ann.status()["pending"] == 0 and remote_tip(tmp_path / "nowhere.git") == ann.tip


def test_a_path_that_is_gone(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    away = bare_remote.with_name("away")
    bare_remote.rename(away)
    sent.append(ann.send("into the void"))
    says(ann, "origin", "no git repository")
    assert ann.status()["pending"] == 1
    sent.append(ann.send("twice"))
    says(ann, "origin")
    assert ann.tip and kit.git(ann.root, "status", "--porcelain") == "", "it is committed all the same"
    away.rename(bare_remote)
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_a_refused_connection(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send()]
    for address in (f"http://127.0.0.1:{servers.free_port()}/x.git", f"git://127.0.0.1:{servers.free_port()}/x.git"):
        kit.git(ann.path, "remote", "set-url", "origin", address)
        says(ann, "cannot be reached")
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)


@pytest.mark.parametrize("scheme", ["git", "http", "ssh"])
def test_a_remote_that_never_answers(pair, bare_remote, monkeypatch, scheme):
    ann, bob = pair
    sent = [ann.send("before")]
    monkeypatch.setattr(cycle, "PATIENCE", 0.7)
    with servers.silent() as port:
        kit.git(ann.path, "remote", "set-url", "origin", f"{scheme}://127.0.0.1:{port}/x.git")
        reports = []
        quiet = cycle.Cycle(ann.place, Settings(), ann.origin, lambda: None)
        waiting = threading.Thread(target=lambda: reports.append(quiet.run()))
        started = time.monotonic()
        waiting.start()
        time.sleep(0.1)
        for number in range(5):
            at = time.monotonic()
            sent.append(ann.send(f"meanwhile {number}"))
            assert time.monotonic() - at < 0.3, "a send waited for the remote"
        waiting.join(10)
        assert not waiting.is_alive() and time.monotonic() - started < 4
        assert not reports[0].ok and ("took longer" in reports[0].error or "cannot be reached" in reports[0].error)
        assert ann.status()["sync_state"] == "error"
    monkeypatch.undo()
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_who_waits_for_another_cycle_waits_not_for_ever(pair, bare_remote, monkeypatch):
    ann, _ = pair
    monkeypatch.setattr(cycle, "PATIENCE", 0.2)
    before = ann.state
    with disk.locked(ann.place.sync_dir + "/sync.lock"):
        report = ann.sync()
    assert not report.ok and "another sync" in report.error and report.hint
    assert ann.state == before, "that is nothing to remember: the other one is at it"


PTY = """
import os, pty, select, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
while True:
    try:
        data = os.read(terminal, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
os.waitpid(pid, 0)
sys.stdout.buffer.write(seen)
"""
CHILD = """
import sys, json
from thrum.sync import cycle
from thrum.config import Settings
from thrum.git import place
from thrum.store import origin
cycle.PATIENCE = 5.0
here = place.find(sys.argv[1])
print("REPORT", json.dumps(cycle.Cycle(here, Settings(), origin.load(here.sync_dir), lambda: None).run().as_json()))
"""


def on_a_terminal(clone, **env):
    """A cycle in a process with a terminal of its own; everything it wrote there, and how long it took."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [sys.executable, "-c", PTY, sys.executable, "-c", CHILD, str(clone.path)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=root, env={**os.environ, **env})
    return done.stdout, time.monotonic() - started


def test_http_that_wants_a_password_is_told_and_never_asked_for(pair, bare_remote, tmp_path):
    ann, bob = pair
    sent = [ann.send()]
    asker = tmp_path / "asker"
    asker.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho x\n")
    asker.chmod(0o755)
    kit.git(ann.path, "config", "core.askPass", str(asker))
    kit.git(bare_remote, "config", "http.receivepack", "true")
    with servers.web(bare_remote.parent, "me:secret") as server:
        kit.git(ann.path, "remote", "set-url", "origin", f"http://127.0.0.1:{server.port}/{bare_remote.name}")
        says(ann, "does not let us in")
        kit.git(ann.path, "remote", "set-url", "origin", f"http://me:wrong@127.0.0.1:{server.port}/{bare_remote.name}")
        says(ann, "does not let us in")
        assert "wrong" not in repr(ann.state)
        asking = {"GIT_ASKPASS": str(asker), "SSH_ASKPASS": str(asker), "DISPLAY": ":9", "GIT_TERMINAL_PROMPT": "1"}
        kit.git(ann.path, "remote", "set-url", "origin", f"http://127.0.0.1:{server.port}/{bare_remote.name}")
        seen, took = on_a_terminal(ann, **asking)
        assert seen.count("\n") == 1 and seen.startswith("REPORT") and "let us in" in seen and took < 10
        assert server.refused and not (tmp_path / "asked").exists()
        kit.git(ann.path, "remote", "set-url", "origin", f"http://me:secret@127.0.0.1:{server.port}/{bare_remote.name}")
        assert ann.works().pushed and "secret" not in repr(ann.state) + repr(ann.status())
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_ssh_without_a_key_is_told_and_never_asked_for(pair, bare_remote, tmp_path, monkeypatch):
    ann, bob = pair
    sent = [ann.send()]
    try:
        with servers.sshd(tmp_path / "sshd") as (port, known, unknown):
            kit.git(ann.path, "remote", "set-url", "origin", f"ssh://127.0.0.1:{port}{bare_remote}")
            monkeypatch.setenv("GIT_SSH_COMMAND", unknown)
            says(ann, "does not let us in")
            monkeypatch.delenv("GIT_SSH_COMMAND")
            says(ann, "host key")
            seen, took = on_a_terminal(ann)
            assert seen.count("\n") == 1 and "host key" in seen and took < 10, seen
            monkeypatch.setenv("GIT_SSH_COMMAND", known)
            assert ann.works().pushed
    except servers.NoSshd as reason:
        pytest.skip(str(reason))
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_a_remote_nobody_knows(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send()]
    report = ann.sync(remote="upstream")
    assert not report.ok and "upstream" in report.error and "thrum.remote" in report.hint
    assert ann.status()["sync_state"] == "error" and ann.status()["pending"]
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_a_sync_checked_out_by_somebody_is_refused_and_local_work_goes_on(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    kit.git(ann.path, "checkout", "-q", "--ignore-other-worktrees", "a-sync")
    sent.append(ann.send("still works"))
    report = says(ann, "checked out")
    assert "switch" in report.hint
    kit.git(ann.path, "checkout", "-q", "main")
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_an_error_of_the_disk_is_told_like_any_other(pair, bare_remote, monkeypatch):
    ann, bob = pair
    sent = [ann.send()]

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "at", fail)
    says(ann, "No space left")
    monkeypatch.undo()
    recovers(ann, bob, sent=sent, bare=bare_remote)


def test_the_silent_port_is_silent():
    with servers.silent() as port, socket.create_connection(("127.0.0.1", port)) as other:
        other.settimeout(0.1)
        with pytest.raises(TimeoutError):
            other.recv(1)


def test_fsck_would_tell(bare_remote):
    put(bare_remote, {"x": b"x"})
    fsck(bare_remote)
