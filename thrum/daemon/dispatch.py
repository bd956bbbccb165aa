"""A request becomes a call of the engine and its answer a line; the same for every door of the daemon."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import thrum
from thrum.caller import Claim
from thrum.core import jsonrpc
from thrum.core.jsonrpc import Problem, Request
from thrum.daemon.claims import read_claim
from thrum.daemon.delivery import Delivery, Ears, NoticesLike, Push
from thrum.daemon.feed import Feed, stopping
from thrum.daemon.looks import Looks
from thrum.daemon.postponed import Postponed
from thrum.daemon.tally import Tally
from thrum.daemon.turned import Turned
from thrum.daemon.worker import Worker
from thrum.engine import Call
from thrum.errors import BadParams, ThrumError
from thrum.workcontexts import Reading

Json = dict[str, Any]
Execute = Callable[[str, Json, Claim], Awaitable[Any]]
RunCli = Callable[[Json, Execute], Awaitable[Json]]
"""Runs one command line of a thin client: `cli.run`'s params and a way to run methods, to `{stdout, stderr, exit}`.

Its result may hold `deferred`, a list of (method, params, claim) to be called once the client has written the output; dispatch
puts a `token` for `cli.done` in its place. `{"declined": reason}` sends the client to the whole program.
"""

LONGEST_WAIT = 3600.0  # seconds
USUAL_WAIT = 30.0

log = logging.getLogger("thrum.daemon")


class MethodLike(Protocol):
    """What dispatch must know of a method."""

    @property
    def waits(self) -> bool:
        """Whether it may have nothing to answer yet."""

    @property
    def reads_git(self) -> bool:
        """Whether it shows what agents work on."""

    @property
    def joins(self) -> bool:
        """Whether several calls of it may be made together."""

    @property
    def searches(self) -> bool:
        """Whether it needs the index of words."""


class ContextsLike(Protocol):
    """What dispatch asks of what agents work on."""

    def read(self) -> list[Reading]:
        """What git says of each worktree; this one may be called on any thread."""

    def state(self, readings: list[Reading]) -> None:
        """States what changed."""


class EngineLike(Protocol):
    """What dispatch asks of the engine, always on the worker's thread."""

    issue_token: Callable[[str], str]
    """Makes the token that `user.register` gives to a user."""

    @property
    def contexts(self) -> ContextsLike:
        """What agents work on."""

    def call(self, method: str, params: Json, claim: Claim, readings: list[Reading] | None = None) -> Any:
        """One call. Raises ThrumError."""

    def call_at_once(self, method: str, params: Json, claim: Claim) -> Any | None:
        """One call of a method that reads git; None when worktrees have to be read first. Raises ThrumError."""

    def call_together(self, calls: Sequence[Call]) -> list[Any]:
        """Several calls of methods that join; for each its result or what it raised."""

    def poll_together(self, calls: Sequence[Call]) -> list[Any]:
        """One look each of methods that wait; for each what it found, None for nothing yet, or what it raised."""

    def index_some(self, method: str, params: Json) -> bool:
        """One step towards an index of what a method searches; whether there is another one. Raises ThrumError."""

    def cursor(self) -> Any:
        """Where arrival stands now."""

    def cursor_since(self, known_id: str) -> Any:
        """Where it stood after the event or message of that id. Raises NotFound."""

    def look(self) -> None:
        """Brings what the engine knows up to the logs, if need be."""

    def notices(self, agent_id: str, session_id: str, cursor: Any, *, catch_up: bool) -> NoticesLike:
        """What arrived for the session since then."""


class SyncLike(Protocol):
    """What dispatch asks of the sync's pace."""

    @property
    def is_active(self) -> bool:
        """Whether there is anything to sync with."""

    async def force(self) -> Json:
        """A cycle that begins after this call; its report."""


class UnknownMethodError(ThrumError):
    """There is no method of that name."""

    code = jsonrpc.METHOD_NOT_FOUND


class Dispatcher:
    """What all conversations share."""

    def __init__(
        self,
        *,
        engine: EngineLike,
        methods: Mapping[str, MethodLike],
        worker: Worker,
        feed: Feed,
        sync: SyncLike,
        facts: Callable[[], Json],
        run_cli: RunCli,
        condition: Callable[[], Json] = dict,
    ) -> None:
        """`facts`: what `health` adds: pid, uptime_ms, socket, log, ...; `condition`: what `daemon.status` adds to them."""
        self.engine, self.worker, self.feed, self.sync = engine, worker, feed, sync
        self.methods, self.facts, self.run_cli = methods, facts, run_cli
        self.condition = condition
        self.tally, self.turned = Tally(), Turned()
        self.postponed = Postponed()
        self.delivery = Delivery(engine, worker, feed)
        self.looks = Looks(worker, feed, engine.poll_together)
        self._encoded: tuple[object, bytes] | None = None
        self.is_stopping = False

    def open(self, push: Push | None = None) -> Conversation:
        """A conversation with one client, to whom `push` sends what was subscribed to."""
        return Conversation(self, push)

    def encode(self, value: object) -> bytes:
        """An answer as JSON. What many are told in one turn of the loop is written once."""
        if self._encoded is None or self._encoded[0] is not value:
            if self._encoded is None:
                asyncio.get_running_loop().call_soon(self._forget)
            self._encoded = value, jsonrpc.encode(value)
        return self._encoded[1]

    def _forget(self) -> None:
        self._encoded = None

    def stop(self) -> None:
        """Refuses what comes from now on, and sends away who waits."""
        self.is_stopping = True
        self.feed.close()


class Conversation:
    """One client's requests."""

    def __init__(self, shared: Dispatcher, push: Push | None = None) -> None:
        self._shared = shared
        self._ears = Ears(shared.delivery, push) if push is not None else None
        self._waits: set[asyncio.Task[Any]] = set()
        self._is_gone = False
        self._own: dict[str, Callable[[Json, Claim], Awaitable[Any]]] = {
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "health": self._health,
            "sync.force": self._force_sync,
            "sync.status": self._sync_status,
            "daemon.status": self._status,
            "cli.run": self._run_cli,
            "cli.done": self._finish_cli,
        }

    def hang_up(self) -> None:
        """The client says no more: whatever waits for it is cancelled, and what it asked to wait for is looked for once."""
        self._is_gone = True
        for task in list(self._waits):
            task.cancel()
        if self._ears is not None:
            self._ears.close()

    def resume(self) -> None:
        """The client has read what it was told."""
        if self._ears is not None:
            self._ears.resume()

    def settle(self) -> None:
        """The last answer has been written: notifications it promised may follow."""
        if self._ears is not None:
            self._ears.settle()

    async def answer(self, line: bytes | str | None) -> bytes:
        """The answer to one line or frame (None: it was too long), without a newline; b"" when none is wanted."""
        asked = jsonrpc.parse(line)
        if not isinstance(asked, list):
            return await self._answer_one(asked)
        answers = [await self._answer_one(one) for one in asked]
        return jsonrpc.batch([answer for answer in answers if answer])

    async def execute(self, method: str, params: Json, claim: Claim) -> Any:
        """Runs one method, however long it waits. Raises ThrumError."""
        if self._shared.is_stopping:
            raise stopping()
        own, declared = self._own.get(method), self._shared.methods.get(method)
        if own is None and declared is None:
            raise UnknownMethodError(f"method '{method}' is not registered")
        started = time.perf_counter()
        try:
            if own is not None:
                return await own(params, claim)
            if declared is not None and declared.waits:
                return await self._wait(method, params, claim)
            return await self._call(method, params, claim)
        finally:
            self._shared.tally.note(method, time.perf_counter() - started)

    async def _answer_one(self, asked: Request | Problem) -> bytes:
        """The answer to one request; b"" to a notification, which is executed all the same."""
        if isinstance(asked, Problem):
            return jsonrpc.failure(*asked)
        answer = await self._answer_request(asked)
        return b"" if asked.is_notification else answer

    async def _answer_request(self, asked: Request) -> bytes:
        try:
            claim, params = self._read(asked.params)
            answer = await self.execute(asked.method, params, claim)
            return jsonrpc.result(asked.id, self._shared.encode(answer))
        except UnknownMethodError as unknown:
            return jsonrpc.failure(asked.id, unknown.code, "Method not found", str(unknown))
        except ThrumError as refusal:
            return jsonrpc.failure(asked.id, refusal.code, str(refusal), {"kind": refusal.kind, "hint": refusal.hint})
        except Exception:
            return self._internal_error(asked)

    def _internal_error(self, asked: Request) -> bytes:
        """A mistake of ours: the log gets everything, the client a number to find it by."""
        incident = secrets.token_hex(4)
        log.exception("incident %s in %.80r", incident, asked.method)
        hint = f"incident {incident} in the daemon's log has the details"
        return jsonrpc.failure(asked.id, jsonrpc.INTERNAL_ERROR, "Internal error", {"kind": "Internal", "hint": hint})

    def _read(self, params: Json) -> tuple[Claim, Json]:
        """Who calls, and the parameters without that. Raises BadParams."""
        return read_claim(params)

    def _wants_pushes(self, params: Json) -> bool:
        """Whether a subscription is for this connection. v0.1.0's clients on the socket would take a push for an answer."""
        return {key.lower(): value for key, value in params.items()}.get("push") is True

    async def _subscribe(self, params: Json, claim: Claim) -> Any:
        if self._ears is None or not self._wants_pushes(params):
            return await self._call("subscribe", params, claim)
        return await self._ears.subscribe(params, claim)

    async def _unsubscribe(self, params: Json, claim: Claim) -> Any:
        answer = await self._call("unsubscribe", params, claim)
        if self._ears is not None and answer["removed"]:
            said = {key.lower(): value for key, value in params.items()}
            self._ears.unsubscribe(said["subscription_id"])
        return answer

    async def _call(self, method: str, params: Json, claim: Claim) -> Any:
        shared, declared = self._shared, self._shared.methods.get(method)
        if declared and declared.joins:
            return await shared.worker.run_together(shared.engine.call_together, Call(method, params, claim))
        if declared and declared.searches:  # a long history takes a while: the others have their turn between the steps
            while await shared.worker.run(shared.engine.index_some, method, params):
                pass
        if declared and declared.reads_git:
            return await self._call_with_git(method, params, claim)
        return await shared.worker.run(shared.engine.call, method, params, claim)

    async def _call_with_git(self, method: str, params: Json, claim: Claim) -> Any:
        """git may take its time in a large repository: it is looked at beside the worker, which serves the others."""
        engine, worker = self._shared.engine, self._shared.worker
        answer = await worker.run(engine.call_at_once, method, params, claim)
        if answer is not None:
            return answer
        readings = await asyncio.to_thread(engine.contexts.read)
        return await worker.run(engine.call, method, params, claim, readings)

    async def _wait(self, method: str, params: Json, claim: Claim) -> Any:
        """Looks, sleeps until something arrives, looks again; `{"status": "timeout"}` in the end, after one look at least."""
        seconds = 0.0 if self._is_gone else _read_timeout(params)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this is a coroutine
        self._waits.add(task)
        try:
            with self._shared.feed.listening():
                return await self._shared.looks.watch(Call(method, params, claim), asyncio.timeout(seconds))
        except TimeoutError:
            return {"status": "timeout"}
        finally:
            self._waits.discard(task)

    async def _health(self, params: Json, claim: Claim) -> Json:
        answer: Json = await self._call("health", params, claim)
        return {**answer, **self._shared.facts()}

    async def _status(self, params: Json, claim: Claim) -> Json:
        listeners = self._shared.feed.listeners
        shared = self._shared
        counts: Json = {"requests": shared.tally.total, "methods": shared.tally.as_json()}
        counts["turned_away"] = shared.turned.as_json()
        return {**shared.facts(), "listeners": listeners, **counts, **shared.condition()}

    async def _sync_status(self, params: Json, claim: Claim) -> Json:
        answer: Json = await self._call("sync.status", params, claim)
        return {**answer, "running": self._shared.sync.is_active}

    async def _force_sync(self, params: Json, claim: Claim) -> Json:
        if not self._shared.sync.is_active:
            answer: Json = await self._call("sync.force", params, claim)
            return answer
        shared = self._shared
        readings = await asyncio.to_thread(shared.engine.contexts.read)
        await shared.worker.run(shared.engine.contexts.state, readings)
        report = await shared.sync.force()
        return {"triggered": True, **report, **await self._sync_status({}, claim)}

    async def _run_cli(self, params: Json, claim: Claim) -> Json:
        if params.get("version") != thrum.__version__:
            return {"declined": f"the daemon is git thrum {thrum.__version__}"}
        done = await self._shared.run_cli(params, self.execute)
        deferred = done.pop("deferred", None)
        if deferred:
            done["token"] = self._shared.postponed.keep([Call(*call) for call in deferred])
        return done

    async def _finish_cli(self, params: Json, claim: Claim) -> Json:
        calls = self._shared.postponed.claim(str(params.get("token", "")))
        for call in calls:
            await self.execute(*call)
        return {"done": len(calls)}


def _read_timeout(params: Json) -> float:
    """The seconds a caller wants to wait: 0 to an hour."""
    said = {key.lower(): value for key, value in params.items()}.get("timeout")
    if said is None:
        return USUAL_WAIT
    if isinstance(said, bool) or not isinstance(said, int | float) or said < 0:
        raise BadParams("timeout must be a number of seconds, 0 or more")
    return min(float(min(said, LONGEST_WAIT)), LONGEST_WAIT)
