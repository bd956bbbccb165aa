"""What logs say, computed from the set of their lines in the plainest way: the read model has to come to the same.

It knows the lines that this program writes and those of a hostile writer in `tests/faults`, none of v0.1.0's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from thrum.core import clock, ids
from thrum.core.codec import BadLine, decode


class Said(NamedTuple):
    """A message as everybody has to see it; `to` is None for everyone."""

    author: str
    owner: str
    texts: frozenset[str]
    first: str
    is_deleted: bool
    thread: str | None
    to: tuple[str, ...] | None

    def is_for(self, agent_id: str) -> bool:
        """Whether it was addressed to an agent, by name or with everyone."""
        return self.author != agent_id and (self.to is None or agent_id in self.to)


class Oracle:
    """The logs' meaning: `messages` by id, `threads` by id with who takes part, `read` marks, `alive` agents."""

    def __init__(self, lines: Iterable[tuple[str, bytes]]) -> None:
        """`lines`: every line of every log with the name of the log's owner, in any order."""
        self._stated: list[tuple[str, bytes, dict[str, Any]]] = []
        for owner, line in lines:
            event = _event(owner, line)
            if event:
                self._stated.append((owner, line, event))
        self.threads = self._threads()
        self.messages = {message_id: self._said(*claims) for message_id, claims in self._claims().items()}
        self._join()
        marks = (event for _, _, event in self._of("message.read"))
        self.read = {(message_id, event["agent_id"]) for event in marks for message_id in event["message_ids"]}
        self.alive = self._alive()

    def unread(self, agent_id: str) -> set[str]:
        """The ids of what an agent has not read."""
        return {
            message_id
            for message_id, said in self.messages.items()
            if (said.is_for(agent_id) or self._is_in_thread_of(agent_id, said))
            and not said.is_deleted
            and (message_id, agent_id) not in self.read
        }

    def _is_in_thread_of(self, agent_id: str, said: Said) -> bool:
        return said.author != agent_id and agent_id in self.threads.get(said.thread or "", ())

    def _of(self, kind: str) -> list[tuple[str, bytes, dict[str, Any]]]:
        return [stated for stated in self._stated if stated[2]["type"] == kind]

    def _claims(self) -> dict[str, tuple[str, bytes, dict[str, Any]]]:
        """The create that counts of each message: whose id proves it, else the earliest, then the smallest line."""
        found: dict[str, tuple[str, bytes, dict[str, Any]]] = {}
        for stated in sorted(self._of("message.create"), key=_standing):
            found.setdefault(stated[2]["message_id"], stated)
        return found

    def _said(self, owner: str, line: bytes, event: dict[str, Any]) -> Said:
        message_id, first = event["message_id"], event["body"]["content"]
        edits = [e for who, _, e in self._of("message.edit") if e["message_id"] == message_id and who == owner]
        newest = max((e["version"] for e in edits), default=0)
        texts = {e["body"]["content"] for e in edits if e["version"] == newest} or {first}
        deleted = any(e["message_id"] == message_id and who == owner for who, _, e in self._of("message.delete"))
        named_after = "thr_" + message_id.removeprefix("msg_")
        thread = event.get("thread_id") or (named_after if named_after in self.threads else None)
        to = None if event.get("everyone") else tuple(event.get("to") or ())
        return Said(event["agent_id"], owner, frozenset(texts), first, deleted, thread, to)

    def _threads(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for _, _, event in self._of("thread.create"):
            found.setdefault(event["thread_id"], set()).add(event["created_by"])
        return found

    def _join(self) -> None:
        """Whoever speaks in a thread takes part, and whoever claimed an id that another claims too."""
        for said in self.messages.values():
            if said.thread:
                self.threads.setdefault(said.thread, set()).add(said.author)
        claimants: dict[str, set[bytes]] = {}
        for _, line, event in self._of("message.create"):
            if event.get("thread_id"):
                self.threads.setdefault(event["thread_id"], set()).add(event["agent_id"])
            claimants.setdefault(event["message_id"], set()).add(line)
        for _, _, event in self._of("message.create"):
            if len(claimants[event["message_id"]]) > 1:
                named_after = "thr_" + event["message_id"].removeprefix("msg_")
                self.threads.setdefault(named_after, set()).add(event["agent_id"])

    def _alive(self) -> set[str]:
        """Who is registered with a higher version than any deletion has."""
        gone = {}
        for _, _, event in self._of("agent.cleanup"):
            gone[event["agent_id"]] = max(gone.get(event["agent_id"], 0), event["version"])
        return {e["agent_id"] for _, _, e in self._of("agent.register") if e["version"] > gone.get(e["agent_id"], 0)}


def _standing(stated: tuple[str, bytes, dict[str, Any]]) -> tuple[bool, int | None, bytes]:
    _, line, event = stated
    author, request = event["agent_id"], event.get("request_id")
    proofs = {ids.bound_id("msg", author, event["event_id"])}
    proofs |= {ids.requested_message_id(author, request)} if request else set()
    return event["message_id"] not in proofs, clock.instant(event["timestamp"]), line


def _event(owner: str, line: bytes) -> dict[str, Any]:
    """The event on a line; {} where there is none, or it is not its owner's to state."""
    try:
        event = decode(line)
    except BadLine:
        return {}
    named = event.get("agent_id") or event.get("created_by") or owner
    is_own = named == owner or event.get("type") == "agent.cleanup"
    return event if is_own and isinstance(event.get("type"), str) else {}
