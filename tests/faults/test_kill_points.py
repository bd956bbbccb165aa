"""`kill -9` between any two writes: of a command, of a daemon, of a hook, of `init`. The next ordinary command works by itself.

What was acknowledged is there, once; nothing half-written is shown; git finds no fault; the dead leave nothing that grows.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests import kit
from tests.faults import scene, trace, workday
from tests.faults.away import away
from tests.faults.daemons import send_by_socket, serve, until_it_serves
from tests.sync.house import fsck
from thrum.git import place

pytestmark = pytest.mark.skipif(not trace.IS_POSSIBLE, reason="system calls are stopped on Linux on x86-64 only")
ENDS = ("kill", "tear")


@pytest.mark.parametrize("what", ENDS)
@pytest.mark.parametrize("work", ["write_and_read", "hire_and_sync", "several_at_once"])
def test_a_command_may_be_killed_between_any_two_writes(ledger, rng, effort, work, what):
    short, long = {"write_and_read": (24, 2), "hire_and_sync": (48, 8), "several_at_once": (8, 1)}[work]
    stride = effort(short, long)
    away(ledger, sweep_commands, seconds=3000, work=work, what=what, stride=stride, first=1 + rng.randrange(stride))


def sweep_commands(ledger, work, what, stride, first):
    """Kills the work at every `stride`-th write; after each the next command has to work."""
    points = itertools.count(first, stride)
    while points := sweep_a_while(ledger, work, what, points):
        pass


def sweep_a_while(ledger, work, what, points):
    """So many kills in one repository: it grows with each, and so does the work. None when there was nothing left to kill."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", folder / "origin.git")
        books, is_over = workday.Books(ledger, repo), False
        for point in itertools.islice(points, scene.STRETCH):
            run, said, trouble = workday.play(getattr(workday, work), trace.Point(point, what), repo, f"k{point}")
            books.take(said)
            if not run.hit:
                assert run.code == 0, trouble
                is_over = True
                break
            ledger.fault()
            scene.age(scene.locks(f"{folder}/origin.git"))
            books.heals(f"after {point}: {run.hit}")
        books.leaves_no_litter()
        bare_is_sound(books, folder / "origin.git")
    return None if is_over else points


def bare_is_sound(books, bare):
    """The remote has what was said, and a second clone can be made of it."""
    fsck(bare)
    listed = kit.git(bare, "ls-tree", "-r", "--name-only", "a-sync")
    assert "messages/ann/" in listed


@pytest.mark.parametrize("what", ENDS)
def test_an_init_that_was_cut_off_is_finished_by_the_next(ledger, rng, effort, what):
    stride = effort(40, 5)
    away(ledger, sweep_init, seconds=3000, what=what, stride=stride, first=1 + rng.randrange(stride))


def sweep_init(ledger, what, stride, first):
    """Kills `init` at every `stride`-th write, where the remote has the branch already and where there is none."""
    with scene.folder() as folder:
        scene.with_people(folder / "first", folder / "origin.git")
        workday.sync_only(str(folder / "first"), "before")
        for with_remote in (True, False):
            point, is_hit = first, True
            while is_hit:
                is_hit = cut_off_init(ledger, folder, with_remote, trace.Point(point, what))
                point += stride


def cut_off_init(ledger, folder, with_remote, point):
    """One `init` that is killed, and the next, which has to finish it; False when there was nothing left to kill."""
    repo = kit.make_repository(folder / "clone")
    if with_remote:
        kit.git(repo, "remote", "add", "origin", str(folder / "origin.git"))
    hook = repo / ".git/hooks/post-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho mine\n")
    hook.chmod(0o755)
    try:
        run, _, trouble = workday.play(workday.thrum, point, str(repo), "init")
        if not run.hit:
            assert run.code == 0, trouble
        else:
            ledger.fault()
            finish_init(ledger, repo, f"init killed at {point.at}: {run.hit}")
        works_after_init(ledger, repo)
        return bool(run.hit)
    finally:
        shutil.rmtree(repo)


def finish_init(ledger, repo, moment):
    began = time.monotonic()
    scene.age([str(path) for path in repo.glob(".git/**/*.lock")] if place.find(str(repo)).is_initialised else [])
    try:
        if not place.find(str(repo)).is_initialised:
            workday.thrum(str(repo), "init")
    except workday.CommandFailed as failed:
        raise AssertionError(moment, failed.args) from failed
    ledger.recovered(time.monotonic() - began)


def works_after_init(ledger, repo):
    """Agents can work, the user's own hook still runs, doctor is content."""
    workday.thrum(str(repo), "quickstart", "--role", "tester", "--module", "core", "--name", "tess")
    said = workday.thrum(str(repo), "send", "hello")["message_id"]
    ledger.acknowledge(f"{repo}{said}")
    workday.thrum(str(repo), "doctor")
    fsck(repo)
    done = subprocess.run(["git", "commit", "-q", "--allow-empty", "-m", "x"], cwd=repo, capture_output=True, text=True)
    assert done.stdout + done.stderr == "mine\n"
    engine = kit.open_engine(repo)
    try:
        assert engine.mail.get(said)
        ledger.find(f"{repo}{said}")
    finally:
        engine.close()


def test_a_hook_may_be_killed_and_the_commit_is_made(ledger, rng, effort):
    away(ledger, sweep_hook, seconds=600, stride=1)


def sweep_hook(ledger, stride):
    """Kills the shell of the hook at each of its writes; then git itself, all at once, at every third of its own."""
    with scene.folder() as folder:
        repo = kit.make_repository(folder / "shop")
        workday.thrum(str(repo), "init")
        workday.thrum(str(repo), "quickstart", "--role", "tester", "--module", "core", "--name", "ann")
        books = workday.Books(ledger, str(repo))
        point, is_hit = 1, True
        while is_hit:
            (repo / "new").write_text(str(point))
            run, _, trouble = workday.play(commit, trace.Point(point, "alone", program="post-commit"), str(repo))
            is_hit = bool(run.hit)
            assert run.code == 0, trouble
            ledger.fault(int(is_hit))
            books.heals(f"hook {point}")
            point += stride
        assert point > 1 + stride, "the hook was never hit"
        for point in range(1, 60, 3):
            (repo / "new").write_text(f"again {point}")
            run, _, _ = workday.play(commit, trace.Point(point), str(repo))
            ledger.fault(int(bool(run.hit)))
            theirs = [path for path in (repo / ".git").glob("**/*.lock") if "thrum" not in str(path)]
            books.heals(f"commit {point}")
            assert [path for path in theirs if not path.exists()] == [], "a lock of the user's was touched"
            for path in theirs:
                path.unlink()
        engine = kit.open_engine(repo)
        books.close(engine)
        engine.close()
        ledger.balance()


def commit(repo):
    done = subprocess.run(["git", "-C", repo, "commit", "-q", "-a", "--allow-empty", "-m", "work"], capture_output=True)
    return done.returncode


@pytest.mark.parametrize("what", ENDS)
def test_a_daemon_may_be_killed_between_any_two_writes_while_it_serves_and_syncs(ledger, rng, effort, what):
    stride = effort(100, 20)
    away(
        ledger,
        sweep_daemon,
        seconds=3000,
        what=what,
        stride=stride,
        first=1 + rng.randrange(stride),
        last=effort(800, 1600),
    )


def sweep_daemon(ledger, what, stride, first, last):
    """A daemon is killed at every `stride`-th write while two clients send; a command works without it, then the next one."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", folder / "origin.git")
        books = workday.Books(ledger, repo)
        for point in range(first, last, stride):
            said, hit = serve_until(repo, trace.Point(point, what))
            books.take(said)
            ledger.fault()
            scene.age(scene.locks(f"{folder}/origin.git"))
            books.heals(f"daemon killed at {point}: {hit}")
        come_and_go(repo)
        books.leaves_no_litter()
        bare_is_sound(books, folder / "origin.git")


def come_and_go(repo):
    """A daemon that nobody kills: whatever only a daemon writes is written once more."""
    scene.age(scene.litter(repo))
    daemon = trace.spawn(lambda: serve(repo))
    until_it_serves(repo)
    os.kill(daemon, signal.SIGTERM)
    assert os.waitpid(daemon, 0)[1] == 0


def serve_until(repo, point):
    """A daemon under trace, and two who send to it until it dies; what was acknowledged, and where it was hit."""
    out, err = os.memfd_create("acknowledged"), os.memfd_create("err")
    clients = [trace.spawn(lambda name=name: keep_sending(repo, name), out=out) for name in ("ann", "bob")]
    try:
        run = trace.traced(lambda: serve(repo), point, 60, err=err)
    finally:
        for client in clients:
            with contextlib.suppress(ChildProcessError):  # the tracer waits for whoever ends
                os.waitpid(client, 0)
    said = os.pread(out, 1 << 20, 0).decode()
    assert run.hit, os.pread(err, 1 << 16, 0).decode()
    os.close(out)
    os.close(err)
    return said, run.hit


def keep_sending(repo, name):
    """Sends over the socket as long as somebody answers; each acknowledgement is a line of the output."""
    with contextlib.suppress(OSError, ValueError, TimeoutError):
        until_it_serves(repo)
        while True:
            workday.acknowledge("send", send_by_socket(repo, name))
