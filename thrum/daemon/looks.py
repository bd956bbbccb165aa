"""Looks for those who wait: one look after each news for all who wait for the same, and one answer for them."""

from __future__ import annotations

import asyncio
from typing import Any

from thrum.daemon.feed import Feed
from thrum.daemon.tasks import settle
from thrum.daemon.worker import Together, Worker
from thrum.engine import Call


class _Group:
    """Those who wait for the same, and the task that looks for them."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.waiting: set[asyncio.Future[Any]] = set()
        self.task: asyncio.Task[None] | None = None

    def tell(self, some: set[asyncio.Future[Any]], found: Any) -> None:
        """Gives `some` of them what was found, or raised."""
        self.waiting -= some
        settle(some, found)


class Looks:
    """Everybody who waits. On the event loop."""

    def __init__(self, worker: Worker, feed: Feed, poll_together: Together) -> None:
        self._worker, self._feed, self._poll = worker, feed, poll_together
        self._groups: dict[str, _Group] = {}

    async def watch(self, call: Call, limit: asyncio.Timeout) -> Any:
        """What `call` finds, as soon as it finds something. `limit` holds from after the first look on."""
        seen = self._feed.generation
        found = await self._look(call)
        async with limit:
            while found is None and seen != self._feed.generation:  # something came while we looked
                seen = self._feed.generation
                found = await self._look(call)
            return await self._join(call) if found is None else found

    async def _look(self, call: Call) -> Any:
        return await self._worker.run_together(self._poll, call)

    async def _join(self, call: Call) -> Any:
        """What the others who wait for the same find after the next news."""
        asked = question(call)
        group = self._groups.get(asked) or self._gather(asked, call)
        future = asyncio.get_running_loop().create_future()
        group.waiting.add(future)
        try:
            return await future
        finally:
            group.waiting.discard(future)
            if not group.waiting:
                self._dissolve(asked, group)

    def _gather(self, asked: str, call: Call) -> _Group:
        group = self._groups[asked] = _Group(call)
        group.task = asyncio.ensure_future(self._lead(asked, group, self._feed.generation))
        return group

    def _dissolve(self, asked: str, group: _Group) -> None:
        self._forget(asked, group)
        if group.task is not None:
            group.task.cancel()

    def _forget(self, asked: str, group: _Group) -> None:
        if self._groups.get(asked) is group:
            del self._groups[asked]

    async def _lead(self, asked: str, group: _Group, seen: int) -> None:
        """Looks for a group after each news beyond `seen`, until nobody is left in it."""
        try:
            while group.waiting:
                await self._feed.later_than(seen)
                seen, present = self._feed.generation, set(group.waiting)
                found = await self._look(group.call)
                if found is not None:
                    group.tell(present, found)
        except Exception as error:
            group.tell(set(group.waiting), error)
        finally:
            self._forget(asked, group)


def question(call: Call) -> str:
    """What a waiting call looks for, whoever asks and however long it may wait."""
    said = {key.lower(): value for key, value in call.params.items() if value is not None}
    return repr(call._replace(params={key: said[key] for key in sorted(said) if key != "timeout"}))
