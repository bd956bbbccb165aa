"""The sync's arithmetic without git: copies of logs that grow, fork, go back and are united, and the read model of each.

What is real here: the logs' writer, the union on disk, the fold. The remote is a dictionary. So thousands of steps are cheap.
"""

import random
import shutil
import tempfile

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import kit
from tests.faults.crew import DAY, MEMORY, PHASES, STEPS
from tests.faults.oracle import Oracle
from thrum.core import clock, layout, union
from thrum.store.journal import Journal
from thrum.sync import files

NAMES = ("ann", "bob", "ann", "cat")
WHO = st.integers(0, len(NAMES) - 1)
SOME = st.integers(0, 30)
STEP = st.sampled_from(STEPS)
PLACE = ("seq", "path", "ends")
"""Columns of `message` that say where it stands and when it came, not what it is."""


class Replica:
    """The logs of one clone and their read model."""

    def __init__(self, folder, number):
        self.folder, self.name, self.origin = f"{folder}/{number}", NAMES[number], f"00000000000{number}"
        self.ahead = (0, 0, DAY, -3650 * DAY)[number]
        self.backup, self.held = None, set()
        self._open()

    def _open(self):
        self.branch = kit.Branch(self.folder, self.origin)
        self.journal = Journal(self.branch.root, self.origin)

    def say(self, event, now):
        self.journal.append(self.name, {**event, "timestamp": clock.text(max(now + self.ahead, 1))})
        self.branch.catch_up()

    def logs(self):
        return {path: data for path, data in kit.files(self.branch.root).items() if layout.parse_path(path)}

    def lines(self):
        return {(path, line) for path, data in self.logs().items() for line in union.split(data)}

    def take(self, path, data):
        """Unites a file with another copy of it, as the sync does."""
        before = union.split(self.logs().get(path, b""))
        files.hold(self.branch.root, layout.parse_path(path), data)
        after = self.logs()[path]
        assert set(union.split(after)) == {*before, *union.split(data)}

    def keep(self):
        """Keeps a copy of the logs; if there are none, none: logs that are gone altogether are waited for."""
        if not self.logs():
            return
        shutil.rmtree(self.folder + ".backup", ignore_errors=True)
        shutil.copytree(self.branch.root, self.folder + ".backup")
        self.backup = True

    def go_back(self):
        """The logs are as they were when they were kept; the database is not: it has to notice."""
        shutil.rmtree(self.branch.root)
        shutil.copytree(self.folder + ".backup", self.branch.root)
        self.branch.close()
        self._open()
        self.branch.catch_up()
        self.held = set()


class Unions(RuleBasedStateMachine):
    """Replicas, a remote, and whatever may happen to the logs."""

    books = None

    @initialize(seed=st.integers(0, 1000), sizes=st.sampled_from([(300, 900), (700, 700), (100_000, 400)]))
    def found(self, seed, sizes):
        self.folder = tempfile.mkdtemp(prefix="thrum-union-", dir=MEMORY)
        self.patch, self.sizes = pytest.MonkeyPatch(), sizes
        self.patch.setattr(layout, "SEGMENT_BYTES", 700)
        self.replicas = [Replica(self.folder, number) for number in range(len(NAMES))]
        self.remote, self.count, self.rng = {}, 0, random.Random(seed)

    def _turn(self, who, step=0):
        layout.SEGMENT_BYTES = self.sizes[who % 2]
        self.replicas[who].ahead += step
        self.count += 1
        return self.replicas[who]

    def _say(self, replica, kind, /, **fields):
        replica.say(kit.event(kind, 0, **fields), kit.NOON + self.count // 3)

    def _message(self, replica, which):
        known = [row[0] for row in replica.branch.projection.connection.execute("SELECT message_id FROM message")]
        return sorted(known)[which % len(known)] if known else ""

    @rule(who=WHO, to=st.sampled_from([None, "ann", "bob"]), thread=st.booleans(), step=STEP)
    def send(self, who, to, thread, step):
        replica = self._turn(who, step)
        made = kit.message(replica.name, f"text {self.count}", to=[to]) if to else kit.message(replica.name, "text")
        if thread:
            made["thread_id"] = f"thr_{self.count % 3}"
        replica.say({**made, **({} if to else {"everyone": True})}, kit.NOON + self.count // 3)
        assert replica.branch.mail.get(made["message_id"])

    @rule(who=WHO, which=SOME, step=STEP)
    def edit(self, who, which, step):
        replica = self._turn(who, step)
        message_id = self._message(replica, which)
        if message_id:
            text, version = f"edit {self.count}", replica.branch.mail.last_version(message_id) + 1
            self._say(replica, "message.edit", message_id=message_id, body={"content": text}, version=version)
            found = replica.branch.mail.get(message_id)
            if replica.branch.mail.owner(message_id) == replica.name and not found["deleted"]:
                assert found["body"]["content"] == text

    @rule(who=WHO, which=SOME, step=STEP)
    def delete(self, who, which, step):
        replica = self._turn(who, step)
        self._say(replica, "message.delete", message_id=self._message(replica, which) or "msg_unknown")

    @rule(who=WHO, which=SOME)
    def read(self, who, which):
        replica = self._turn(who)
        self._say(replica, "message.read", agent_id=replica.name, message_ids=[self._message(replica, which), "msg_x"])

    @rule(who=WHO, kind=st.sampled_from(["agent.register", "agent.register", "agent.cleanup"]), step=STEP)
    def come_or_go(self, who, kind, step):
        replica = self._turn(who, step)
        version = replica.branch.roster.last_version(replica.name) + 1
        fields = {"agent_id": replica.name, "kind": "agent", "role": "tester", "module": "core"}
        self._say(replica, kind, **fields, version=version)
        assert (replica.branch.roster.agent(replica.name) is None) == (kind == "agent.cleanup")

    @rule(who=WHO, which=SOME, early=st.booleans())
    def claim_anothers_message(self, who, which, early):
        replica = self._turn(who)
        message_id = self._message(replica, which)
        if message_id:
            claimed = kit.message(
                "mallory", f"mine {self.count}", -1e9 if early else 1e9, message_id=message_id, everyone=True
            )
            self._strange(replica, kit.raw({**claimed, "seq": self.count}))

    @rule(who=WHO, line=st.sampled_from([b"oops", b"{}", b'{"type":"poll","timestamp":"x","event_id":"y"}', b"\xff\0"]))
    def write_garbage(self, who, line):
        self._strange(self._turn(who), line)

    def _strange(self, replica, line):
        replica.take("messages/mallory/00000000000z/0000/00.jsonl", line + b"\n")
        replica.branch.catch_up()

    @rule(who=WHO)
    def push(self, who):
        for path, data in self._turn(who).logs().items():
            there = self.remote.get(path, b"")
            united = files.united(b"", there, data)
            assert united == files.united(b"", data, there) and united == files.united(united, data, there, united)
            self.remote[path] = united

    @rule(who=WHO)
    def fetch(self, who):
        replica = self._turn(who)
        for path, data in self.remote.items():
            replica.take(path, data)
            if self.rng.random() < 0.5:
                replica.branch.catch_up()

    @rule(who=WHO)
    def keep_a_copy(self, who):
        self.replicas[who].keep()

    @precondition(lambda self: any(replica.backup for replica in self.replicas))
    @rule(who=WHO)
    def go_back_to_the_copy(self, who):
        if self.replicas[who].backup:
            self.books.fault()
            self.replicas[who].go_back()

    @rule(which=SOME)
    def the_remote_forgets(self, which):
        self.books.fault()
        for path in sorted(self.remote)[which % 3 :: 2]:
            del self.remote[path]

    @invariant()
    def what_was_here_is_here(self):
        for replica in getattr(self, "replicas", ()):
            now = replica.lines()
            assert replica.held <= now
            replica.held = now

    def teardown(self):
        if hasattr(self, "replicas"):
            try:
                self._quiet_down()
            finally:
                for replica in self.replicas:
                    replica.branch.close()
                shutil.rmtree(self.folder)
                self.patch.undo()

    def _quiet_down(self):
        held = set().union(*(replica.held for replica in self.replicas))
        for replica in self.replicas:
            replica.branch.catch_up()
            assert replica.branch.tables() == replica.branch.rebuilt()
        for _ in range(2):
            for who in range(len(NAMES)):
                self.push(who)
                self.fetch(who)
        first = self.replicas[0]
        for replica in self.replicas:
            replica.branch.catch_up()
            assert replica.logs() == first.logs() == self.remote
            assert replica.branch.tables() == replica.branch.rebuilt() == first.branch.tables()
            self._agrees_with_the_oracle(replica)
        self._shuffled(first)
        self.books.acknowledge(*(f"{self.folder} {line}" for line in held))
        self.books.find(*(f"{self.folder} {line}" for line in first.lines()))

    def _agrees_with_the_oracle(self, replica):
        lines = [(path.split("/")[1], line) for path, line in replica.lines()]
        self.rng.shuffle(lines)
        oracle = Oracle(lines)
        for message_id, said in oracle.messages.items():
            shown = replica.branch.mail.get(message_id)
            assert (shown["agent_id"], shown["deleted"]) == (said.author, said.is_deleted)
            assert said.is_deleted or shown["body"]["content"] in said.texts
        for name in ("ann", "bob", "cat", "mallory"):
            assert set(replica.branch.mail.unread_ids(name)) == oracle.unread(name)
        assert {agent["agent_id"] for agent in replica.branch.roster.agents()} == oracle.alive

    def _shuffled(self, replica):
        """The same lines in any order, in two halves, make the same tables."""
        other = kit.Branch(f"{self.folder}/shuffled", replica.origin)
        for path, data in replica.logs().items():
            lines = union.split(data)
            self.rng.shuffle(lines)
            half = len(lines) // 2
            other.append(path, *lines[:half])
            if self.rng.random() < 0.5:
                other.catch_up()
            other.append(path, *lines[half:])
        other.catch_up()
        lines = ("bad_line",)
        told, found = (branch.tables(without=PLACE) for branch in (replica.branch, other))
        for table in told.keys() - set(lines):
            assert told[table] == found[table], table
        other.close()


@pytest.mark.timeout(3000)
def test_copies_of_logs_agree_whatever_happened_to_them(effort, ledger):
    machine = type("Unions", (Unions,), {"books": ledger})
    examples, steps = effort((40, 50), (400, 60))
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, phases=PHASES)
    )
    ledger.balance()
