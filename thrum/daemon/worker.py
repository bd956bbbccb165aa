"""The one thread on which everything of the engine runs, one call at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Worker:
    """A queue in front of one thread, which never keeps the process from ending (a pool's thread would)."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._queue.qsize()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` there; from an event loop. Whoever is cancelled meanwhile loses only the answer."""
        return await asyncio.wrap_future(self._submit(partial(function, *args, **kwargs)))

    def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` there; from any other thread. Raises RuntimeError when the worker is closed."""
        return self._submit(partial(function, *args, **kwargs)).result()

    def close(self, seconds: float = 1.0) -> bool:
        """Lets the thread finish what is queued; whether it did within `seconds`."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _submit(self, call: Callable[[], T]) -> Future[T]:
        if self._is_closed:
            raise RuntimeError("the worker is closed")
        future: Future[T] = Future()
        self._queue.put((future, call))
        return future

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            _do(*job)
            del job  # an answer may be large, and the next call far


def _do(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)
