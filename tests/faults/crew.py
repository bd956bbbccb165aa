"""Somebody at work in a clone of its own, with a clock of its own, who remembers what it was promised and what it heard."""

import glob
import json
import os
import shutil
import time
from types import SimpleNamespace

from hypothesis import Phase

from tests import kit
from tests.faults.oracle import Oracle
from tests.sync.house import REF, Clone
from thrum import engine
from thrum.core import clock, layout
from thrum.engine import database_path
from thrum.git import libgit, plumbing
from thrum.store import arrivals, identities, proof
from thrum.store.stated import version_of
from thrum.sync import cycle

PHASES = [Phase.reuse, Phase.generate]
"""Shrinking takes minutes with parts as real as these."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where nothing waits for a disk; what a disk may do to us is another suite's matter."""
DAY = 86400 * clock.SECOND
OFFSETS = (0, 0, 1, -1, -3600 * clock.SECOND, DAY, -DAY, -3650 * DAY, 3650 * DAY)
"""How wrong a clock may be, in nanoseconds."""
STEPS = (0, 0, 0, -1, -60 * clock.SECOND, -400 * DAY, 60 * clock.SECOND, 400 * DAY)
"""By how much it may be set just before somebody does something."""
_SEGMENTS = (700, 1500, 4000, 65536)


class Clocks:
    """The time as thrum sees it; files and timers keep the machine's."""

    def __init__(self, patch, *, is_running):
        """`is_running` False: every clock stands still."""
        self.ahead, self._started = 0, None if is_running else time.time_ns()
        told = {name: getattr(time, name) for name in ("monotonic", "sleep", "perf_counter")}
        false = SimpleNamespace(**told, time_ns=self.now, time=lambda: self.now() / clock.SECOND)
        for module in (engine, arrivals, cycle, libgit, plumbing):
            patch.setattr(module, "time", false)

    def now(self):
        return max((self._started or time.time_ns()) + self.ahead, clock.SECOND)


class Member:
    """A clone, its agent, and what both have to keep: `held` only ever grows."""

    def __init__(self, path, name, clocks, number):
        self.path, self.name, self.clocks = path, name, clocks
        self.ahead, self.segment = OFFSETS[number % len(OFFSETS)], _SEGMENTS[number % len(_SEGMENTS)]
        self.backup, self.held = None, set()
        self.turn()
        self.clone = Clone(path, name)
        self._begin()

    def _begin(self):
        self.held = self.holds()
        self._cursor = self.clone.engine.cursor()
        self._known = {fact[1] for fact in self.held if fact[0] == "message"}
        self.heard, self._told = set(), {}

    def turn(self, step=0):
        """From now on it is this one's clock that everybody sees."""
        self.ahead = max(min(self.ahead + step, 7300 * DAY), -7300 * DAY)
        self.clocks.ahead = self.ahead
        layout.SEGMENT_BYTES = self.segment

    def call(self, method, /, **params):
        """A method, in the agent's name; it registers first if it was deleted, by whomever, or its identity file is gone."""
        self.clone.engine.catch_up()
        here = {identity.agent_id for identity in identities.present(self.clone.place.identities_dir)}
        if self.clone.engine.roster.agent(self.name) is None or self.name not in here:
            self.clone.caller("agent.register", role="implementer", module="core", name=self.name, force=True)
        return self.clone.caller(method, **params)

    def holds(self):
        """What the read model says was said: messages, edits, deletions, read marks, as tuples."""
        self.clone.engine.catch_up()
        sql = self.clone.engine.projection.connection
        found = {("message", row[0]) for row in sql.execute("SELECT message_id FROM message")}
        found.update(("edit", *row) for row in sql.execute("SELECT message_id, content FROM revision"))
        found.update(("delete", *row) for row in sql.execute("SELECT message_id, owner FROM deletion"))
        found.update(("read", *row) for row in sql.execute("SELECT message_id, agent_id FROM read_mark"))
        return found

    def promise(self, *fact):
        """This was acknowledged just now, so it is there."""
        assert fact in self.holds(), f"{fact} was acknowledged and is not there"

    def keeps_everything(self):
        """Nothing that was here is gone; nothing comes twice; whoever listens hears it."""
        now = self.holds()
        assert not self.held - now, f"gone: {sorted(self.held - now)[:3]}"
        self.held = now
        self._listen()

    def _listen(self):
        until = self.clone.engine.cursor()
        for arrival in self.clone.engine.arrivals.since(self._cursor, until, self.name).arrivals:
            if not arrival.edit:
                author, event_id = self._claim(arrival.message_id)
                said = arrival.message_id, event_id
                assert self._told.get(said) != until.generation, f"told twice of {said}"
                self._told[said] = until.generation
                self.heard.add((arrival.message_id, author))
        self._cursor = until

    def _claim(self, message_id):
        """Who says it now, in which event: the true one takes the place of a claim that came first, and is told of then."""
        query = "SELECT agent_id, line FROM message WHERE message_id = ?"
        author, line = self.clone.engine.projection.connection.execute(query, (message_id,)).fetchone()
        return author, json.loads(line)["event_id"]

    def is_live(self):
        """The read model is what a fold from nothing makes of the logs."""
        found = proof.check(self.clone.root, database_path(self.clone.place), self.clone.origin)
        assert found == [], found

    def back_up(self):
        """Keeps a copy of the whole directory, as it is now."""
        target = f"{self.path}.backup"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.path, target, symlinks=True)
        self.backup = target

    def restore(self, *, with_read_model):
        """The directory is as it was when it was copied; perhaps without what `.thrum` holds."""
        source = self.backup
        self.clone.close()
        for name in os.listdir(source):
            if with_read_model or name != ".thrum":
                _put(f"{source}/{name}", f"{self.path}/{name}")
        self.clone = Clone(self.path)
        self.clone.name, self.clone.caller = self.name, kit.Caller(self.clone.engine, self.path, self.name)
        self._begin()

    def tear(self, which):
        """A writer was killed in the middle of a line."""
        logs = sorted(glob.glob(f"{self.clone.root}/messages/*/{self.clone.origin}"))
        if logs:
            last = max(glob.glob(f"{logs[which % len(logs)]}/*/*.jsonl"))
            with open(last, "ab") as file:
                file.write(b'{"type":"message.create","eve')

    def mend(self):
        """Says last words in every log of its own, which ends what a killed writer began."""
        for folder in glob.glob(f"{self.clone.root}/messages/*/{self.clone.origin}"):
            owner = layout.parse_path(
                f"messages/{os.path.relpath(folder, self.clone.root + '/messages')}/0000/00.jsonl"
            ).owner
            self.call("message.list")
            self.clone.engine.journal.append(owner, kit.event("weather.report"))

    def lines(self):
        """Every line of every log on this clone's disk, with the name of the log's owner."""
        for path, data in self.clone.fragments().items():
            source = layout.parse_path(path)
            if source is not None:
                yield from ((source.owner, line) for line in data.split(b"\n") if line)

    def sees(self, oracle: Oracle):
        """What the methods show is what the logs say; who was deleted comes back with the first call of its own."""
        self.clone.engine.catch_up()
        assert {agent["agent_id"] for agent in self.clone.engine.roster.agents()} == oracle.alive
        for message_id, said in oracle.messages.items():
            shown = self.call("message.get", message_id=message_id, history=True)["message"]
            assert shown["deleted"] == said.is_deleted and shown["agent_id"] == said.author
            text = shown["body"]["content"]
            assert text in said.texts if not said.is_deleted else text == "" and "history" not in shown
        assert set(self.clone.engine.mail.unread_ids(self.name)) == oracle.unread(self.name)
        waited = self.clone.engine.call("message.wait", {}, self.clone.caller.claim)
        assert (waited is not None) == bool(oracle.unread(self.name)), "wait and unread differ"
        missed = {
            (message_id, said.author)
            for message_id, said in oracle.messages.items()
            if said.is_for(self.name) and not said.is_deleted and message_id not in self._known
        } - self.heard
        assert not missed, f"arrived without a word: {missed}"
        self.hides({said.first for said in oracle.messages.values() if said.is_deleted})

    def hides(self, texts):
        """Of what was deleted no answer holds the text."""
        told = [self.call("message.list", all=True, include_deleted=True, page_size=100, page=n) for n in (1, 2)]
        threads = self.call("thread.list", page_size=100)
        told += [threads, *(self.call("thread.get", thread_id=t["thread_id"]) for t in threads["threads"])]
        everything = json.dumps(told)
        for text in texts:
            word = text.strip(".").split(" ")[0]
            assert word not in everything, f"{word} was deleted and is shown"
            assert self.call("message.search", query=word)["total"] == 0

    def version(self, message_id):
        """The version of the newest edit."""
        query = "SELECT MAX(rank) FROM revision WHERE message_id = ?"
        found = self.clone.engine.projection.connection.execute(query, (message_id,)).fetchone()[0]
        return version_of(found) if found else 0

    def reset(self, back):
        """Somebody resets the branch of this clone."""
        older = kit.git(self.path, "rev-parse", "-q", "--verify", f"{REF}~{back}", check=False).strip()
        kit.git(self.path, "update-ref", *([REF, older] if older else ["-d", REF]))


def _put(kept, target):
    """Puts a copy of a file or folder in the place of another."""
    if os.path.isdir(kept):
        shutil.rmtree(target)
        shutil.copytree(kept, target, symlinks=True)
    else:
        shutil.copy2(kept, target)
