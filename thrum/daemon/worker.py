"""The one thread on which everything of the engine runs, one call at a time.

Calls of one kind may be done together: what was submitted with `run_together` brings along whatever stands right behind it in
the queue for the same function. Nobody waits for company.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from itertools import groupby
from queue import SimpleQueue
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from thrum.daemon.tasks import settle

log = logging.getLogger("thrum.daemon")

P = ParamSpec("P")
T = TypeVar("T")

MOST_TOGETHER = 32
"""Calls that are done together at most, so that others have their turn."""
PASSING_ON = 0.002
"""Seconds the event loop may take to pass answers on before what they left behind is settled: both want one GIL."""
_TURNS = 2
"""Of the loop, until an outcome has become bytes on their way: in the first a task wakes up and writes, then the loop sends."""

Together = Callable[[list[Any]], Sequence[Any]]
"""Does several things at once, and gives for each, in order, its result or what it raised."""


class _Job(NamedTuple):
    """A call whose outcome `future` waits for: of `call`, or of `together` for `what`."""

    future: asyncio.Future[Any] | Future[Any]
    call: Callable[[], Any] | None = None
    together: Together | None = None
    what: Any = None


class Leftovers(Protocol):
    """What was begun by calls that are answered, on the worker's thread."""

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing left."""

    def settle(self) -> None:
        """Does what is left."""


class _Nothing:
    is_settled = True

    def settle(self) -> None:
        pass


class Worker:
    """A queue in front of one thread, which never keeps the process from ending (a pool's thread would)."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._next: _Job | None = None
        """What was taken from the queue and does not go together with what was before it."""
        self._is_closed = False
        self.leftovers: Leftovers = _Nothing()
        """What jobs leave behind that need not be waited for: settled after the outcomes of each were handed out."""
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._queue.qsize() + (self._next is not None)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` there; from an event loop. Whoever is cancelled meanwhile loses only the answer."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._submit(_Job(future, partial(function, *args, **kwargs)))
        return await future

    async def run_together(self, function: Together, what: Any) -> Any:
        """Has `function` do `what` there, together with whatever else waits for that function at that moment."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._submit(_Job(future, together=function, what=what))
        return await future

    def run_blocking(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Calls `function` there; from any other thread. Raises RuntimeError when the worker is closed."""
        future: Future[T] = Future()
        self._submit(_Job(future, partial(function, *args, **kwargs)))
        return future.result()

    def close(self, seconds: float = 1.0) -> bool:
        """Lets the thread finish what is queued; whether it did within `seconds`."""
        self._is_closed = True
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _submit(self, job: _Job) -> None:
        if self._is_closed:
            raise RuntimeError("the worker is closed")
        self._queue.put(job)

    def _work(self) -> None:
        while jobs := self._take():
            wanted = [job for job in jobs if not job.future.cancelled()]
            outcomes = _do(wanted)
            passed_on = None if self.waiting or self.leftovers.is_settled else threading.Event()
            _tell([job.future for job in wanted], outcomes, passed_on)
            self._settle(passed_on)
            del jobs, wanted, outcomes  # an answer may be large, and the next call far

    def _settle(self, passed_on: threading.Event | None) -> None:
        try:
            if passed_on is not None:
                passed_on.wait(PASSING_ON)
            self.leftovers.settle()
        except Exception:
            log.exception("what was answered could not be settled")

    def _take(self) -> list[_Job]:
        """The next job and those that go with it; none at the end."""
        first = self._next or self._queue.get()
        self._next = None
        if first is None:
            return []
        jobs = [first]
        while first.together is not None and len(jobs) < MOST_TOGETHER and not self._queue.empty():
            job = self._queue.get()
            if job is None or job.together != first.together:
                self._put_back(job)
                break
            jobs.append(job)
        return jobs

    def _put_back(self, job: _Job | None) -> None:
        if job is None:
            self._queue.put(None)  # nothing is submitted behind it any more
        self._next = job


def _do(jobs: list[_Job]) -> Sequence[Any]:
    """For each its result, or what it raised."""
    together = jobs[0].together if jobs else None
    try:
        if together is not None:
            return together([job.what for job in jobs])
        return [job.call() for job in jobs if job.call is not None]
    except BaseException as error:
        return [error] * len(jobs)


def _tell(
    futures: list[asyncio.Future[Any] | Future[Any]], outcomes: Sequence[Any], passed_on: threading.Event | None
) -> None:
    """Hands out the outcomes, to an event loop all at once, which says when it has `passed_on` what it was given."""
    told = list(zip(futures, outcomes, strict=True))
    for future, outcome in told:
        if isinstance(future, Future):
            settle([future], outcome)
    awaited = [(future, outcome) for future, outcome in told if isinstance(future, asyncio.Future)]
    for loop, some in groupby(awaited, lambda one: one[0].get_loop()):
        with suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(_settle_all, list(some), loop, passed_on)


def _settle_all(
    told: list[tuple[asyncio.Future[Any], Any]], loop: asyncio.AbstractEventLoop, passed_on: threading.Event | None
) -> None:
    for future, outcome in told:
        settle([future], outcome)
    if passed_on is not None:
        _call_after(_TURNS, loop, passed_on.set)


def _call_after(turns: int, loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    loop.call_soon(_call_after, turns - 1, loop, call) if turns else call()
