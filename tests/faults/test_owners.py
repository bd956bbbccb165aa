"""A repository has one daemon at most, however many are started at once, from wherever, whatever was killed or cleaned."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import kit
from tests.faults.crowd import soon
from thrum.daemon import lifecycle, logfile, ownership
from thrum.errors import DaemonError, Refused
from thrum.git.place import find

LISTENS = 0x10000


class Sampler(threading.Thread):
    """Looks every few milliseconds how many hold the lock, and how many listen at the socket."""

    def __init__(self, place, ways):
        super().__init__()
        self._place, self._is_over = place, threading.Event()
        self._sockets = {find(str(path)).socket for path in ways}  # one socket, by each of its names
        self.samples, self.most_owners, self.most_listeners = 0, 0, 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self.join()

    def run(self):
        while not self._is_over.wait(0.01):
            self.samples += 1
            self.most_owners = max(self.most_owners, self._owners())
            self.most_listeners = max(self.most_listeners, self._listeners())

    def _owners(self):
        """The kernel writes its list page by page: while locks come and go one holder stands there twice, or two in turn."""
        found = self._holders()
        return len(found if len(found) < 2 else found & self._holders())

    def _holders(self):
        try:
            inode = os.stat(ownership.lock_path(self._place)).st_ino
        except FileNotFoundError:
            return set()
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return {line[4] for line in lines if line[1:4:2] == ["FLOCK", "WRITE"] and line[5].endswith(f":{inode}")}

    def _listeners(self):
        lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
        return sum(len(line) > 7 and int(line[3], 16) & LISTENS != 0 and line[7] in self._sockets for line in lines)


@pytest.fixture
def ways(repository, tmp_path):
    """The same repository, reached in several ways: paths."""
    kit.set_up(repository).close()
    (repository / "deep" / "er").mkdir(parents=True)
    (repository / "deep" / "er" / "file").write_text("")
    kit.git(repository, "add", "deep")  # so that no `git clean` takes it away
    (tmp_path / "link").symlink_to(repository)
    linked = kit.add_worktree(repository, "linked")
    found = [repository, repository / "deep" / "er", tmp_path / "link", tmp_path / "link" / "deep", linked]
    bound = tmp_path / "bound"
    bound.mkdir()
    is_bound = os.geteuid() == 0 and not subprocess.run(["mount", "--bind", repository, bound], check=False).returncode
    yield [*found, *([bound] if is_bound else [])]
    for path in (bound, repository) if is_bound else (repository,):
        place = find(str(path))
        if lifecycle.owner(place):
            lifecycle.stop(place)
    if is_bound:
        subprocess.run(["umount", "--lazy", bound], check=True)


@pytest.fixture
def bystander():
    """A process that has nothing to do with us."""
    started = subprocess.Popen(["sleep", "600"])
    yield started
    assert started.poll() is None, "a foreign process was killed"
    started.kill()
    started.wait()


def start(path):
    """One start; the pid of the daemon it made, None if there was one."""
    try:
        return lifecycle.start(find(str(path)), timeout=60).pid
    except Refused as refusal:
        assert "already running" in str(refusal)
        return None


def harm(place, pid, bystander, rng):
    """Kills the daemon, perhaps after its files were cleaned away or its number in the pid file became a stranger's."""
    how = rng.choice(("killed", "cleaned", "replaced"))
    if how == "cleaned":
        kit.git(place.worktree, "clean", "-fdxq", check=False)
    if how == "replaced" and os.path.isdir(place.var_dir):
        record = {"pid": bystander.pid, "birth": ownership.birth(bystander.pid), "socket_path": place.socket}
        with contextlib.suppress(FileNotFoundError):
            Path(ownership.pid_path(place)).write_text(json.dumps(record))
    if rng.random() < 0.3:
        with contextlib.suppress(Refused, DaemonError):
            lifecycle.stop(place)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_of_many_starts_by_every_way_one_makes_a_daemon(ways, bystander, ledger, rng, effort):
    place = find(str(ways[0]))
    logfile.path_for(place)
    with Sampler(place, ways) as sampler, ThreadPoolExecutor(20) as pool:
        for _ in range(effort(1, 25)):
            began = time.monotonic()
            made = [pid for pid in pool.map(start, (rng.choice(ways) for _ in range(20))) if pid]
            ledger.recovered(time.monotonic() - began)
            assert len(made) == 1 and lifecycle.owner(place).pid == made[0]
            for path in ways:
                assert lifecycle.owner(find(str(path))).pid == made[0], path
            assert sampler.most_listeners == 1
            harm(place, made[0], bystander, rng)
            ledger.fault()
            soon(lambda: lifecycle.owner(place) is None)
            sampler.most_listeners = 0  # one that is cleaned away makes its socket anew before it closes the old one
    assert sampler.samples > 10 and sampler.most_owners == 1


def test_starts_kills_and_cleanings_at_random_leave_one_owner_at_most(ways, bystander, ledger, rng, effort, patience):
    place, more = find(str(ways[0])), patience(effort(4, 120))

    def come(seed):
        while more():
            with contextlib.suppress(DaemonError):  # it was killed before it was ready
                start(ways[seed % len(ways)])
            time.sleep(0.05 * seed)

    def go():
        while more():
            time.sleep(rng.uniform(0.1, 0.6))
            found = lifecycle.owner(place)
            if found and found.pid:
                harm(place, found.pid, bystander, rng)
                ledger.fault()

    with Sampler(place, ways) as sampler, ThreadPoolExecutor(5) as pool:
        for work in [*(pool.submit(come, seed) for seed in range(4)), pool.submit(go)]:
            work.result()
    assert sampler.most_owners == 1, "two held the lock"
    soon(lambda: start(ways[0]) or lifecycle.status(place)["status"] == "running")  # the last was perhaps just killed
