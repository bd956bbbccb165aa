"""What a subscriber is told, in v0.1.0's format: of each message that arrives, and of the thread it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from thrum.core.excerpt import preview
from thrum.core.subscription import Subscription

if TYPE_CHECKING:
    from thrum.store.arrivals import Arrival, Arrivals, Cursor
    from thrum.store.mailbox import Mailbox
    from thrum.store.roster import Roster
    from thrum.store.subscriptions import Subscriptions
    from thrum.store.threads import Threads

Json = dict[str, Any]
AT_ONCE = 64
"""Messages that a session is told of at once."""


class Notices(NamedTuple):
    """What is new for a session: `items` are `{method, params}` in order of arrival; `cursor` is where to go on.

    `ended`: the session is over, nothing more will come. `is_partial`: there is more already.
    """

    items: list[Json]
    cursor: Cursor
    ended: bool
    is_partial: bool = False


class Herald:
    """Tells sessions what arrived that they subscribed to. It has what it needs to know at hand: the store's questions."""

    def __init__(
        self, arrivals: Arrivals, mail: Mailbox, threads: Threads, roster: Roster, subscriptions: Subscriptions
    ) -> None:
        self._arrivals, self._mail, self._threads = arrivals, mail, threads
        self._roster, self._subscriptions = roster, subscriptions

    def notices(self, agent_id: str, session_id: str, cursor: Cursor) -> Notices:
        """What arrived since `cursor` for a session of an agent: about `AT_ONCE` messages at most."""
        now = self._arrivals.cursor()
        if not self.is_open(agent_id, session_id):
            return Notices([], now, True)
        wanted = self._subscriptions.of(session_id)
        if not wanted:
            return Notices([], now, False)
        arrived, reached = self._arrivals.since(cursor, now, agent_id, AT_ONCE)
        items = [item for one in arrived for item in self._tell(agent_id, wanted, one)]
        return Notices(items, reached, False, reached is not now)

    def is_open(self, agent_id: str, session_id: str) -> bool:
        """Whether an agent has that session, and it has not ended."""
        session = self._roster.session(session_id)
        return session is not None and session["agent_id"] == agent_id and session["ended_at"] is None

    def _tell(self, agent_id: str, wanted: list[Subscription], arrived: Arrival) -> list[Json]:
        message = self._mail.get(arrived.message_id)
        if message is None or message.get("authored_by") == agent_id:
            return []
        agent = self._roster.agent(agent_id)
        role = agent["role"] if agent else ""
        matched = ((one, one.matches(message["scopes"], message["refs"], agent_id, role)) for one in wanted)
        first = next(((one, why) for one, why in matched if why), None)
        if first is None:
            return []
        told: Json = {"method": "notification.message", "params": self._describe(message, arrived, *first)}
        thread_id = message.get("thread_id", "")
        if not thread_id or agent_id not in self._mail.participants(thread_id):
            return [told]
        return [told, {"method": "notification.thread.updated", "params": self._thread(agent_id, thread_id, told)}]

    def _describe(self, message: Json, arrived: Arrival, subscription: Subscription, why: str) -> Json:
        params = {
            "message_id": message["message_id"],
            "thread_id": message.get("thread_id", ""),
            "author": self._author(message["agent_id"]),
            "preview": preview(message["body"]["content"]),
            "scopes": message["scopes"],
            "matched_subscription": {"subscription_id": subscription.id, "match_type": why},
            "timestamp": message["updated_at"] if arrived.edit else message["created_at"],
            "event_id": arrived.edit or message["event_id"],
            "to": message["to"],
            "priority": message["priority"],
        }
        params.update({name: message[name] for name in ("authored_by", "disclosed") if name in message})
        return {**params, "edited": True} if arrived.edit else params

    def _author(self, agent_id: str) -> Json:
        agent = self._roster.agent(agent_id) or {}
        known = {name: agent[name] for name in ("role", "module") if agent.get(name)}
        return {"agent_id": agent_id, "name": agent_id, **known}

    def _thread(self, agent_id: str, thread_id: str, told: Json) -> Json:
        """How a thread stands for an agent that was just `told` of a message in it."""
        summary = self._threads.summary(thread_id)
        shown = ("thread_id", "message_count", "last_activity", "last_sender", "preview")
        unread = self._threads.unread(agent_id, [thread_id]).get(thread_id, 0)
        return {
            **{name: summary[name] for name in shown},
            "unread_count": unread,
            "timestamp": told["params"]["timestamp"],
        }
