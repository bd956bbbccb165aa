"""Clones that speak, sync, lose and damage things in any order: once it is quiet they agree, and nothing said is missing."""

import contextlib
import glob
import os
import shutil
import tempfile
from pathlib import Path

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
from tests.faults.crew import MEMORY, PHASES, STEPS, Clocks, Member
from tests.faults.oracle import Oracle
from tests.sync.house import agree, content, listing, move, put, remote_tip
from thrum.core import clock, layout
from thrum.core.codec import encode
from thrum.engine import database_path
from thrum.errors import Forbidden, ThrumError
from thrum.git import branch, remote, worktree
from thrum.git.libgit import LibgitObjects
from thrum.store import disk
from thrum.sync import cycle, files, state

NAMES = ("ann", "bob", "ann", "cat", "dan")
"""Whoever works in each clone; the same agent may work in two."""
MOMENTS = [
    (remote, "tip"), (remote, "fetch"), (remote, "push"), (files, "hold"), (disk, "append"), (disk, "replace"),
    (LibgitObjects, "write_blob"), (LibgitObjects, "commit"), (LibgitObjects, "move"), (branch, "graft"),
    (worktree, "follow"), (state, "save"),
]  # fmt: skip
HOUSEKEEPING = [
    ("gc", "-q", "--prune=now"), ("repack", "-adfq"), ("pack-refs", "--all"), ("prune",), ("worktree", "prune"),
    ("gc", "-q", "--auto"),
]  # fmt: skip
WHO = st.integers(0, len(NAMES) - 1)
SOME = st.integers(0, 40)
STEP = st.sampled_from(STEPS)
STRANGERS = "00000000000z"
"""The origin that hostile lines claim to come from."""


class Crash(BaseException):
    """The process is at its end."""


class Clones(RuleBasedStateMachine):
    """Two to five clones, one remote, and whatever may happen to them."""

    books = None

    @initialize(count=st.integers(2, len(NAMES)), is_running=st.booleans(), clocks=st.integers(0, 8))
    def found(self, count, is_running, clocks):
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(layout, "SEGMENT_BYTES", 1500)
        self.patch.setattr(cycle, "random", Steady())
        self.clocks = Clocks(self.patch, is_running=is_running)
        self.folder = Path(tempfile.mkdtemp(prefix="thrum-model-", dir=MEMORY))
        self.bare = self.folder / "origin.git"
        kit.git(self.folder, "init", "-q", "--bare", str(self.bare))
        self.crew = [self._join(number, name, clocks + number) for number, name in enumerate(NAMES[:count])]
        self.tips, self.count, self.acting = [""], 0, None
        for who in range(2 * count):
            self._say_something(who)
            self._turn(who).clone.sync()
        self._note_tip()

    def _say_something(self, who):
        """What others can then answer, edit, read and lose; every second time to somebody."""
        member = self._turn(who)
        named = {} if who % 2 else {"to": [self.crew[0].name]}
        if not named or member.clone.engine.roster.agent(self.crew[0].name):
            member.promise("message", member.call("message.send", content=self._text("first"), **named)["message_id"])

    def _join(self, number, name, clocks):
        path = self.folder / f"clone{number}"
        path.mkdir()
        kit.git(path, "init", "-q")
        kit.git(path, "remote", "add", "origin", str(self.bare))
        return Member(path, name, self.clocks, clocks)

    def _turn(self, who, step=0):
        self.acting = self.crew[who % len(self.crew)]
        self.acting.turn(step)
        return self.acting

    def _text(self, what, size=0):
        self.count += 1
        return f"{what}{self.count:05}x".ljust(size, ".")

    def _pick(self, member, which, *, own=None):
        """Some message that a member knows, of its own or not; "" when there is none."""
        query = "SELECT message_id, agent_id, deleted_at FROM message ORDER BY message_id"
        found = [
            message_id
            for message_id, author, gone in member.clone.engine.projection.connection.execute(query)
            if (own is None or (author == member.name) is own) and not (own and gone)
        ]
        return found[which % len(found)] if found else ""

    # What people do

    @rule(who=WHO, size=st.sampled_from([5, 300, 2000]), count=st.integers(1, 3), step=STEP)
    def send(self, who, size, count, step):
        for _ in range(count):
            member = self._turn(who, step)
            member.promise("message", member.call("message.send", content=self._text("sent", size))["message_id"])

    @rule(who=WHO, to=WHO, step=STEP)
    def send_to_somebody(self, who, to, step):
        member, name = self._turn(who, step), self.crew[to % len(self.crew)].name
        member.clone.engine.catch_up()
        if member.clone.engine.roster.agent(name):
            sent = member.call("message.send", content=self._text("letter"), to=[name])
            member.promise("message", sent["message_id"])

    @rule(who=WHO, step=STEP)
    def send_twice_with_one_request_id(self, who, step):
        member = self._turn(who, step)
        text = request = self._text("request")
        once, again = (member.call("message.send", content=text, request_id=request) for _ in range(2))
        assert once["message_id"] == again["message_id"]
        member.promise("message", once["message_id"])

    @rule(who=WHO, which=SOME, step=STEP)
    def reply(self, who, which, step):
        member = self._turn(who, step)
        original = self._pick(member, which)
        if original:
            sent = member.call("message.reply", message_id=original, content=self._text("reply"))
            member.promise("message", sent["message_id"])
            answered = member.call("message.get", message_id=original)["message"]
            if clock.instant(answered["created_at"]) < self.clocks.now() + 86000 * clock.SECOND:
                assert answered["created_at"] < sent["created_at"], "the answer stands before what it answers"

    @rule(who=WHO, which=SOME, step=STEP)
    def edit(self, who, which, step):
        member = self._turn(who, step)
        message_id = self._pick(member, which, own=True)
        if message_id:
            text = self._text("edited")
            member.call("message.edit", message_id=message_id, content=text)
            member.promise("edit", message_id, text)
            shown = member.call("message.get", message_id=message_id)["message"]
            assert shown["body"]["content"] == text, "the author's newest edit is not what is shown"

    @rule(who=WHO, which=SOME, step=STEP)
    def delete(self, who, which, step):
        member = self._turn(who, step)
        message_id = self._pick(member, which, own=True)
        if message_id:
            first = member.call("message.get", message_id=message_id, history=True)["message"]["history"][0]
            member.call("message.delete", message_id=message_id)
            member.promise("delete", message_id, member.name)
            member.hides({first["content"]})

    @rule(who=WHO, which=SOME, method=st.sampled_from(["message.edit", "message.delete"]))
    def touch_what_is_anothers(self, who, which, method):
        member = self._turn(who)
        message_id = self._pick(member, which, own=False)
        if message_id:
            with pytest.raises(Forbidden):
                member.call(method, message_id=message_id, **({"content": "mine now"} if "edit" in method else {}))

    @rule(who=WHO, which=SOME)
    def read_one(self, who, which):
        member = self._turn(who)
        message_id = self._pick(member, which, own=False)
        if message_id:
            member.call("message.markRead", message_ids=[message_id])
            member.promise("read", message_id, member.name)

    @rule(who=WHO)
    def read_everything(self, who):
        member = self._turn(who)
        member.call("message.markRead", all=True)
        assert not member.clone.engine.mail.unread_ids(member.name)

    @rule(who=WHO, step=STEP)
    def leave(self, who, step):
        """An agent is deleted; it comes back under its name as soon as it says something."""
        member = self._turn(who, step)
        with contextlib.suppress(ThrumError):
            member.call("agent.delete", name=member.name)
            assert member.clone.engine.roster.agent(member.name) is None

    @rule(who=WHO)
    def sync(self, who):
        self._turn(who).clone.sync()
        self._note_tip()

    @rule(who=WHO)
    def sync_in_turns(self, who):
        for number in range(len(self.crew)):
            self._turn(who + number).clone.sync()
            self.acting.keeps_everything()
        self._note_tip()

    @rule(who=WHO, other=WHO)
    def another_syncs_between_fetch_and_push(self, who, other):
        one, two = self.crew[who % len(self.crew)], self.crew[other % len(self.crew)]
        if one is not two:
            self._turn(who)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(remote, "push", self._after(two.clone.sync, remote.push, one.clone.place))
                one.clone.sync()
            self._note_tip()

    def _after(self, happens, push, place):
        raced = []

        def first_the_other(where, *arguments):
            if where == place and not raced:
                raced.append(happens())
            return push(where, *arguments)

        return first_the_other

    def _note_tip(self):
        tip = remote_tip(self.bare)
        if tip != self.tips[-1]:
            self.tips.append(tip)

    # What breaks

    @rule(who=WHO)
    def goes_offline_or_comes_back(self, who):
        self._address(self._turn(who), None)

    def _address(self, member, address):
        now = kit.git(member.path, "remote", "get-url", "origin").strip()
        away = str(self.folder / "nowhere.git")
        kit.git(member.path, "remote", "set-url", "origin", address or (away if now != away else str(self.bare)))

    @rule(how=st.sampled_from(["refuse", "rewind", "rewind", "stranger", "delete", "cut", "tidy"]), which=SOME)
    def the_remote_suffers(self, how, which):
        self._break()
        getattr(self, f"_{how}")(which)

    def _refuse(self, _):
        """A hook refuses everything, or no longer does."""
        hook = self.bare / "hooks" / "update"
        if hook.exists():
            hook.unlink()
        else:
            hook.parent.mkdir(exist_ok=True)
            hook.write_text("#!/bin/sh\nexit 1\n")
            hook.chmod(0o755)

    def _rewind(self, which):
        tip = self.tips[which % len(self.tips)]
        if not tip or kit.git(self.bare, "cat-file", "-t", tip, check=False).strip() == "commit":
            move(self.bare, tip)

    def _stranger(self, _):
        """The branch is forced to another history."""
        put(self.bare, {"notes.txt": b"hello\n"}, ref="refs/heads/other")
        move(self.bare, "refs/heads/other")

    def _delete(self, _):
        move(self.bare, "")

    def _cut(self, which):
        """Somebody cuts a log on the remote."""
        leaves = self._leaves()
        if leaves:
            path = sorted(leaves)[which % len(leaves)]
            leaves[path] = leaves[path][: which * 10]
            self._put({name: data for name, data in leaves.items() if data})

    def _tidy(self, which):
        kit.git(self.bare, *HOUSEKEEPING[which % len(HOUSEKEEPING)])

    def _leaves(self):
        return {path: content(self.bare, path) for path in listing(self.bare)} if remote_tip(self.bare) else {}

    def _put(self, leaves):
        tip = remote_tip(self.bare)
        put(self.bare, leaves, parents=[tip] if tip else ())

    @rule(
        kind=st.sampled_from(["garbage", "unknown", "future", "past", "theirs", "theirs", "collide", "forge"]),
        which=SOME,
        early=st.booleans(),
    )
    def somebody_commits_what_he_likes(self, kind, which, early):
        self._break()
        leaves, path = self._leaves(), f"messages/mallory/{STRANGERS}/0000/00.jsonl"
        leaves[path] = leaves.get(path, b"") + self._hostile(kind, which, early) + b"\n"
        self._put(leaves)

    def _hostile(self, kind, which, early):
        """A line in mallory's log; an early claim to somebody's message proves nothing, so nobody loses one by it."""
        text, seq = self._text("mallory"), self.count
        at = {"future": 7e10, "past": -1.7e9}.get(kind, 0.0 if early else 7e9)
        said = {**kit.message("mallory", text, at, to=["ann"]), "v": 1, "seq": seq, "origin": STRANGERS}
        said["event_id"] = f"evt_{seq:026}"
        said["message_id"] = f"msg_{seq:026}"
        victim = self._pick(self.crew[which % len(self.crew)], which)
        if kind == "garbage" or (kind in ("theirs", "collide") and not victim):
            return b'{"type": "message.create" %d oops' % seq
        if kind == "unknown":
            return encode({**said, "type": "poll.v9", "blob": 2**53 - 1})
        if kind == "theirs":
            kinds = ("message.edit", "message.delete")
            return encode(
                {**said, "type": kinds[which % 2], "message_id": victim, "version": 99, "agent_id": "mallory"}
            )
        if kind == "forge":
            return encode({**said, "agent_id": "ann"})
        if kind == "collide":
            if early:
                said["timestamp"] = "1999-12-31T23:59:59.000000000Z"
            return encode({**said, "message_id": victim})
        return encode({key: value for key, value in said.items() if key != "to"} | {"everyone": True})

    @rule(
        who=WHO,
        how=st.sampled_from(["tidy", "tidy", "forget_read_model", "forget_state", "reset", "tear"]),
        which=SOME,
    )
    def a_clone_suffers(self, who, how, which):
        self._break()
        getattr(self, f"_{how}_clone")(self._turn(who), which)

    def _tidy_clone(self, member, which):
        kit.git(member.path, *HOUSEKEEPING[which % len(HOUSEKEEPING)])

    def _forget_read_model_clone(self, member, _):
        for path in glob.glob(database_path(member.clone.place) + "*"):
            os.unlink(path)

    def _forget_state_clone(self, member, _):
        Path(member.clone.place.sync_dir, "state.json").unlink(missing_ok=True)

    def _reset_clone(self, member, which):
        member.reset(1 + which % 3)

    def _tear_clone(self, member, which):
        member.tear(which)

    @rule(who=WHO)
    def a_copy_is_kept(self, who):
        self._turn(who).back_up()

    @precondition(lambda self: any(member.backup for member in self.crew))
    @rule(who=WHO, with_read_model=st.booleans())
    def a_copy_takes_its_clones_place(self, who, with_read_model):
        kept = [number for number, member in enumerate(self.crew) if member.backup]
        self._break()
        self._turn(kept[who % len(kept)]).restore(with_read_model=with_read_model)

    @rule(who=WHO, where=st.sampled_from(MOMENTS), nth=st.integers(1, 3), when=st.sampled_from(["before", "after"]))
    def a_sync_dies(self, who, where, nth, when):
        self._break()
        place, name = where
        real, calls = getattr(place, name), []

        def deadly(*arguments, **named):
            calls.append(1)
            if len(calls) == nth and when == "before":
                raise Crash
            found = real(*arguments, **named)
            if len(calls) == nth:
                raise Crash
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, name, deadly)
            with contextlib.suppress(Crash):
                self._turn(who).clone.sync()
        self._note_tip()

    def _break(self):
        if self.books is not None:
            self.books.fault()

    # What must be true

    @invariant()
    def what_was_said_here_is_here(self):
        for member in getattr(self, "crew", ()):
            member.turn()
            member.keeps_everything()
        if getattr(self, "acting", None):
            self.acting.turn()
            self.acting.is_live()

    def teardown(self):
        if not hasattr(self, "crew"):
            return
        try:
            self._quiet_down()
        finally:
            for member in self.crew:
                member.clone.close()
            self.patch.undo()
            shutil.rmtree(self.folder)

    def _quiet_down(self):
        (self.bare / "hooks" / "update").unlink(missing_ok=True)
        for member in self.crew:
            self._address(member, str(self.bare))
            member.turn()
            member.mend()
        held = set().union(*(member.held for member in self.crew))
        agree(*(member.clone for member in self.crew), bare=self.bare)
        for member in self.crew:
            member.turn()
            assert not held - member.holds(), "something that was somewhere did not come everywhere"
            member.keeps_everything()
        lines = list(self.crew[0].lines())
        for number, member in enumerate(self.crew):
            member.turn()
            member.sees(Oracle(lines[:: -1 if number % 2 else 1]))
        self._balance(held)

    def _balance(self, held):
        if self.books is None:
            return
        name = self.folder.name
        self.books.acknowledge(*(f"{name} {fact}" for fact in held))
        texts = [said.first for said in Oracle(self.crew[0].lines()).messages.values()]
        assert len(texts) == len(set(texts)), "a message is there twice under two ids"
        self.books.find(*(f"{name} {fact}" for fact in self.crew[-1].holds()))


@pytest.mark.timeout(3000)
def test_quiet_clones_agree_and_have_lost_nothing(effort, ledger):
    machine = type("Clones", (Clones,), {"books": ledger})
    examples, steps = effort((20, 30), (150, 40))
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, phases=PHASES)
    )
    ledger.balance()


class Steady:
    """No jitter: a race is lost at most once here."""

    @staticmethod
    def uniform(low, high):
        return low
