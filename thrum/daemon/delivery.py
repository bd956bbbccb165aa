"""Notifications: what a session subscribed to, brought to the connections that asked for it, once each and in order.

No mail is kept for anybody: each connection remembers how far it has heard, and when something arrives one job looks what is
new for all of them. Who was away for long is told bit by bit, and nothing while it has yet to read what it was told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from thrum.caller import Claim
from thrum.core import jsonrpc
from thrum.daemon.feed import Feed
from thrum.daemon.tasks import Coalesced, Tasks
from thrum.daemon.worker import Worker
from thrum.errors import ThrumError

Json = dict[str, Any]
Push = Callable[[bytes], bool]
"""Sends a frame to a client without waiting for it; whether the client should read before it gets more. On the event loop."""

TOGETHER = 32
"""Questions that are answered in one job."""
FAIR_SHARE = 32
"""Ears that are told, after which whatever else the loop has to do has a turn."""
REMEMBERED = 1024
"""Messages an ear knows it was told, in case the client asks again for what it missed."""

log = logging.getLogger("thrum.daemon")


class NoticesLike(Protocol):
    """What was new for a session."""

    @property
    def items(self) -> list[Json]:
        """Notifications without their envelope, in order."""

    @property
    def cursor(self) -> Any:
        """Where the next look begins."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the session is over."""

    @property
    def is_partial(self) -> bool:
        """Whether there is more already."""


class EngineLike(Protocol):
    """What delivery asks of the engine, always on the worker's thread."""

    def call(self, method: str, params: Json, claim: Claim) -> Any:
        """One call. Raises ThrumError."""

    def cursor(self) -> Any:
        """Where arrival stands now."""

    def cursor_since(self, known_id: str) -> Any:
        """Where it stood after the event or message of that id. Raises NotFound."""

    def look(self) -> None:
        """Brings what the engine knows up to the logs, if need be."""

    def notices(self, agent_id: str, session_id: str, cursor: Any, *, catch_up: bool) -> NoticesLike:
        """What arrived for the session since then."""


class Joined(NamedTuple):
    """A subscription that was made: its answer, for whom, and two cursors: of its `since` (None without), and today's."""

    answer: Json
    agent_id: str
    since: Any
    now: Any


class Question(NamedTuple):
    """What is new for a session since a cursor; connections that ask the same share the answer."""

    agent_id: str
    session_id: str
    cursor: Any


class Notice(NamedTuple):
    """A notification as it is sent; `event_id` tells a message's, None what belongs to the one before."""

    event_id: str | None
    frame: bytes


class Ear:
    """One connection listening for one session."""

    __slots__ = ("_push", "_told", "agent_id", "cursor", "is_full", "session_id", "subscriptions")

    def __init__(self, agent_id: str, session_id: str, push: Push) -> None:
        self.agent_id, self.session_id = agent_id, session_id
        self.cursor: Any = None
        """How far it has heard."""
        self.subscriptions: set[int] = set()
        """The subscriptions that this connection made; it listens as long as there is one."""
        self.is_full = False
        """Whether the client has to read before it is told more."""
        self._push = push
        self._told: dict[str, None] = {}

    def tell(self, notices: list[Notice]) -> None:
        """Sends what it was not told before; what belongs to a message comes or goes with it."""
        is_new = True
        for event_id, frame in notices:
            if event_id is not None:
                is_new = event_id not in self._told
                self._told[event_id] = None
            if is_new:
                self.is_full = self._push(frame)
        while len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]


class Ears:
    """The ears of one connection. A new one opens when the answer to its subscription has been written."""

    def __init__(self, delivery: Delivery, push: Push) -> None:
        self._delivery, self._push = delivery, push
        self._by_session: dict[str, Ear] = {}
        self._due: list[tuple[Ear, Any]] = []

    async def subscribe(self, params: Json, claim: Claim) -> Json:
        """Makes the subscription and listens for its session, from `since` on if that is given. Raises ThrumError.

        An ear that is open already goes on where it is, or back to `since` for what it was not told then.
        """
        answer, agent_id, since, now = await self._delivery.join(params, claim)
        session_id = answer["session_id"]
        ear = self._by_session.get(session_id)
        if ear is None:
            ear = self._by_session[session_id] = Ear(agent_id, session_id, self._push)
            self._due.append((ear, since or now))
        elif since is not None:
            self._due.append((ear, since))
        ear.subscriptions.add(answer["subscription_id"])
        return answer

    def settle(self) -> None:
        """The answer has been written: what it promised may follow."""
        while self._due:
            self._delivery.open(*self._due.pop(0))

    def resume(self) -> None:
        """The client has read: it may be told more."""
        for ear in self._by_session.values():
            if ear.is_full:
                ear.is_full = False
                self._delivery.poke()

    def unsubscribe(self, subscription_id: int) -> None:
        """The subscription is gone; the ear that was opened for nothing else closes."""
        for session_id, ear in list(self._by_session.items()):
            ear.subscriptions.discard(subscription_id)
            if not ear.subscriptions:
                self._close(session_id)

    def close(self) -> None:
        """The connection is gone."""
        for session_id in list(self._by_session):
            self._close(session_id)

    def _close(self, session_id: str) -> None:
        ear = self._by_session.pop(session_id)
        self._due = [due for due in self._due if due[0] is not ear]
        self._delivery.close(ear)


class Delivery:
    """All ears of the daemon. On the event loop."""

    def __init__(self, engine: EngineLike, worker: Worker, feed: Feed) -> None:
        self._engine, self._worker, self._feed = engine, worker, feed
        self._open: set[Ear] = set()
        self._tasks = Tasks()
        self._round = Coalesced(self._tasks, self._deliver)
        feed.on_ring(self.poke)

    async def join(self, params: Json, claim: Claim) -> Joined:
        """Makes a subscription. Raises ThrumError."""
        return await self._worker.run(self._join, params, claim)

    def open(self, ear: Ear, cursor: Any) -> None:
        """`ear` listens: it gets what has come since `cursor`, then what comes."""
        ear.cursor = cursor
        if ear not in self._open:
            self._open.add(ear)
            self._feed.listeners += 1
        self._round.poke()

    def close(self, ear: Ear) -> None:
        """It does not any more."""
        if ear in self._open:
            self._open.discard(ear)
            self._feed.listeners -= 1

    def poke(self) -> None:
        """There may be something to tell."""
        if self._open:
            self._round.poke()

    def _join(self, params: Json, claim: Claim) -> Joined:
        answer = self._engine.call("subscribe", params, claim)
        agent_id = self._engine.call("agent.whoami", {}, claim)["agent_id"]
        since = {key.lower(): value for key, value in params.items()}.get("since")
        return Joined(answer, agent_id, self._engine.cursor_since(since) if since else None, self._engine.cursor())

    async def _deliver(self) -> None:
        """One round: everybody gets what is new. Others have their turn between one job and the next."""
        asking: dict[Question, list[Ear]] = {}
        for ear in self._open:
            if ear.is_full:
                continue
            asking.setdefault(Question(ear.agent_id, ear.session_id, ear.cursor), []).append(ear)
        questions = list(asking)
        for start in range(0, len(questions), TOGETHER):
            for question, found in await self._worker.run(self._look, questions[start : start + TOGETHER]):
                await self._tell(asking[question], question, found)

    async def _tell(self, ears: list[Ear], question: Question, found: NoticesLike) -> None:
        notices = [Notice(item["params"].get("event_id"), _frame(item)) for item in found.items]
        for number, ear in enumerate(ears):
            if notices and number % FAIR_SHARE == 0:
                await asyncio.sleep(0)
            if ear not in self._open or ear.cursor != question.cursor:
                continue  # it was sent back meanwhile: the next round tells it, in order
            ear.tell(notices)
            ear.cursor = found.cursor
            if found.is_partial:
                self._round.poke()
            if found.ended:
                self.close(ear)

    def _look(self, questions: list[Question]) -> list[tuple[Question, NoticesLike]]:
        """On the worker's thread. Whom we cannot look for now keeps his place and is looked for next time."""
        self._engine.look()
        found: list[tuple[Question, NoticesLike]] = []
        for question in questions:
            try:
                found.append((question, self._engine.notices(*question, catch_up=False)))
            except ThrumError as error:
                log.warning("no notifications for %s now: %s", question.agent_id, error)
        return found


def _frame(item: Json) -> bytes:
    return jsonrpc.encode({"jsonrpc": "2.0", **item})
