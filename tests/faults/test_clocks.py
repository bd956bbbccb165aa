"""Machines whose clocks are a day apart, and jump: real daemons, commands and git, whose time of day is wrong."""

import json
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

import pytest

from tests import kit
from tests.faults.worker import PROGRAM
from tests.sync.house import REF

COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="there is no C compiler to make a wrong clock with (apt install gcc)"
)
DAY = 86400


class Machine:
    """A clone on a machine whose clock is wrong."""

    def __init__(self, path, name, library):
        self.path, self.name = path, name
        self._clock = library.with_name(f"{name}.clock")
        self._env = {"LD_PRELOAD": str(library), "WRONG_CLOCK": str(self._clock)}
        self.set(0)
        kit.git(path, "config", "thrum.interval", "1")
        self("init")
        self("quickstart", "--name", name, "--role", "tester", "--module", "core")

    def set(self, seconds):
        """From now on the clock is so far ahead."""
        self._clock.write_bytes(struct.pack("=q", seconds))

    def __call__(self, *words, code=0):
        env = {**os.environ, **self._env}
        line = [PROGRAM, *words, "--json"]
        done = subprocess.run(line, cwd=self.path, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def send(self, text):
        return self("send", text)["message_id"]

    def inbox(self):
        return [m["message_id"] for m in self("inbox", "--all", "--peek", "--page-size", "100")["messages"]]

    def cpu(self):
        """Seconds of processor time the daemon has used."""
        with open(f"/proc/{self('daemon', 'status')['pid']}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def machines(clones, tmp_path):
    library, source = tmp_path / "clock.so", Path(__file__).with_name("clock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    made = [Machine(path, name, library) for path, name in zip(clones(2), ("ann", "bob"), strict=True)]
    yield made
    for machine in made:
        subprocess.run([PROGRAM, "daemon", "stop"], cwd=machine.path, capture_output=True, check=False)


@pytest.mark.timeout(600)
def test_daemons_whose_clocks_are_apart_and_jump_lose_hide_and_reorder_nothing(machines, effort, ledger):
    ann, bob = machines
    for machine, offset in ((ann, DAY // 2), (bob, -DAY // 3)):
        machine.set(offset)
        machine("daemon", "start")
    for offset in (DAY // 2, -DAY, 3650 * DAY, 0)[: effort(3, 4)]:
        ledger.fault()
        ann.set(offset)
        question = ann.send(f"question at {offset}")
        ledger.acknowledge(question, bob.send(f"meanwhile at {offset}"))
        for machine in machines:
            machine("sync", "force")
        bob("sync", "force")
        assert bob("wait", "--timeout", "30")["message_id"] == question, "hidden by a clock"
        answer = bob("reply", question, "answer")["message_id"]
        ledger.acknowledge(answer)
        if offset < DAY // 2 + 1:
            order = [bob("message", "get", one)["message"]["created_at"] for one in (question, answer)]
            assert order[0] < order[1], "the answer stands before the question"
    for machine in (ann, bob, ann, bob):
        machine("sync", "force")
    assert ann.inbox() == bob.inbox()
    assert kit.git(ann.path, "rev-parse", REF) == kit.git(bob.path, "rev-parse", REF)
    before = [machine.cpu() for machine in machines], time.monotonic()
    time.sleep(2)
    used = max(machine.cpu() - was for machine, was in zip(machines, before[0], strict=True))
    assert used < 0.5 * (time.monotonic() - before[1]), "a daemon is busy with its clock"
    ledger.find(*ann.inbox())
    ledger.balance()
    for machine in machines:
        assert not machine("daemon", "status").get("last_error")
