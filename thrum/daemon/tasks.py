"""Small helpers for work that goes on beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from thrum.errors import ThrumError

T = TypeVar("T")
Action = Callable[[], Awaitable[object]]

log = logging.getLogger("thrum.daemon")


def settle(futures: Iterable[asyncio.Future[Any] | Future[Any]], outcome: Any) -> None:
    """Gives an outcome to all who still wait for it; an exception is raised there."""
    for future in futures:
        if future.done():
            continue
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class Tasks:
    """Tasks that forget themselves when they are done."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def begin(self, action: Coroutine[None, None, None]) -> None:
        """Runs `action` in a task of its own."""
        task = asyncio.get_running_loop().create_task(action)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def cancel(self) -> None:
        """Ends them all."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Coalesced:
    """Runs an action after each poke; pokes during a run cause one more."""

    def __init__(self, tasks: Tasks, action: Action) -> None:
        self._tasks, self._action = tasks, action
        self._is_due = self._is_running = False

    def poke(self) -> None:
        """The action is due."""
        self._is_due = True
        if not self._is_running:
            self._is_running = True
            self._tasks.begin(self._run())

    async def _run(self) -> None:
        try:
            while self._is_due:
                self._is_due = False
                await guarded(self._action)
        finally:
            self._is_running = False


async def every(seconds: float, action: Action) -> None:
    """Does `action` again and again, until cancelled."""
    while True:
        await asyncio.sleep(seconds)
        await guarded(action)


async def guarded(action: Action) -> None:
    """Does `action`; when it fails the log knows, and the daemon goes on."""
    try:
        await action()
    except ThrumError as error:
        log.warning("%s", error)
    except Exception:
        log.exception("a chore failed")


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Calls `function` in a thread that does not keep the process alive: a remote may hang for a minute."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def work() -> None:
        found: T | BaseException
        try:
            found = function(*args)
        except BaseException as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(settle, [outcome], found)

    threading.Thread(target=work, name="beside", daemon=True).start()
    return await outcome
