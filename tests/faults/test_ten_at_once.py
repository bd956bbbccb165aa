"""Ten processes at three clones with real daemons, all at once, while daemons are killed and the remote goes back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import kit
from tests.faults import worker
from tests.sync.house import REF, remote_tip

CLONES = 3
NAMES = [*(f"agent{number}" for number in range(9)), "agent1"]
"""Who works; the tenth has the name of the second, and another clone."""
WORKER = str(Path(worker.__file__))
ROOT = Path(WORKER).parents[2]


def thrum(path, *words):
    """The program, as a person runs it."""
    line = [worker.PROGRAM, *words]
    done = subprocess.run(line, cwd=path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


class Town:
    """Three clones, their daemons, and ten that work."""

    def __init__(self, paths, bare, folder, rng, ledger):
        self.paths, self.bare, self.folder, self.rng, self.ledger = paths, bare, folder, rng, ledger
        self.workers = []

    def settle(self):
        """Everybody is set up and registered, everybody's daemon runs."""
        for number, path in enumerate(self.paths):
            engine = kit.set_up(path)
            for name in NAMES[number::CLONES]:
                kit.hire(engine, path, name)
            engine.close()
            kit.git(path, "config", "thrum.interval", "2")
            thrum(path, "daemon", "start")

    def work(self, seconds):
        for number, name in enumerate(NAMES):
            door, path = ("cli", "wire", "wire")[number % 3 if number < 6 else 1], self.paths[number % CLONES]
            words = [door, str(path), name, str(self.rng.random()), str(seconds), f"{self.folder}/promises{number}"]
            line = [sys.executable, "-P", WORKER, *words]
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.workers.append(subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True))

    def kill_a_daemon(self):
        path = self.rng.choice(self.paths)
        found = json.loads(thrum(path, "daemon", "status", "--json"))
        if found.get("running"):
            os.kill(found["pid"], signal.SIGKILL)
            self.ledger.fault()
            started = time.monotonic()
            thrum(path, "daemon", "start")
            self.ledger.recovered(time.monotonic() - started)

    def tidy(self):
        """Everything unreachable goes at once; on a remote that takes pushes git itself does not survive that."""
        kit.git(self.rng.choice(self.paths), "gc", "-q", "--prune=now", check=False)
        kit.git(self.bare, "gc", "-q", check=False)
        self.ledger.fault()

    def rewind(self):
        older = kit.git(self.bare, "rev-parse", "-q", "--verify", f"{REF}~4", check=False).strip()
        if older:
            kit.git(self.bare, "update-ref", REF, older)
            self.ledger.fault()

    def end(self):
        for running in self.workers:
            _, complaint = running.communicate(timeout=150)
            assert running.returncode == 0, complaint

    def stop(self):
        for running in self.workers:
            running.kill()
            running.communicate()
        for path in self.paths:
            subprocess.run([worker.PROGRAM, "daemon", "stop"], cwd=path, capture_output=True, check=False)

    def quiet_down(self):
        """Rounds of `sync force` until nobody moves."""
        before = []
        for _ in range(8):
            for path in self.paths:
                thrum(path, "sync", "force")
            tips = [remote_tip(path) for path in (*self.paths, self.bare)]
            if len({*tips, *before}) == 1:
                return
            before = tips
        raise AssertionError(f"no rest: {tips}")

    def promises(self):
        """What was acknowledged, and when a word was not: nothing."""
        lines = [line for file in sorted(Path(self.folder).glob("promises*")) for line in file.read_text().splitlines()]
        return [tuple(json.loads(line)) for line in lines]


@pytest.fixture
def town(clones, bare_remote, tmp_path, rng, ledger):
    made = Town(clones(CLONES), bare_remote, str(tmp_path), rng, ledger)
    try:
        yield made
    finally:
        made.stop()


@pytest.mark.timeout(1800)
def test_ten_at_once_lose_nothing_and_double_nothing(town, effort, patience, ledger):
    town.settle()
    seconds = effort(8, 240)
    town.work(seconds)
    goes_on, number = patience(seconds), 0
    while goes_on():
        number += 1
        (town.rewind if number == 3 else town.rng.choice([town.kill_a_daemon, town.tidy]))()
        time.sleep(town.rng.random())
    town.end()
    town.quiet_down()
    check(town, ledger)
    ledger.balance()


def check(town, ledger):
    """The same bytes and the same read model everywhere, and in them everything that was promised."""
    trees = {kit.git(path, "rev-parse", REF + "^{tree}").strip() for path in (*town.paths, town.bare)}
    assert len(trees) == 1
    views = []
    for path in town.paths:
        engine = kit.open_engine(path)
        engine.catch_up()
        views.append(kit.dump(engine.projection.connection))
        held = holds(engine.projection.connection)
        texts = [json.loads(row["line"])["body"]["content"] for row in views[-1]["message"]]
        assert len(texts) == len(set(texts)), "one request, two messages"
        thrum(path, "doctor")
        engine.close()
        kit.git(path, "gc", "-q", "--prune=now")  # an earlier one left trees in the air whose blobs it took
        kit.git(path, "fsck", "--strict", "--no-dangling", "--no-reflogs")  # nor does a reflog know what was taken
    assert views[0] == views[1] == views[2]
    for kind, *rest in town.promises():
        ledger.acknowledge(" ".join((kind, rest[0], *(rest[1:] if kind != "message" else ()))))
    ledger.find(*held)
    assert not {row["message_id"] for row in views[0]["message"] if not row["deleted_at"]} & {
        message_id for kind, message_id, _ in town.promises() if kind == "delete"
    }


def holds(sql):
    """What the read model says was said, as the promises have it."""
    found = [f"message {row[0]}" for row in sql.execute("SELECT message_id FROM message")]
    found += [f"edit {row[0]} {row[1]}" for row in sql.execute("SELECT message_id, content FROM revision")]
    found += [f"delete {row[0]} {row[1]}" for row in sql.execute("SELECT message_id, owner FROM deletion")]
    return found + [f"read {row[0]} {row[1]}" for row in sql.execute("SELECT message_id, agent_id FROM read_mark")]
