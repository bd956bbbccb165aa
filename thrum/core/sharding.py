"""v0.1.0's oldest log, one file for everything, dealt out to the files its later versions keep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from thrum.core import events, ids, layout
from thrum.core.codec import BadLine, Event, decode

EVENTS = "events.jsonl"


def deal(lines: Iterable[bytes], authors: Mapping[str, str]) -> dict[str, list[bytes]]:
    """`{path: lines}`, each line where v0.1.0 would put it, in order: messages to their author's file, the rest to the events.

    `authors` names the file stems of messages that were created elsewhere. What cannot be placed (no event, a change of a
    message nobody wrote) goes to the events, where it has no effect, is reported, and is not lost.
    """
    whole = list(lines)
    known = {**authors, **authors_of(whole)}
    dealt: dict[str, list[bytes]] = defaultdict(list)
    for line in whole:
        dealt[_path(_event(line), known)].append(line)
    return dict(dealt)


def authors_of(lines: Iterable[bytes]) -> dict[str, str]:
    """`{message id: file stem}` of every message that is created on `lines`."""
    created = [event for event in map(_event, lines) if event.get("type") == events.MESSAGE_CREATE]
    return {
        event["message_id"]: ids.stem(event["agent_id"])
        for event in created
        if isinstance(event.get("message_id"), str) and isinstance(event.get("agent_id"), str)
    }


def _event(line: bytes) -> Event:
    try:
        return decode(line)
    except BadLine:
        return {}


def _path(event: Event, authors: Mapping[str, str]) -> str:
    kind, message_id = event.get("type"), event.get("message_id")
    if not isinstance(kind, str) or not kind.startswith("message.") or not isinstance(message_id, str):
        return EVENTS
    path = f"messages/{authors.get(message_id, '')}.jsonl"
    return path if layout.parse_path(path) else EVENTS
