"""An event together with where it was stated: whose log, which clone's, and whether that log may say so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple

from thrum.core import clock, events, ids
from thrum.core.codec import BadLine, Event
from thrum.core.layout import LogPath


class Stated(NamedTuple):
    """`event` as stated in the log `source`; `ends`: the offset behind its line; `at`: its time in nanoseconds."""

    event: Event
    source: LogPath
    ends: int
    at: int
    line: bytes
    type: str

    @property
    def owner(self) -> str:
        """The file stem of whoever states it."""
        return self.source.owner

    @property
    def version(self) -> int:
        """The statement's own version; 0 in v0.1.0's logs."""
        return 0 if self.source.is_legacy else int(self.event.get("version") or self.event.get("seq") or 0)

    @property
    def rank(self) -> str:
        """What competing statements about one thing are ordered by; no clock decides between ours."""
        return rank(self.version, self.at, self.claim)

    @property
    def claim(self) -> str:
        """The event's id and its line's hash: tells two lines apart that claim one id."""
        return f"{self.event['event_id']} {hashlib.sha256(self.line).hexdigest()[:16]}"

    @property
    def is_proven(self) -> bool:
        """Whether the id of what it makes says that nobody else made it; v0.1.0's ids tell nothing."""
        prefix, name, author = _MADE[self.type]
        event, agent_id = self.event, str(self.event[author])
        if self.type == events.MESSAGE_CREATE:
            agent_id = str(event.get("authored_by") or agent_id)
        wanted = [ids.bound_id(prefix, agent_id, event["event_id"])]
        if event.get("request_id"):
            requested = ids.requested_message_id if prefix == "msg" else ids.requested_thread_id
            wanted.append(requested(agent_id, str(event["request_id"])))
        return not self.source.is_legacy and event[name] in wanted

    @property
    def standing(self) -> str:
        """What decides, first of all, between two that claim to have made the same thing: "0" for who proves it, else "1"."""
        return "0" if self.is_proven else "1"


_MADE = {
    events.MESSAGE_CREATE: ("msg", "message_id", "agent_id"),
    events.THREAD_CREATE: ("thr", "thread_id", "created_by"),
    events.SESSION_START: ("ses", "session_id", "agent_id"),
}


_OF_ONE = frozenset((events.MESSAGE_CREATE, events.MESSAGE_READ))
_OTHERS = frozenset(("authored_by", "created_by"))
"""Of what states one agent's doings nothing else names somebody who may not be the log's owner."""


def rank(version: int, at: int, claim: str) -> str:
    """A text that sorts by version, then (only for version 0) by time, then by event id and line."""
    return f"{version:016d} {0 if version else at:020d} {claim}"


def version_of(rank: str) -> int:
    """The version that a rank begins with."""
    return int(rank[:16])


def read(source: LogPath, ends: int, line: bytes, parse: Callable[[bytes], Event] = events.parse) -> Stated:
    """The statement on `line` of `source`. Raises BadLine if it is no event, or claims to be somebody else's."""
    event = parse(line)
    _check_voice(event, source)
    return Stated(event, source, ends, max(clock.instant(event["timestamp"]) or 0, 0), line, event["type"])


def _check_voice(event: Event, source: LogPath) -> None:
    """Raises BadLine when a log states what is not its owner's to state."""
    kind = event["type"]
    if kind in _OF_ONE and event["agent_id"] == source.owner and not (event.keys() & _OTHERS):
        return
    if source.path == "events.jsonl":
        if kind.startswith("message.") or kind == events.SESSION_UPDATE:
            raise BadLine(f"v0.1.0 states no {kind[:64]} here")
        return
    if kind == events.AGENT_CLEANUP:
        return
    agent_id, author = event.get("agent_id"), event.get("authored_by")
    if author and kind == events.MESSAGE_CREATE:
        _check_impersonation(str(agent_id), str(author), source)
        return
    if kind == events.SESSION_END and agent_id is None and not source.is_legacy:
        raise BadLine("does not say whose session ends")
    for claimed in (agent_id, event.get("created_by")):
        if claimed is not None and claimed != source.owner and ids.stem(claimed) != source.owner:
            raise BadLine(f"claims to be {claimed[:64]}'s")


def _check_impersonation(agent_id: str, author: str, source: LogPath) -> None:
    # A user may write in an agent's name: ours in the user's own log, v0.1.0 in the agent's.
    owner = agent_id if source.is_legacy else author
    if not author.startswith("user:") or ids.stem(owner) != source.owner:
        raise BadLine(f"claims to be {agent_id[:64]}'s, written by {author[:64]}")
