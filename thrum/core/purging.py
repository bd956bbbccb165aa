"""What a purge takes away: which lines are old enough to go, how an event names them, and a log file without them.

A purge names every line it takes by 72 bits of the line's SHA-256, so it takes what its author saw and nothing else: a message
that was written long ago and arrives tomorrow is new mail, whatever any clock says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from thrum.core import events
from thrum.core.codec import Event
from thrum.core.layout import parse_path
from thrum.core.union import split

MARK_BYTES = 9
"""Three bytes are four characters of base64, so marks can be put behind one another."""
PIECE = 2400
"""Marks in one event at most: it stays well below a segment."""
_ABOUT_ONE_MESSAGE = frozenset((events.MESSAGE_CREATE, events.MESSAGE_EDIT, events.MESSAGE_DELETE))
_OF_A_SESSION = frozenset((events.SESSION_START, events.SESSION_UPDATE, events.SESSION_END))


class Line(NamedTuple):
    """A line of a log: the file's path, the event on it, its time in nanoseconds, and its mark."""

    path: str
    event: Event
    at: int
    mark: bytes


class Purged(NamedTuple):
    """Everything that purges took: marks by file, put behind one another, and the first commits of histories that hold it.

    A purge is never taken back, so an equal `number` means the same purges.
    """

    number: int = 0
    marks: Mapping[str, bytes] = {}
    roots: frozenset[str] = frozenset()

    def of(self, path: str) -> frozenset[bytes]:
        """The marks of the lines that are gone from a file."""
        return unpack(self.marks.get(path, b""))


NOTHING = Purged()


def mark(line: bytes) -> bytes:
    """What a purge calls a line, which has no newline."""
    return hashlib.sha256(line).digest()[:MARK_BYTES]


def unpack(marks: bytes) -> frozenset[bytes]:
    """Single marks of many that stand behind one another."""
    return frozenset(marks[at : at + MARK_BYTES] for at in range(0, len(marks), MARK_BYTES))


def read_marks(written: str) -> bytes:
    """Marks as an event holds them. Raises ValueError when they are none."""
    try:
        marks = base64.b64decode(written, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if len(marks) % MARK_BYTES:
        raise ValueError("a mark is cut off")
    return marks


def without(data: bytes, gone: frozenset[bytes]) -> bytes:
    """The lines of a file except those that are gone; the file as it is when nothing is."""
    return b"".join(line + b"\n" for line in split(data) if mark(line) not in gone) if gone else data


def name(lines: Iterable[Line]) -> Iterator[dict[str, str]]:
    """What purge events say of the lines they take: `{path: marks}`, in pieces that fit into a line."""
    piece: dict[str, bytearray] = {}
    count = 0
    for line in lines:
        piece.setdefault(line.path, bytearray()).extend(line.mark)
        count += 1
        if count == PIECE:
            yield _written(piece)
            piece, count = {}, 0
    if piece:
        yield _written(piece)


def _written(piece: Mapping[str, bytearray]) -> dict[str, str]:
    return {path: base64.b64encode(marks).decode() for path, marks in sorted(piece.items())}


class Choice:
    """Which lines go when everything before `horizon` (nanoseconds) goes. Show it all lines with `look`, then ask `takes`.

    Messages go with all that was said about them, and threads with their last message; sessions that have ended go, and
    what an agent worked on, once it has stated something newer. Who an agent is stays, and so does what was said about a
    message that never came: the message may still come.
    """

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self._gone = set[str]()
        self._kept = set[str]()
        self._ended = set[str]()
        self._threads = set[str]()
        self._newest: dict[tuple[str, str], bytes] = {}

    def look(self, line: Line) -> None:
        """One line; in the order of their logs."""
        event, kind = line.event, line.event["type"]
        if kind == events.MESSAGE_CREATE:
            (self._gone if line.at < self.horizon else self._kept).add(event["message_id"])
            if line.at >= self.horizon:
                self._threads |= {event.get("thread_id") or "", "thr_" + event["message_id"].removeprefix("msg_")}
        elif kind == events.AGENT_UPDATE:
            self._newest[_log(line.path), event["agent_id"]] = line.mark
        elif kind == events.SESSION_END and line.at < self.horizon:
            self._ended.add(event["session_id"])

    def takes(self, line: Line) -> bool:
        """Whether a line goes."""
        event, kind = line.event, line.event["type"]
        if kind in _ABOUT_ONE_MESSAGE:
            return self._is_gone(event["message_id"])
        if kind == events.MESSAGE_READ:
            return all(map(self._is_gone, event["message_ids"]))
        if kind in _OF_A_SESSION:
            return event["session_id"] in self._ended
        if kind == events.AGENT_UPDATE:
            return line.at < self.horizon and self._newest.get((_log(line.path), event["agent_id"])) != line.mark
        return kind == events.THREAD_CREATE and line.at < self.horizon and event["thread_id"] not in self._threads

    def _is_gone(self, message_id: str) -> bool:
        return message_id in self._gone and message_id not in self._kept


def _log(path: str) -> str:
    source = parse_path(path)
    return source.log if source else path
