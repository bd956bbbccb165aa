"""An engine of ten lines, and the dispatcher around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from thrum.caller import Claim
from thrum.daemon.dispatch import Dispatcher, Execute
from thrum.daemon.feed import Feed
from thrum.daemon.worker import Worker
from thrum.engine import Call
from thrum.errors import NotFound

Json = dict[str, Any]


class Declared(NamedTuple):
    waits: bool = False
    reads_git: bool = False
    joins: bool = False
    searches: bool = False


METHODS = {
    name: Declared() for name in ("health", "echo", "say", "break", "sync.status", "sync.force", "mark", "slow", "big")
}
METHODS["wait"] = Declared(waits=True)
METHODS["search"] = Declared(searches=True)
METHODS["who"] = Declared(reads_git=True)


class FakeContexts:
    """Keeps who asked git."""

    def __init__(self) -> None:
        self.readers: list[str] = []
        self.is_unknown = False
        self.stated: list[Any] = []

    def read(self) -> list[Any]:
        self.readers.append(threading.current_thread().name)
        return []

    def state(self, readings: list[Any]) -> None:
        self.stated = readings


class FakeEngine:
    """Keeps what is said; tells the feed."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.said: list[str] = []
        self.calls: list[tuple[str, Json, Claim]] = []
        self.polls = 0
        self.steps = 0
        """How many steps the index of words is behind."""
        self.gate = threading.Event()
        self.contexts = FakeContexts()

    def index_some(self, method: str, params: Json) -> bool:
        self.steps -= 1
        return self.steps > 0

    def call_at_once(self, method: str, params: Json, claim: Claim) -> Any:
        return None if self.contexts.is_unknown else self.call(method, params, claim)

    def call(self, method: str, params: Json, claim: Claim, readings: list[Any] | None = None) -> Any:
        self.calls.append((method, params, claim))
        if method == "break":
            raise RuntimeError("secret internals")
        if method == "say":
            if not params.get("text"):
                raise NotFound("nothing to say", "say something")
            self.said.append(params["text"])
            self.feed.tell()
            return {"count": len(self.said)}
        if method == "slow":
            self.gate.wait(10)
        if method == "big":
            return "x" * params["size"]
        if method == "health":
            return {"status": "ok", "uptime_ms": 0, "version": "x", "repo_id": "r", "sync_state": "synced"}
        return {"params": params, "claim": claim._asdict() | {"environ": dict(claim.environ)}}

    def poll_together(self, calls: list[Call]) -> list[Any]:
        self.polls += len(calls)
        wanted = [call.params.get("wanted") for call in calls]
        return [{"status": "received", "text": text} if text in self.said else None for text in wanted]


class FakeSync:
    """Counts."""

    is_active = True
    forced = 0

    async def force(self) -> Json:
        self.forced += 1
        return {"ok": True, "received": 2}


async def run_cli(params: Json, execute: Execute) -> Json:
    """Runs the command line's first word as a method."""
    result = await execute(params["argv"][0], params.get("params", {}), Claim(cwd=params.get("cwd", "")))
    return {"stdout": str(result), "stderr": "", "exit": 0, "deferred": [("mark", {"ids": [1]}, Claim(name="ann"))]}


class House(NamedTuple):
    """A dispatcher and what is behind it."""

    dispatcher: Dispatcher
    engine: FakeEngine
    feed: Feed
    worker: Worker
    sync: FakeSync


@asynccontextmanager
async def house() -> AsyncIterator[House]:
    feed, worker, sync = Feed(asyncio.get_running_loop()), Worker(), FakeSync()
    engine = FakeEngine(feed)
    dispatcher = Dispatcher(
        engine=engine, methods=METHODS, worker=worker, feed=feed, sync=sync, facts=lambda: {"pid": 7}, run_cli=run_cli
    )
    try:
        yield House(dispatcher, engine, feed, worker, sync)
    finally:
        engine.gate.set()
        worker.close()
