"""Clones that speak, sync, lose and damage things in any order: once it is quiet they agree, and nothing said is missing."""

import contextlib
import glob
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, settings
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
from tests.sync.house import REF, Clone, agree, content, listing, move, put, remote_tip
from thrum.core import layout
from thrum.engine import database_path
from thrum.git import branch, remote, worktree
from thrum.git.libgit import LibgitObjects
from thrum.store import disk
from thrum.sync import cycle, files, state

NAMES = ("ann", "ann", "cat")
"""Whoever works in each clone; the same agent may work in two."""
MOMENTS = [
    (remote, "tip"), (remote, "fetch"), (remote, "push"), (files, "hold"), (disk, "append"), (disk, "replace"),
    (LibgitObjects, "write_blob"), (LibgitObjects, "commit"), (LibgitObjects, "move"), (branch, "graft"),
    (worktree, "follow"), (state, "save"),
]  # fmt: skip
WHO = st.integers(0, len(NAMES) - 1)
SOME = st.integers(0, 40)


PHASES = [Phase.reuse, Phase.generate]
"""Shrinking takes minutes with parts as real as these."""


class Crash(BaseException):
    """The process is at its end."""


class Clones(RuleBasedStateMachine):
    """Three clones, one remote, and whatever may happen to them."""

    @initialize()
    def found(self):
        self.folder = Path(tempfile.mkdtemp(prefix="thrum-model-"))
        self.bare = self.folder / "origin.git"
        kit.git(self.folder, "init", "-q", "--bare", str(self.bare))
        self.clones = [self._join(number, name) for number, name in enumerate(NAMES)]
        self.said = [{} for _ in NAMES]
        self.tips, self.count = [""], 0

    def _join(self, number, name):
        path = self.folder / f"clone{number}"
        path.mkdir()
        kit.git(path, "init", "-q")
        kit.git(path, "remote", "add", "origin", str(self.bare))
        return Clone(path, name)

    # What people do

    @rule(who=WHO, size=st.sampled_from([5, 300, 2000]))
    def send(self, who, size):
        self.count += 1
        text = f"{self.count}".ljust(size, ".")
        self.said[who][self.clones[who].send(text)] = text

    @rule(who=WHO)
    def send_twice_with_one_request_id(self, who):
        self.count += 1
        text = request = f"request-{self.count}"
        once, again = (self.clones[who].send(text, request_id=request) for _ in range(2))
        assert once == again
        self.said[who][once] = text

    @precondition(lambda self: any(self.said))
    @rule(who=WHO, which=SOME)
    def edit(self, who, which):
        if self.said[who]:
            message_id = sorted(self.said[who])[which % len(self.said[who])]
            self.count += 1
            text = self.said[who][message_id] = f"edited {self.count}"
            self.clones[who].caller("message.edit", message_id=message_id, content=text)

    @rule(who=WHO)
    def read_everything(self, who):
        self.clones[who].caller("message.markRead", all=True)

    @rule(who=WHO)
    def sync(self, who):
        self.clones[who].sync()
        self._note_tip()

    @rule(who=WHO, other=WHO)
    def another_syncs_between_fetch_and_push(self, who, other):
        if who != other:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(remote, "push", self._after(self.clones[other].sync, remote.push, self.clones[who].place))
                self.clones[who].sync()
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

    # What happens to the remote

    @rule(who=WHO)
    def goes_offline_or_comes_back(self, who):
        self._address(self.clones[who], None)

    def _address(self, clone, address):
        now = kit.git(clone.path, "remote", "get-url", "origin").strip()
        away = str(self.folder / "nowhere.git")
        kit.git(clone.path, "remote", "set-url", "origin", address or (away if now != away else str(self.bare)))

    @rule()
    def the_remote_refuses_or_allows(self):
        hook = self.bare / "hooks" / "update"
        if hook.exists():
            hook.unlink()
        else:
            hook.parent.mkdir(exist_ok=True)
            hook.write_text("#!/bin/sh\nexit 1\n")
            hook.chmod(0o755)

    @rule(which=SOME)
    def the_remote_is_rewound(self, which):
        tip = self.tips[which % len(self.tips)]
        if not tip or kit.git(self.bare, "cat-file", "-t", tip, check=False).strip() == "commit":
            move(self.bare, tip)

    @rule()
    def the_remote_is_replaced_by_a_stranger(self):
        put(self.bare, {"notes.txt": b"hello\n"}, ref="refs/heads/other")
        move(self.bare, "refs/heads/other")

    @rule(which=SOME, keep=st.integers(0, 400))
    def somebody_cuts_a_log_on_the_remote(self, which, keep):
        tip = remote_tip(self.bare)
        leaves = {path: content(self.bare, path) for path in listing(self.bare)} if tip else {}
        if leaves:
            path = sorted(leaves)[which % len(leaves)]
            leaves[path] = leaves[path][:keep]
            put(self.bare, {name: data for name, data in leaves.items() if data}, parents=[tip])

    @rule()
    def the_remote_is_packed(self):
        kit.git(self.bare, "gc", "-q", "--prune=now")

    # What happens to a clone

    @rule(who=WHO)
    def a_clone_is_packed(self, who):
        kit.git(self.clones[who].path, "gc", "-q", "--prune=now")

    @rule(who=WHO)
    def the_read_model_is_deleted(self, who):
        for path in glob.glob(database_path(self.clones[who].place) + "*"):
            os.unlink(path)

    @rule(who=WHO)
    def the_state_is_deleted(self, who):
        Path(self.clones[who].place.sync_dir, "state.json").unlink(missing_ok=True)

    @rule(who=WHO, back=st.integers(1, 3))
    def the_branch_is_reset(self, who, back):
        clone = self.clones[who]
        older = kit.git(clone.path, "rev-parse", "-q", "--verify", f"{REF}~{back}", check=False).strip()
        kit.git(clone.path, "update-ref", *([REF, older] if older else ["-d", REF]))

    @rule(who=WHO, which=SOME)
    def a_writer_is_killed_in_the_middle_of_a_line(self, who, which):
        logs = sorted(glob.glob(f"{self.clones[who].root}/messages/*/{self.clones[who].origin}/*/*.jsonl"))
        if logs:
            with open(logs[-1], "ab") as file:
                file.write(b'{"type":"message.create","eve')

    @rule(who=WHO, where=st.sampled_from(MOMENTS), nth=st.integers(1, 3), when=st.sampled_from(["before", "after"]))
    def a_sync_dies(self, who, where, nth, when):
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
                self.clones[who].sync()
        self._note_tip()

    # What must be true

    @invariant()
    def what_was_said_here_is_here(self):
        for clone, said in zip(getattr(self, "clones", ()), getattr(self, "said", ()), strict=True):
            found = clone.messages()
            assert len(found) == len(set(found)) and set(said) <= set(found)

    def teardown(self):
        if not hasattr(self, "clones"):
            return
        try:
            (self.bare / "hooks" / "update").unlink(missing_ok=True)
            for clone in self.clones:
                self._address(clone, str(self.bare))
            for clone in self.clones:
                clone.caller("message.send", content="last words")  # ends what a killed writer began
            sent = {message_id: text for said in self.said for message_id, text in said.items()}
            agree(*self.clones, sent=sent, bare=self.bare)
            for message_id, text in sent.items():
                shown = self.clones[0].caller("message.get", message_id=message_id)["message"]
                assert shown["body"]["content"] == text
        finally:
            for clone in self.clones:
                clone.close()
            shutil.rmtree(self.folder)


def test_quiet_clones_agree_and_have_lost_nothing(monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1500)
    monkeypatch.setattr(cycle, "random", Steady())
    examples = max(3, settings.default.max_examples // 10)
    run_state_machine_as_test(Clones, settings=settings(max_examples=examples, stateful_step_count=20, phases=PHASES))


class Steady:
    """No jitter: a race is lost at most once here."""

    @staticmethod
    def uniform(low, high):
        return low
