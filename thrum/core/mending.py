"""Telling damage from news: which lines of a log are only what is left of lines that another copy still has.

A writer never writes one event twice, and never a line that is no event. So a line of ours that has the id of another line in a
trusted copy is damaged; and where that copy has a line that ours lacks, so is one that is no event, or differs in a few bytes.
"""

from __future__ import annotations

from thrum.core.codec import BadLine, Event, decode
from thrum.core.union import split

_FEW = 8
"""Bytes. Two lines that two writers gave one number differ in many more: each has an id and a time of its own."""


def damaged(ours: bytes, known: bytes) -> set[bytes]:
    """The lines of `ours` that are damaged copies of lines of `known`."""
    if known.startswith(ours) or ours.startswith(known):
        return set()
    here, there = set(split(ours)), set(split(known))
    extra, lost = here - there, there - here
    ids = {event.get("event_id") for event in map(_event, there if extra else ()) if event} - {None}
    lengths: dict[int, list[bytes]] = {}
    for line in lost:
        lengths.setdefault(len(line), []).append(line)
    return {line for line in extra if _is_damaged(line, ids, bool(lost), lengths.get(len(line), []))}


def is_event(line: bytes) -> bool:
    """Whether a damaged line may have had an effect."""
    return _event(line) is not None


def _is_damaged(line: bytes, ids: set[object], is_lacking: bool, alike: list[bytes]) -> bool:
    event = _event(line)
    if event is None:
        return is_lacking
    return event.get("event_id") in ids or any(_is_close(line, other) for other in alike)


def _is_close(one: bytes, other: bytes) -> bool:
    differing = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return sum(byte != 0 for byte in differing.to_bytes(len(one), "big")) <= _FEW


def _event(line: bytes) -> Event | None:
    try:
        found = decode(line)
    except BadLine:
        return None
    return found if isinstance(found.get("event_id"), str) else {**found, "event_id": None}
