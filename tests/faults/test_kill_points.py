"""`kill -9` between any two writes: of a command, of a daemon, of a hook, of `init`. The next ordinary command works by itself.

What was acknowledged is there, once; nothing half-written is shown; git finds no fault; and dead processes leave nothing that grows.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests import kit
from tests.faults import scene, trace, workday
from tests.faults.away import away
from tests.sync.house import fsck
from thrum.git import place

pytestmark = pytest.mark.skipif(not trace.IS_POSSIBLE, reason="system calls are stopped on Linux on x86-64 only")
ENDS = ("kill", "tear")


@pytest.mark.parametrize("what", ENDS)
@pytest.mark.parametrize("work", ["write_and_read", "hire_and_sync"])
def test_a_command_may_be_killed_between_any_two_writes(ledger, rng, effort, work, what):
    stride = effort({"write_and_read": 24, "hire_and_sync": 48}[work], 1)
    away(ledger, sweep_commands, seconds=3000, work=work, what=what, stride=stride, first=1 + rng.randrange(stride))


def sweep_commands(ledger, work, what, stride, first):
    """Kills the work at every `stride`-th write; after each the next command has to work."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", folder / "origin.git")
        books, point = workday.Books(ledger, repo), first
        while True:
            run, said, trouble = workday.play(getattr(workday, work), trace.Point(point, what), repo, f"k{point}")
            books.take(said)
            if not run.hit:
                assert run.code == 0, trouble
                break
            ledger.fault()
            scene.age(glob.glob(f"{glob.escape(str(folder))}/origin.git/**/*.lock", recursive=True))
            heals(books, f"after {point}: {run.hit}")
            point += stride
        leaves_no_litter(books)
        bare_is_sound(books, folder / "origin.git")


def heals(books, moment):
    """The next ordinary command works, and everything acknowledged is there."""
    began = time.monotonic()
    try:
        said = workday.thrum(books.repo, "--name", "ann", "send", moment)["message_id"]
        books.ledger.recovered(time.monotonic() - began)
        books.take(f"ACK send {said}\n")
        engine = kit.open_engine(books.repo)
        try:
            books.check(engine)
        finally:
            engine.close()
        fsck(books.repo)
    except Exception as error:
        raise AssertionError(moment) from error


def leaves_no_litter(books):
    """Whatever the dead left is gone once somebody did the same things later."""
    scene.age(scene.litter(books.repo))
    scene.age(glob.glob(f"{glob.escape(books.repo)}/.git/**/*.lock", recursive=True))
    workday.write_and_read(books.repo, "later")
    workday.hire_and_sync(books.repo, "later")
    left = scene.litter(books.repo)
    assert not left, left
    engine = kit.open_engine(books.repo)
    try:
        books.close(engine)
    finally:
        engine.close()
    assert kit.git(Path(books.repo, ".git/thrum-sync/a-sync"), "status", "--porcelain") == ""
    books.ledger.balance()


def bare_is_sound(books, bare):
    """The remote has what was said, and a second clone can be made of it."""
    fsck(bare)
    listed = kit.git(bare, "ls-tree", "-r", "--name-only", "a-sync")
    assert "messages/ann/" in listed
