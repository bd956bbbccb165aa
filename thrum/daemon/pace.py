"""When to sync: at once for what is urgent, in the interval for the rest, less and less often while it fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from thrum.core import clock
from thrum.daemon.feed import stopping
from thrum.daemon.tasks import in_thread, settle
from thrum.errors import ThrumError

Json = dict[str, Any]

SPACING = 0.2
"""Seconds between an urgent cycle and the next: what is said meanwhile travels together."""
LONGEST_SPACING = 5.0
"""The same while the remote cannot be reached."""
FIRST_RETRY = 5.0
LONGEST_RETRY = 300.0
PEEK = 5.0
"""Seconds between two looks at the remote's tip while somebody waits for mail."""

log = logging.getLogger("thrum.daemon")


class ReportLike(Protocol):
    """How a cycle went."""

    @property
    def ok(self) -> bool:
        """Whether it reached its end."""

    @property
    def error(self) -> str:
        """What failed."""

    def as_json(self) -> Json:
        """For an answer."""


class Sync(NamedTuple):
    """What can be done, each blocking, each in a thread of its own, never two at a time."""

    has_remote: Callable[[], bool]
    run: Callable[[], ReportLike]
    peek: Callable[[], str | None]
    """The remote's tip. Raises ThrumError."""


class Pace:
    """The clock of the sync. On the event loop; `run` is its life."""

    def __init__(self, sync: Sync | None, interval: float, is_waited: Callable[[], bool]) -> None:
        """`sync` None: nothing is ever done. `is_waited`: whether anybody waits for mail now."""
        self._sync, self._interval, self._is_waited = sync, interval, is_waited
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._forced: list[asyncio.Future[ReportLike]] = []
        self._due = self._loop.time()
        self._ended = self._due - SPACING
        self._peeked = self._due
        self._tip: str | None = None
        self._failures = self._cycles = 0
        self._is_busy = False
        self._last: Json = {}
        self._is_stopped = False

    @property
    def is_active(self) -> bool:
        """Whether the sync is switched on."""
        return self._sync is not None

    def as_json(self) -> Json:
        """How the cycles of this daemon went: `{cycles, failures, busy, last_ms?, last_success_at?}`; `failures`: in a row."""
        return {"cycles": self._cycles, "failures": self._failures, "busy": self._is_busy, **self._last}

    def urge(self) -> None:
        """Something eager is pending: a cycle within a fifth of a second, also while earlier ones failed."""
        self._advance(self._ended + min(LONGEST_SPACING, SPACING * 2**self._failures))

    async def force(self) -> Json:
        """A cycle that begins after this call; its report. Raises DaemonError when the daemon stops before."""
        if self._is_stopped:
            raise stopping()
        waiter: asyncio.Future[ReportLike] = self._loop.create_future()
        self._forced.append(waiter)
        self._advance(self._loop.time())
        return (await waiter).as_json()

    async def run(self) -> None:
        """Runs cycles when they are due, until stopped or cancelled."""
        try:
            while self._sync is not None and not self._is_stopped:
                await self._until_due(self._sync)
                if not self._is_stopped:
                    await self._cycle(self._sync)
        finally:
            self.stop()
            self._dismiss()

    def stop(self) -> None:
        """No further cycle; `run` returns when the one under way has ended."""
        self._is_stopped = True
        self._changed.set()

    def _advance(self, due: float) -> None:
        if due < self._due:
            self._due = due
            self._changed.set()

    async def _until_due(self, sync: Sync) -> None:
        while (left := self._due - self._loop.time()) > 0 and not self._is_stopped:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, PEEK)):
                    await self._changed.wait()
            if self._is_waited() and self._loop.time() - self._peeked >= PEEK:
                await self._peek(sync)

    async def _peek(self, sync: Sync) -> None:
        """Looks whether the remote has moved since the last look; then a cycle is due."""
        try:
            tip = await in_thread(sync.peek)
        except ThrumError:
            return  # the next cycle meets the same trouble and tells of it
        finally:
            self._peeked = self._loop.time()
        if tip is not None and tip != self._tip:
            self._due = min(self._due, self._loop.time())
        self._tip = tip

    async def _cycle(self, sync: Sync) -> None:
        started = self._loop.time()
        self._due = started + self._interval  # whoever is urgent from now on brings it forward again
        forced, self._forced = self._forced, []
        self._is_busy = True
        try:
            report = await in_thread(_one_cycle, sync, bool(forced))
        except asyncio.CancelledError:
            self._forced += forced
            raise
        except Exception as error:
            log.exception("the sync failed in a way nobody foresaw")
            self._plan(started, failed=True)
            settle(forced, error)
            return
        finally:
            self._is_busy = False
        if report is not None and not report.ok:
            log.warning("sync: %s", report.error)
        self._plan(started, failed=report is not None and not report.ok)
        if report is not None:
            self._note(started, report.ok)
            settle(forced, report)

    def _note(self, started: float, is_good: bool) -> None:
        self._cycles += 1
        self._last["last_ms"] = round((self._ended - started) * 1000, 3)
        if is_good:
            self._last["last_success_at"] = clock.text(time.time_ns())

    def _plan(self, started: float, *, failed: bool) -> None:
        """The next cycle. After a failure: soon at first, later and later then, never in step with other clones."""
        self._ended = self._loop.time()
        was_urged = self._due < started + self._interval
        if failed:
            delay = min(LONGEST_RETRY, min(self._interval, FIRST_RETRY) * 2**self._failures)
            self._due = self._ended + delay * random.uniform(0.5, 1.0)  # noqa: S311  # jitter is no secret
        self._failures = min(self._failures + 1, 10) if failed else 0
        if was_urged:
            self.urge()
        if self._forced:
            self._due = self._ended

    def _dismiss(self) -> None:
        settle(self._forced, stopping())
        self._forced = []


def _one_cycle(sync: Sync, is_forced: bool) -> ReportLike | None:
    """A cycle, or None when there is no remote and nobody asked."""
    return sync.run() if is_forced or sync.has_remote() else None
