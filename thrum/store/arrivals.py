"""In which order messages, and what changed of them, came in here; and where somebody has got to in that.

The order is this database's own. Up to `bulk` it was built from the logs all at once, and there only a message's time tells
what came after what. It is told in pages, so that whoever was away for long gets it bit by bit.
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
_ALL = 2**62


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


class Page(NamedTuple):
    """Some of what came in, in order, and where to go on: at the cursor up to which was asked, when that was all."""

    arrivals: list[Arrival]
    cursor: Cursor


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

    def since(self, cursor: Cursor, until: Cursor, agent_id: str, limit: int = _ALL) -> Page:
        """What came in between two cursors and an agent's inbox shows: `limit` of it, and what bears the time of the last.

        Each message comes once as new, and once more when it was edited after that; how often it was edited is not told.
        """
        found: list[Arrival] = []
        while cursor is not until and len(found) < limit:
            read = self._in_order if cursor.generation == self._generation() else self._by_time
            some, cursor = read(cursor, until, agent_id, limit - len(found))
            found += some
        return Page(found, cursor)

    def _in_order(self, cursor: Cursor, until: Cursor, agent_id: str, limit: int) -> Page:
        between = {"seq": cursor.seq, "changes": cursor.changes, "top": until.seq, "last": until.changes}
        rows = self._ask(_IN_ORDER, agent_id, limit=limit, **between)
        if len(rows) < limit:
            return _page(rows, until)
        _, _, seq, number = rows[-1]
        query = "SELECT COALESCE(MAX(seq), 0) FROM change WHERE after < ?"
        changes = number or max(cursor.changes, self._connect().execute(query, (seq,)).fetchone()[0])
        return _page(rows, cursor._replace(seq=seq, changes=changes))

    def _by_time(self, cursor: Cursor, until: Cursor, agent_id: str, limit: int) -> Page:
        """Of what was there when the database was built; then it goes on in order."""
        bulk = {"seq": self._bulk("bulk"), "changes": self._bulk("bulk_changes"), "instant": cursor.instant}
        rows = self._ask(_BY_TIME, agent_id, limit=limit, latest=_ALL, **bulk)
        if len(rows) < limit:
            return _page(rows, Cursor(self._generation(), bulk["seq"], bulk["changes"], cursor.instant))
        latest = rows[-1][2]  # all of that instant: the next page begins behind it
        rows = self._ask(_BY_TIME, agent_id, limit=_ALL, latest=latest, **bulk)
        return _page(rows, cursor._replace(instant=latest))

    def _ask(self, query: str, agent_id: str, **arguments: int) -> list[tuple[str, str, int, int]]:
        sql = self._connect()
        return sql.execute(query, {**unread.arguments(sql, agent_id), **arguments}).fetchall()

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


def _page(rows: list[tuple[str, str, int, int]], cursor: Cursor) -> Page:
    return Page([Arrival(message_id, edit) for message_id, edit, _, _ in rows], cursor)


def _first(new: str, new_place: str, changed: str, changed_place: str) -> str:
    """The first rows `(message_id, edit, place, number)` of two kinds: new messages, and edits of those that are not new."""
    return (
        f"SELECT * FROM (SELECT m.message_id, '' AS edit, {new_place} AS place, 0 AS number FROM message m "
        f"WHERE {new} AND {VISIBLE} ORDER BY {new_place} LIMIT :limit) UNION ALL "
        f"SELECT m.message_id, c.event_id, {changed_place}, MAX(c.seq) FROM change c JOIN message m USING (message_id) "
        f"WHERE {changed} AND m.deleted_at IS NULL AND c.event_id <> '' AND {VISIBLE} GROUP BY m.message_id "
        "ORDER BY place, number LIMIT :limit"
    )


_IN_ORDER = _first(
    "m.seq > :seq AND m.seq <= :top",
    "m.seq",
    "c.seq > :changes AND c.seq <= :last AND NOT m.seq > :seq",
    "c.after",
)
_BY_TIME = _first(
    "m.at > :instant AND m.at <= :latest AND m.seq <= :seq",
    "m.at",
    "m.changed > :instant AND m.changed <= :latest AND c.seq <= :changes AND m.seq <= :seq AND NOT m.at > :instant",
    "m.changed",
)


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
