"""In which order messages, and what changed of them, came in here; and where somebody has got to in that.

The order is this database's own. Up to `bulk` it was built from the logs all at once, and there only a message's time tells
what came after what.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from thrum.core import clock
from thrum.core.codec import decode
from thrum.core.ids import ALPHABET
from thrum.store import unread
from thrum.store.unread import VISIBLE

_MILLISECOND = 1_000_000


class Cursor(NamedTuple):
    """How far somebody has heard: up to a message's and a change's number in one generation of the database.

    In any other generation those numbers mean nothing; then what is later than `instant` (nanoseconds) is news.
    """

    generation: int
    seq: int
    changes: int
    instant: int


class Arrival(NamedTuple):
    """A message that came in; `edit` is the id of the event that changed it, "" for a new one."""

    message_id: str
    edit: str


class Arrivals:
    """Questions about what came in, asked of the connection that `connect` gives, in its present `generation`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], generation: Callable[[], int]) -> None:
        self._connect, self._generation = connect, generation
        self._last: Cursor | None = None

    def cursor(self) -> Cursor:
        """Where arrival stands now; the same cursor as long as nothing comes."""
        sql = self._connect()
        query = "SELECT (SELECT COALESCE(MAX(seq), 0) FROM message), (SELECT COALESCE(MAX(seq), 0) FROM change)"
        seq, changes = sql.execute(query).fetchone()
        at = self._generation(), seq, changes
        if self._last is None or self._last[:3] != at:
            self._last = Cursor(*at, time.time_ns())
        return self._last

    def cursor_at(self, known_id: str) -> Cursor | None:
        """Just behind a message (by its id, or its event's) or an edit (by its event's id); None if there is no such thing."""
        sql = self._connect()
        edit = "SELECT c.after, c.seq, m.changed FROM change c JOIN message m USING (message_id) WHERE c.event_id = ?"
        found = sql.execute(edit, (known_id,)).fetchone()
        if found is None:
            earlier = "SELECT COALESCE(MAX(seq), 0) FROM change WHERE after < m.seq"
            message = f"SELECT seq, ({earlier}), at FROM message m WHERE seq = ?"
            found = sql.execute(message, (self._message(known_id),)).fetchone()
        if found is None:
            return None
        in_order = found[0] > self._bulk("bulk") or found[1] > self._bulk("bulk_changes")
        seq, changes, instant = found
        return Cursor(self._generation() if in_order else -1, seq, changes, instant or 0)

    def since(self, cursor: Cursor, until: Cursor, agent_id: str) -> list[Arrival]:
        """What came in between two cursors and an agent's inbox shows, in order; each message once, however often edited."""
        sql = self._connect()
        arguments = {
            **unread.arguments(sql, agent_id),
            "instant": cursor.instant,
            "top": until.seq,
            "last": until.changes,
        }
        if cursor.generation == self._generation():
            query, arguments["seq"], arguments["changes"] = _IN_ORDER, cursor.seq, cursor.changes
        else:
            query, arguments["seq"], arguments["changes"] = _BY_TIME, self._bulk("bulk"), self._bulk("bulk_changes")
        return [Arrival(*row[:2]) for row in sql.execute(query, arguments)]

    def _bulk(self, key: str) -> int:
        found = self._connect().execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return int(found[0]) if found else 0

    def _message(self, known_id: str) -> int | None:
        """The number of the message that has this id, or was created by the event that has it."""
        sql = self._connect()
        found = sql.execute("SELECT seq FROM message WHERE message_id = ?", (known_id,)).fetchone()
        if found:
            return int(found[0])
        return next((seq for seq, line in self._candidates(known_id) if _event_id(line) == known_id), None)

    def _candidates(self, event_id: str) -> Iterator[tuple[int, bytes]]:
        """Lines that may hold `event_id`: those of the millisecond that its ULID tells, then all in which it stands."""
        sql, instant = self._connect(), _instant(event_id)
        if instant is not None:
            query = "SELECT seq, line FROM message WHERE at >= ? AND at < ?"
            yield from sql.execute(query, (instant, instant + _MILLISECOND))
        yield from sql.execute("SELECT seq, line FROM message WHERE instr(line, ?)", (event_id.encode(),))


def _between(new: str, changed: str) -> str:
    return (
        f"SELECT m.message_id, '' AS edit, m.seq AS place, 0 AS number FROM message m "
        f"WHERE {new} AND m.seq <= :top AND {VISIBLE} UNION ALL "
        "SELECT m.message_id, c.event_id, c.after, MAX(c.seq) FROM change c JOIN message m USING (message_id) "
        f"WHERE {changed} AND NOT {new} AND c.seq <= :last AND m.deleted_at IS NULL AND c.event_id <> '' AND {VISIBLE} "
        "GROUP BY m.message_id ORDER BY place, number"
    )


_IN_ORDER = _between("m.seq > :seq", "c.seq > :changes")
_BY_TIME = _between("(m.seq > :seq OR m.at > :instant)", "(c.seq > :changes OR m.changed > :instant)")


def _event_id(line: bytes) -> Any:
    return decode(line).get("event_id")


def _instant(event_id: str) -> int | None:
    """The time in an id of ours, in nanoseconds; None if it holds none."""
    digits = event_id.partition("_")[2][:10].upper()
    if len(digits) < 10 or not set(digits) <= set(ALPHABET):
        return None
    value = 0
    for digit in digits:
        value = value * 32 + ALPHABET.index(digit)
    return value * _MILLISECOND if value < clock.LATEST // _MILLISECOND else None
