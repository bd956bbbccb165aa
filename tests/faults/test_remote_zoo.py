"""Remotes that stand still, cut the line, are full or slow, or say nothing of what they did: told, and mended by itself.

What refuses, moves, disappears or asks for a password is in `tests/sync/test_trouble.py`.
"""

import contextlib
import os
import shutil
import signal
import socket
import threading
import time

import pytest

from tests import kit
from tests.sync import servers
from tests.sync.house import Clone, remote_tip, settle
from tests.sync.test_trouble import recovers, says
from thrum.config import Settings
from thrum.sync import cycle


def cut(data, to):
    """The line is cut in the middle of the first word."""
    to.sendall(data[:7])
    to.shutdown(socket.SHUT_RDWR)
    raise OSError


def trickle(data, to):
    """One byte a second."""
    for number in range(len(data)):
        to.sendall(data[number : number + 1])
        time.sleep(1)


def keep_back_the_report(data, to):
    """A push is carried out, and nobody hears of it."""
    if b"unpack" in data:
        to.shutdown(socket.SHUT_RDWR)
        raise OSError
    to.sendall(data)


@contextlib.contextmanager
def standing_still(bare):
    with servers.git_daemon(bare.parent) as (port, server):
        os.killpg(server.pid, signal.SIGSTOP)
        yield port


@contextlib.contextmanager
def full(bare):
    with servers.git_daemon(bare.parent, largest_file=20) as (port, _):
        yield port


def meddled(relay):
    @contextlib.contextmanager
    def between(bare):
        with servers.git_daemon(bare.parent) as (there, _), servers.meddler(there, relay) as port:
            yield port

    return between


@pytest.fixture
def pair(clones):
    made = [Clone(path, name, allow_public=True) for path, name in zip(clones(2), ("ann", "bob"), strict=True)]
    yield made
    for clone in made:
        clone.close()


def during_a_cycle(clone, does):
    """Does something while a cycle is under way, in another thread, and has not ended; the cycle's report."""
    reports, quiet = [], cycle.Cycle(clone.place, Settings(), clone.origin, lambda: None)
    waiting = threading.Thread(target=lambda: reports.append(quiet.run()))
    waiting.start()
    does()
    assert waiting.is_alive(), "it waited for the remote"
    waiting.join(60)
    return reports[0]


@pytest.mark.parametrize("stands", [standing_still, meddled(trickle)], ids=["stopped", "slow"])
def test_nobody_waits_for_a_remote_that_stands_still(pair, bare_remote, monkeypatch, ledger, stands):
    ann, bob = pair
    sent = [ann.send("before"), bob.send("before")]
    settle(ann, bob)
    ledger.fault()
    monkeypatch.setattr(cycle, "PATIENCE", 8.0)
    with stands(bare_remote) as port:
        kit.git(ann.path, "remote", "set-url", "origin", f"git://127.0.0.1:{port}/{bare_remote.name}")
        report = during_a_cycle(ann, lambda: sent.extend(ann.send(f"meanwhile {number}") for number in range(5)))
        assert not report.ok and report.hint
        told = ann.status()
        assert told["sync_state"] == "error" and told["last_error"] == report.error and told["last_sync_at"]
        assert told["pending"] >= 5
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    monkeypatch.undo()
    recovers(ann, bob, sent=sent, bare=bare_remote)
    account(ledger, sent, bob)


@pytest.mark.parametrize("breaks", [meddled(cut), full], ids=["cut", "full"])
def test_a_remote_that_breaks_off_is_told_and_tried_again(pair, bare_remote, ledger, breaks):
    if breaks is full and shutil.which("prlimit") is None:
        pytest.skip("prlimit is not installed (apt install util-linux)")
    ann, bob = pair
    sent = [ann.send("before"), bob.send("before")]
    settle(ann, bob)
    tip = remote_tip(bare_remote)
    ledger.fault()
    with breaks(bare_remote) as port:
        kit.git(ann.path, "remote", "set-url", "origin", f"git://127.0.0.1:{port}/{bare_remote.name}")
        sent.append(ann.send("x" * 3000))
        says(ann)
        sent.append(ann.send("still works"))
        says(ann)
    assert remote_tip(bare_remote) == tip
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)
    account(ledger, sent, bob)


def test_a_push_whose_report_is_lost_is_not_claimed_and_not_repeated(pair, bare_remote, ledger):
    ann, bob = pair
    sent = [ann.send("before"), bob.send("before")]
    settle(ann, bob)
    ledger.fault()
    with meddled(keep_back_the_report)(bare_remote) as port:
        address = f"git://127.0.0.1:{port}/{bare_remote.name}"
        kit.git(ann.path, "remote", "set-url", "origin", address)
        sent.append(ann.send("there, but who knows"))
        says(ann)
        assert remote_tip(bare_remote) == ann.tip, "it is there"
        assert ann.works().pushed is False and ann.status()["pending"] == 0, "and now we have seen it"
    kit.git(ann.path, "remote", "set-url", "origin", str(bare_remote))
    recovers(ann, bob, sent=sent, bare=bare_remote)
    account(ledger, sent, bob)


def account(ledger, sent, clone):
    ledger.acknowledge(*sent)
    ledger.find(*clone.messages())
    ledger.balance()
