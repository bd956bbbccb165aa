"""Who is listening: tells everybody that something arrived, so that nobody polls and nobody misses it.

News comes from the worker's thread; who waits lives on the event loop. A waiter notes `generation` before it looks and
waits for a later one, so what arrives between its look and its sleep wakes it all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from thrum.errors import DaemonError


class Feed:
    """The bell. Everything but `tell` belongs to the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._sleepers: set[asyncio.Future[None]] = set()
        self._calls: list[Callable[[], None]] = []
        self._is_closed = False
        self._is_ringing = False
        self.generation = 0
        """How often something arrived."""
        self.listeners = 0
        """How many clients wait for mail now."""

    def tell(self) -> None:
        """Something arrived. From any thread; calls that come before the loop gets to it count as one."""
        if not self._is_ringing:
            self._is_ringing = True
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._ring)

    def on_ring(self, call: Callable[[], None]) -> None:
        """Has `call` made whenever something arrived."""
        self._calls.append(call)

    def close(self) -> None:
        """Sends everybody who waits, and who comes later, away."""
        self._is_closed = True
        self._wake()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Counts the caller among those who wait for mail."""
        self.listeners += 1
        try:
            yield
        finally:
            self.listeners -= 1

    async def later_than(self, generation: int) -> None:
        """Returns when more has arrived than at `generation`. Raises DaemonError when the daemon stops."""
        while self.generation == generation and not self._is_closed:
            sleeper = self._loop.create_future()
            self._sleepers.add(sleeper)
            try:
                await sleeper
            finally:
                self._sleepers.discard(sleeper)
        if self._is_closed:
            raise stopping()

    def _ring(self) -> None:
        self._is_ringing = False
        self.generation += 1
        self._wake()
        for call in self._calls:
            call()

    def _wake(self) -> None:
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)


def stopping() -> DaemonError:
    """What a client hears whose request comes too late."""
    return DaemonError("the daemon is stopping", "try again: git thrum works without a daemon, too")
