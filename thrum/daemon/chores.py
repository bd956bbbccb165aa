"""What the daemon does unasked: it listens to others, keeps contexts fresh, heals what was removed, packs what piled up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from thrum.daemon import contexts
from thrum.daemon.errands import Errands
from thrum.daemon.feed import Feed
from thrum.daemon.pace import Pace
from thrum.daemon.tails import End, Tails
from thrum.daemon.tasks import Coalesced, Tasks, every, guarded, in_thread
from thrum.daemon.watch import Callbacks, Watch, agree
from thrum.daemon.worker import Worker
from thrum.engine import Engine
from thrum.git import packing

CATCH_UP = 30.0
"""Seconds between two looks at the logs that nobody asked for: a network file system tells of nothing."""
CHECKUP = 5.0
PACKING = 60.0
"""Seconds between two looks whether our loose objects have become many."""
PACKING_REST = 3600.0
"""The same after a look at all of them that brought nothing: it was somebody else who left many, or the disk is full."""
GRACE = 0.5
"""Seconds a cycle has to send what was said, before another one is urged."""

log = logging.getLogger("thrum.daemon")


class Chores:
    """At work from construction until `close`. On the event loop."""

    def __init__(
        self,
        engine: Engine,
        worker: Worker,
        feed: Feed,
        pace: Pace,
        errands: Errands | None,
        check_up: Callable[[], Awaitable[object]],
    ) -> None:
        """`errands`: the way to the remote, None when the sync is off. `check_up` is called every few seconds."""
        self._engine, self._worker, self._feed, self._pace = engine, worker, feed, pace
        self._remote = (errands.name, errands.directory) if errands else (None, None)
        self._tails = Tails(engine.place, engine.origin) if errands else None
        self._check_up = check_up
        self._tasks = Tasks()
        known = contexts.Contexts(self._tasks)
        engine.contexts.look, engine.contexts.glance = known.look, known.glance
        listening = Coalesced(self._tasks, self._listen)
        self._marked: set[str] = set()
        self._refreshing = Coalesced(self._tasks, self._refresh_marked)
        callbacks = Callbacks(listening.poke, self._mark, self._compare_refs)
        self._packing_rests_until = 0.0
        self._watch = Watch(engine.place, *self._remote, callbacks)
        self._tasks.begin(every(CATCH_UP, self._listen))
        self._tasks.begin(every(CHECKUP, self._heal))
        self._tasks.begin(every(PACKING, self._pack))
        self._tasks.begin(every(engine.settings.interval, lambda: contexts.refresh_online(worker, engine)))

    async def close(self) -> None:
        """Ends them all."""
        self._watch.close()
        await self._tasks.cancel()

    async def _listen(self) -> None:
        """Somebody wrote lines. When it was another process, it may have had the news instead of us, so everybody looks."""
        await self._worker.run(self._engine.catch_up)
        self._feed.tell()
        ends = await self._worker.run(self._tails.read) if self._tails else []
        if ends:
            self._tasks.begin(guarded(lambda: self._urge_later(ends)))

    async def _urge_later(self, ends: list[End]) -> None:
        await asyncio.sleep(GRACE)
        if self._tails and self._tails.are_pending(ends):
            self._pace.urge()

    def _mark(self, git_dirs: frozenset[str]) -> None:
        self._marked |= git_dirs
        self._refreshing.poke()

    async def _refresh_marked(self) -> None:
        git_dirs, self._marked = self._marked, set()
        await contexts.refresh_marked(self._worker, self._engine, git_dirs)

    def _compare_refs(self) -> None:
        if not agree(self._engine.place, *self._remote):
            self._pace.urge()

    async def _heal(self) -> None:
        self._watch.renew()
        await self._worker.run(self._engine.journal.rest)
        await self._check_up()

    async def _pack(self) -> None:
        """Packs our objects before there are so many that git would do it, and the user wait."""
        now = asyncio.get_running_loop().time()
        if now < self._packing_rests_until or not await in_thread(packing.is_due, self._engine.place):
            return
        self._packing_rests_until = now + PACKING_REST
        packed = await in_thread(packing.pack, self._engine.place)
        if packed:
            self._packing_rests_until = 0.0
            log.info("packed %d loose objects of ours", packed)
