"""One cycle: fetch the remote's branch, unite it with ours event by event, commit with both as parents, push.

1. Lines reach the disk (and the read model) before they reach a commit; a commit holds nothing the disk does not.
2. Nothing is ever taken away: a remote, a branch or a disk that lost lines gets them back.
3. A push is fast-forward only, and counts only when the remote's tip was seen to contain it.
   A purge alone replaces history: by one that holds the same lines but those purged, and only from the very tip we united.
4. When the united tree is the remote's own, we move to the remote's commit, so clones that are quiet stay identical.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from thrum.config import Settings
from thrum.core import clock
from thrum.errors import Refused, RemoteError, ThrumError
from thrum.git import branch, remote, wholeness, worktree
from thrum.git.place import Place
from thrum.store import disk
from thrum.sync import permission, reach, state
from thrum.sync.uniting import TRIES, Uniting

Json = dict[str, Any]
PATIENCE = 60.0
"""Seconds one git command may talk to the remote without a sign of progress; as long one waits for another's cycle."""
LONGEST = 300.0
"""Seconds after which a cycle does not try once more."""


class Report(NamedTuple):
    """How a cycle went; `received`: log files that came or grew; `pushed`: the remote was seen to contain our tip."""

    ok: bool
    error: str = ""
    hint: str = ""
    received: int = 0
    pushed: bool = False
    remote: str | None = None

    def as_json(self) -> Json:
        """The report as methods return it."""
        return {name: value for name, value in self._asdict().items() if value not in ("", None)}


class Cycle:
    """The cycle of one clone; one at a time, whoever runs it."""

    def __init__(self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object]) -> None:
        """`ingest` is told whenever lines reached the disk: it catches the read model up."""
        self.place, self.settings, self.origin, self._ingest = place, settings, origin, ingest

    def run(self, *, push: bool = True) -> Report:
        """Runs one cycle. Trouble with the remote is told in the report and kept in the state, never raised."""
        try:
            with disk.explained("sync the logs"), self._turn():
                return self._run(push)
        except ThrumError as error:
            return Report(False, str(error), error.hint)

    def settle(self, theirs: str | None = None) -> int:
        """The half that needs no network: unites disk, branch and the commit `theirs`, and commits; a look at everything.

        How many log files came or grew. What is known of the remote stays. Raises ThrumError.
        """
        with disk.explained("unite the logs"), self._turn():
            known = state.load(self.place.sync_dir)
            known.update(checked=None, suspect=True)
            work = Uniting(self.place, self.origin, self._ingest, known)
            try:
                work.settle(theirs)
            finally:
                work.close()
                state.save(self.place.sync_dir, known)
            return work.received

    def _run(self, push: bool) -> Report:
        known = state.load(self.place.sync_dir)
        work = _Exchange(self.place, self.settings, self.origin, self._ingest, known)
        try:
            with disk.explained("sync the logs"):
                report = work.run(self._remote(), push)
        except ThrumError as error:
            report = Report(False, str(error), error.hint, work.received, False, work.remote)
        finally:
            work.close()
        self._remember(known, report)
        return report

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits for another cycle of this clone to end. Raises Refused after a while."""
        disk.make_folder(self.place.sync_dir)
        end = time.monotonic() + PATIENCE
        while (held := disk.try_lock(self.place.sync_dir + "/sync.lock")) is None:
            if time.monotonic() > end:
                raise Refused("another sync of this clone is still busy with the remote", "git thrum sync status")
            time.sleep(0.01)
        try:
            yield
        finally:
            os.close(held)

    def _remote(self) -> str | None:
        return remote.pick(self.place, self.settings.remote) if self.settings.sync else None

    def _remember(self, known: Json, report: Report) -> None:
        moment = clock.text(time.time_ns())
        changed = report.received or report.pushed or report.error or known.get("error")
        known.update(error=report.error, hint=report.hint, remote=report.remote)
        if changed or not known.get("last_attempt") or _older(known["last_attempt"], 30):
            known["last_attempt"] = moment
            if report.ok and report.remote:
                known["last_success"] = moment
        state.save(self.place.sync_dir, known)


class _Exchange(Uniting):
    """One running cycle: what was united, and what the remote has."""

    def __init__(
        self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object], known: Json
    ) -> None:
        super().__init__(place, origin, ingest, known)
        self.settings = settings
        self.remote: str | None = None

    def run(self, name: str | None, push: bool) -> Report:
        self.remote = name
        if name:
            reach.note_address(self.known, remote.url(self.place, name))
        worktree.ensure(self.place)
        with self.beside_gc():
            return self._repeat(name, push)

    def _repeat(self, name: str | None, push: bool) -> Report:
        """Tries until nobody else is faster."""
        end = time.monotonic() + LONGEST
        for attempt in range(TRIES):
            branch.ensure(self.objects, self.place, name)
            report = self._try(name, push)
            if report is not None:
                return report
            if time.monotonic() > end:
                break
            time.sleep(random.uniform(0.01, 0.05) * 2 ** min(attempt, 5))  # noqa: S311 (jitter is no secret)
        raise RemoteError(
            f"the remote {name} moved on, or was locked, {attempt + 1} times while we pushed",
            "nothing is lost: the next cycle tries again",
        )

    def _try(self, name: str | None, push: bool) -> Report | None:
        """Looks, unites, pushes; None when all of it has to be done again."""
        tip, trouble = self._look(name)
        head = self.unite_or_mend(tip)
        if head is None:
            return None
        if trouble is not None:
            raise trouble
        if name is None or not push:
            return Report(True, received=self.received, remote=name)
        if head != tip and not self._push_or_mend(name, head, tip):
            return None
        reach.note(self.known, self.objects, head, self.origin)
        return Report(True, received=self.received, pushed=head != tip, remote=name)

    def _look(self, name: str | None) -> tuple[str | None, RemoteError | None]:
        """The remote's tip, or why it is not known."""
        try:
            tip = self._fetch(name) if name else None
        except RemoteError as error:
            return None, error
        if name:
            reach.doubt(self.known, self.objects, tip)
        return tip, None

    def _fetch(self, name: str) -> str | None:
        """The remote's tip, fetched if we did not have it; None when it has no such branch."""
        ref = branch.tracking_ref(name)
        there = remote.tip(self.place, name, PATIENCE)
        if there != self.objects.head(ref):
            self._bring(name)
            self.close()
        return self.objects.head(ref) if there else None

    def _bring(self, name: str) -> None:
        """Fetches; once more where that failed, as git brings nothing where one of our own references has a hole.

        A gc, too, may have been in the way, and have taken a folder that an object was about to be written to.
        """
        try:
            remote.fetch(self.place, name, PATIENCE)
        except RemoteError:
            self.mend()
            remote.fetch(self.place, name, PATIENCE)

    def _push_or_mend(self, name: str, head: str, tip: str | None) -> bool:
        try:
            return self._push(name, head, tip)
        except RemoteError:
            if wholeness.is_offered_whole(self.place, head, tip) or not self.mend():
                raise
            return False

    def _push(self, name: str, head: str, tip: str | None) -> bool:
        permission.require(self.known, self.place, name, self.settings)
        is_past = tip is not None and self.unless_past(tip) is None
        done = self._replace(name, head, tip) if tip and is_past else remote.push(self.place, name, head, PATIENCE)
        if not done:
            return False
        if remote.tip(self.place, name, PATIENCE) == head:
            ref = branch.tracking_ref(name)
            before = self.objects.head(ref)
            return before == head or self.objects.move(ref, head, before) or True
        tip = self._fetch(name)
        return tip is not None and self.objects.is_ancestor(head, tip)

    def _replace(self, name: str, head: str, past: str) -> bool:
        """Puts the history without what was purged in the place of the old one. A remote that forbids it keeps the old one."""
        try:
            if remote.push(self.place, name, head, PATIENCE, instead_of=past):
                return True
        except RemoteError:
            if remote.tip(self.place, name, PATIENCE) != past:
                raise
        if remote.tip(self.place, name, PATIENCE) == past:
            self.known["keeps_past"] = self.purged.number
        return False


def _older(written: str, seconds: float) -> bool:
    instant = clock.instant(written)
    return instant is None or abs(time.time_ns() - instant) > seconds * clock.SECOND
