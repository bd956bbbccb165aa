"""The composition root: every part of the daemon, built in order and taken down in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import thrum
from thrum import eventloop
from thrum.caller import Claim
from thrum.config import Settings
from thrum.daemon import condition, logfile, offspring
from thrum.daemon.chores import Chores
from thrum.daemon.dispatch import Dispatcher, RunCli
from thrum.daemon.errands import Errands
from thrum.daemon.feed import Feed
from thrum.daemon.lifecycle import Announcer
from thrum.daemon.ownership import Ownership
from thrum.daemon.pace import Pace, Sync
from thrum.daemon.tasks import guarded
from thrum.daemon.unix import Server
from thrum.daemon.worker import Worker
from thrum.engine import Engine
from thrum.errors import DaemonError, ThrumError
from thrum.git.place import Place
from thrum.store.projection import News

Json = dict[str, Any]
Door = Callable[[Dispatcher, Place, Settings], AbstractAsyncContextManager[Json]]
"""Another way in, e.g. a WebSocket: open while the context is; gives what `health` should tell of it, now or later."""

TURN = 0.0005
"""Seconds a thread may compute before another gets its turn. Python's own 5 ms would be added to every answer that comes
from the disk or the network while another thread is busy, e.g. with what the same append has told the watch."""
STOP_TIMEOUT = 5.0
"""Seconds for what is under way when we are told to stop."""

log = logging.getLogger("thrum.daemon")


def run(
    place: Place,
    load: Callable[[], Settings],
    run_cli: RunCli,
    doors: Sequence[Door] = (),
    warm: Callable[[], object] | None = None,
) -> None:
    """`thrum daemon run`: serves, and tells whoever started us when we are ready or why we never will be.

    `warm` is called beside the first requests: imports that nobody who starts a daemon should wait for.
    """
    announcer = Announcer()
    try:
        serve(place, load(), run_cli=run_cli, ready=announcer.ready, doors=doors, warm=warm)
    except ThrumError as error:
        announcer.failed(error)
        raise
    except Exception as error:
        announcer.failed(DaemonError(f"the daemon failed: {type(error).__name__}: {error}"))
        raise


def serve(
    place: Place,
    settings: Settings,
    *,
    run_cli: RunCli,
    ready: Callable[[Json], None],
    doors: Sequence[Door] = (),
    warm: Callable[[], object] | None = None,
) -> None:
    """Is the daemon of `place`'s repository until SIGTERM or SIGINT. `ready` hears `{pid, socket, log, ...}` once.

    Raises Refused when there is one already, NotInitialised, StorageError.
    """
    os.umask(0o077)
    sys.setswitchinterval(TURN)
    ownership = Ownership(place)
    path, handler = logfile.open_log(place)
    try:
        log.info("git thrum %s starts for %s, pid %d", thrum.__version__, place.common_dir, os.getpid())
        eventloop.run(_until_signalled(place, settings, ownership, path, run_cli, ready, doors, warm))
        log.info("stopped")
    except BaseException:
        log.exception("ended")
        raise
    finally:
        ownership.close()
        logfile.close_log(handler)


async def _until_signalled(
    place: Place,
    settings: Settings,
    ownership: Ownership,
    log_path: str,
    run_cli: RunCli,
    ready: Callable[[Json], None],
    doors: Sequence[Door],
    warm: Callable[[], object] | None,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        daemon = await Daemon.open(stack, place, settings, ownership, log_path, run_cli, doors, stop)
        ready(daemon.facts())
        if warm is not None:
            await guarded(lambda: asyncio.to_thread(warm))
        gc.collect()
        gc.freeze()
        await stop.wait()
        log.info("stopping")


class Daemon:
    """The running parts."""

    def __init__(self, place: Place, settings: Settings, ownership: Ownership, log_path: str, engine: Engine) -> None:
        """Use `open`."""
        self.place, self.settings, self.engine = place, settings, engine
        self._ownership, self._log_path = ownership, log_path
        self._extra: list[Json] = []
        self._started = time.monotonic()

    @classmethod
    async def open(
        cls,
        stack: AsyncExitStack,
        place: Place,
        settings: Settings,
        ownership: Ownership,
        log_path: str,
        run_cli: RunCli,
        doors: Sequence[Door],
        stop: asyncio.Event,
    ) -> Daemon:
        """Builds everything; `stack` takes it down again. `stop` is set when the daemon has to end by itself."""
        _allow_many_files()
        loop = asyncio.get_running_loop()
        worker = Worker()
        stack.callback(worker.close)
        engine = await worker.run(Engine, place, settings)
        stack.push_async_callback(_close_engine, worker, engine)
        daemon = cls(place, settings, ownership, log_path, engine)
        feed = Feed(loop)
        errands = await _find_errands(place, settings, engine, worker)
        sync = Sync(errands.has_remote, errands.run, errands.peek) if errands else None
        pace = Pace(sync, settings.interval, lambda: feed.listeners > 0)
        engine.serve()
        worker.leftovers = engine
        engine.listeners.append(lambda news: _spread(loop, news, feed, pace))
        await worker.run(_warm_up, engine)
        dispatcher = Dispatcher(
            engine=engine,
            methods=engine.methods,
            worker=worker,
            feed=feed,
            sync=pace,
            facts=daemon.facts,
            run_cli=run_cli,
            condition=lambda: condition.describe(worker, pace, feed.listeners, server.connections),
        )
        server = await Server.listen(place.socket, dispatcher.open, dispatcher.turned)
        stack.push_async_callback(_take_leave, dispatcher, server)
        for door in doors:
            daemon._extra.append(await stack.enter_async_context(door(dispatcher, place, settings)))
        ownership.announce(log_path)
        chores = Chores(engine, worker, feed, pace, errands, lambda: daemon._check_up(server, stop))
        stack.push_async_callback(chores.close)
        pacing = loop.create_task(pace.run())
        stack.push_async_callback(_wind_up, dispatcher, server, pace, pacing)
        return daemon

    def facts(self) -> Json:
        """What `health` tells of this process."""
        return {
            "pid": os.getpid(),
            "uptime_ms": int((time.monotonic() - self._started) * 1000),
            "socket": self.place.socket,
            "log": self._log_path,
            "common_dir": self.place.common_dir,
            **{name: fact for told in self._extra for name, fact in told.items()},
        }

    async def _check_up(self, server: Server, stop: asyncio.Event) -> None:
        """Heals what somebody removed; gives up what is no longer ours."""
        if not self._ownership.is_valid:
            log.error("the lock in %s is gone: this daemon ends", self.place.sync_dir)
            stop.set()
        elif await server.restore():
            log.warning("the socket was gone and was made anew")
            self._ownership.restore(self._log_path)


async def _take_leave(dispatcher: Dispatcher, server: Server) -> None:
    dispatcher.stop()
    await server.stop(STOP_TIMEOUT)


async def _wind_up(dispatcher: Dispatcher, server: Server, pace: Pace, pacing: asyncio.Task[None]) -> None:
    await asyncio.gather(_take_leave(dispatcher, server), _end_sync(pace, pacing))


async def _close_engine(worker: Worker, engine: Engine) -> None:
    with contextlib.suppress(TimeoutError):  # the call under way takes too long: it ends like a crash, which is safe
        async with asyncio.timeout(1.0):
            await worker.run(engine.close)


async def _end_sync(pace: Pace, pacing: asyncio.Task[None]) -> None:
    """Lets a cycle under way end, for a moment; then it is cut off, as by a crash, and its git processes with it."""
    pace.stop()
    await asyncio.wait([pacing], timeout=STOP_TIMEOUT / 2)
    if not pacing.done():
        offspring.end()
    pacing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await pacing


def _spread(loop: asyncio.AbstractEventLoop, news: News, feed: Feed, pace: Pace) -> None:
    """On the worker's thread, after each `catch_up` that brought something."""
    feed.tell()
    if news.eager:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            loop.call_soon_threadsafe(pace.urge)


def _warm_up(engine: Engine) -> None:
    """Does once what the first request would have to wait for."""
    engine.catch_up()
    engine.call("health", {}, Claim())


async def _find_errands(place: Place, settings: Settings, engine: Engine, worker: Worker) -> Errands | None:
    """The way to the remote; None when the sync is switched off."""
    if not settings.sync:
        return None
    return await asyncio.to_thread(
        Errands, place, settings, engine.origin, lambda: worker.run_blocking(engine.catch_up)
    )


def _allow_many_files() -> None:
    """A thousand clients need a thousand descriptors; the usual soft limit is just that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
