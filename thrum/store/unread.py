"""What an agent has not read: the one predicate, and what is remembered so that nobody has to look at everything for it.

Unread is what the inbox shows (`VISIBLE`) and no mark is there for (`READ`). Two things are remembered of everyone who ever
read: how much of the inbox has a mark (the table `seen`, by which the count is a subtraction), and spans of time in which
nothing is unread (`skip`), over which whoever looks for a page leaps. A mark is never taken back, so a span ends only where
mail is filed into it, or a role brings some. Any set of true spans gives the same answers; these are what was found.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from thrum.core import clock, routing
from thrum.store.stated import Stated

ADDRESSES = ("a0", "a1", "a2", "a3")
VISIBLE = (
    "m.agent_id <> :me AND EXISTS (SELECT 1 FROM audience a WHERE a.address IN (:a0, :a1, :a2, :a3) "
    "AND a.at = m.at AND a.message_id = m.message_id)"
)
READ = "EXISTS (SELECT 1 FROM read_mark r WHERE r.message_id = {id} AND r.agent_id = :me)"
_LONG = 64
"""Messages; shorter runs of read ones are not worth a span."""
_FEW = 1000
"""Unread messages; where there are not so many, spans lie between them."""
_SPAN = "c.at BETWEEN :lo AND :hi"
INBOX = tuple(f"audience c WHERE c.address = :{address} AND c.author <> :me" for address in ADDRESSES)
"""The inbox, as rows `c` of the table `audience`; what several of these hold counts once."""
_IN_SPAN = " UNION ".join(f"SELECT c.at, c.message_id FROM {part} AND {_SPAN}" for part in INBOX)
_UNREAD = " UNION ".join(
    f"SELECT c.at, c.message_id FROM {part} AND {_SPAN} AND NOT {READ.format(id='c.message_id')}" for part in INBOX
)
_ALL = " UNION ".join(f"SELECT c.at, c.message_id, {READ.format(id='c.message_id')} FROM {part}" for part in INBOX)
_BELOW = "SELECT lo, hi FROM skip WHERE agent_id = ? AND hi < ? ORDER BY hi DESC LIMIT 1"
_ABOVE = "SELECT lo, hi FROM skip WHERE agent_id = ? AND hi >= ? ORDER BY hi LIMIT 1"
Arguments = dict[str, Any]
Span = tuple[int, int]


def arguments(sql: sqlite3.Connection, agent_id: str) -> Arguments:
    """The named arguments of the predicates for an agent."""
    role = sql.execute("SELECT role FROM agent WHERE agent_id = ?", (agent_id,)).fetchone()
    named = list(routing.addresses(agent_id, role[0] if role else ""))
    named += [""] * (4 - len(named))
    return {"me": agent_id, **dict(zip(ADDRESSES, named, strict=True))}


def seen(sql: sqlite3.Connection, agent_id: str) -> int:
    """How many messages of an agent's inbox it has read."""
    found = sql.execute("SELECT messages FROM seen WHERE agent_id = ?", (agent_id,)).fetchone()
    return int(found[0]) if found else 0


def spans(sql: sqlite3.Connection, agent_id: str, *, ascending: bool = False) -> Iterator[Span]:
    """Every span of time in which something may be unread; both ends belong to it."""
    hi, lo = clock.LATEST, 0
    order = "ASC" if ascending else "DESC"
    for first, last in sql.execute(f"SELECT lo, hi FROM skip WHERE agent_id = ? ORDER BY hi {order}", (agent_id,)):
        if ascending:
            yield lo, first - 1
            lo = last + 1
        else:
            yield last + 1, hi
            hi = first - 1
    yield lo, hi


class Readers:
    """Keeps `seen` and `skip` right while rows move, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, *, is_whole: bool) -> None:
        """`is_whole`: everything is folded; then all of it is computed once, at the end."""
        self.sql, self._is_whole = connection, is_whole
        self._before: dict[tuple[str, str], bool] = {}
        """Of every message and agent between whom something moves: whether it counted as seen before."""
        self._filed: dict[tuple[str, int], None] = {}
        self._marked: dict[str, list[str]] = {}

    def mark(self, agent_id: str, message_ids: Sequence[str]) -> None:
        """Marks messages as read by an agent."""
        self._marked.setdefault(agent_id, [])
        rows = [(message_id, agent_id) for message_id in message_ids]
        if self._is_whole:
            self.sql.executemany(_MARK, rows)
            return
        for row in rows:
            if self.sql.execute(_MARK, row).rowcount:
                self._before.setdefault(row, False)
                self._marked[agent_id].append(row[0])

    def touch(self, message_id: str) -> None:
        """To be called before a message is filed anywhere, or taken out from there."""
        if not self._is_whole:
            query = "SELECT agent_id FROM read_mark WHERE message_id = ?"
            for (agent_id,) in self.sql.execute(query, (message_id,)).fetchall():
                self._look(message_id, agent_id)

    def file(self, rows: Iterable[tuple[str, int, str, str]]) -> None:
        """To be told which rows of the table `audience` are new: nothing says that they are read."""
        if not self._is_whole:
            self._filed.update({(address, at): None for address, at, _, _ in rows})

    def file_new(self, rows: Sequence[tuple[str, int, str, str]]) -> None:
        """To be told, before they are stored, which rows messages have that nobody had yet."""
        if not self._is_whole:
            for row in rows:
                self.touch(row[2])
            self.file(rows)

    def change_roles(self, batch: Sequence[Stated]) -> None:
        """To be called before agents are registered: what is filed under a role may become their mail, or no longer be."""
        if self._is_whole:
            return
        for stated in batch:
            agent_id = stated.event["agent_id"]
            role = self.sql.execute("SELECT role FROM agent WHERE agent_id = ?", (agent_id,)).fetchone()
            for name in {stated.event["role"], role[0] if role else ""}:
                query = "SELECT at, message_id FROM audience WHERE address = ?"
                for at, message_id in self.sql.execute(query, ("@" + name,)).fetchall():
                    self._look(message_id, agent_id)
                    self._filed["@" + name, at] = None

    def finish(self) -> None:
        """Makes what is remembered agree with the rows."""
        if self._is_whole:
            for agent_id in self._marked:
                self._survey(agent_id)
        else:
            self._count()
            self._open_spans()
            for agent_id, message_ids in self._marked.items():
                self._close_spans(agent_id, message_ids)
        self._before.clear()
        self._filed.clear()
        self._marked.clear()

    def _look(self, message_id: str, agent_id: str) -> None:
        if (message_id, agent_id) not in self._before:
            self._before[message_id, agent_id] = self._is_seen(message_id, agent_id)

    def _is_seen(self, message_id: str, agent_id: str) -> bool:
        query = f"SELECT 1 FROM message m WHERE m.message_id = :id AND {VISIBLE} AND {READ.format(id=':id')}"
        asked = {**arguments(self.sql, agent_id), "id": message_id}
        return self.sql.execute(query, asked).fetchone() is not None

    def _count(self) -> None:
        moved: dict[str, int] = {}
        for (message_id, agent_id), before in self._before.items():
            moved[agent_id] = moved.get(agent_id, 0) + self._is_seen(message_id, agent_id) - before
        for agent_id, number in moved.items():
            self.sql.execute(_SEE, (agent_id, number))

    def _open_spans(self) -> None:
        """Ends spans where something was filed."""
        if not self._filed:
            return
        for (agent_id,) in self.sql.execute("SELECT agent_id FROM seen").fetchall():
            last = self.sql.execute("SELECT MAX(hi) FROM skip WHERE agent_id = ?", (agent_id,)).fetchone()[0]
            for address, at in self._filed if last is not None else ():
                if at <= last and (address == agent_id or address[0] in "*@"):
                    self._open_span(agent_id, at)

    def _open_span(self, agent_id: str, at: int) -> None:
        found = self.sql.execute(_ABOVE, (agent_id, at)).fetchone()
        if found is not None and found[0] <= at:
            self.sql.execute("DELETE FROM skip WHERE agent_id = ? AND hi = ?", (agent_id, found[1]))
            for lo, hi in ((found[0], at - 1), (at + 1, found[1])):
                if lo <= hi:
                    self.sql.execute("INSERT INTO skip VALUES (?, ?, ?)", (agent_id, hi, lo))

    def _close_spans(self, agent_id: str, message_ids: Sequence[str]) -> None:
        """Widens the spans around messages that were marked."""
        asked = arguments(self.sql, agent_id)
        query = "SELECT at FROM message WHERE message_id = ?"
        found = (self.sql.execute(query, (message_id,)).fetchone() for message_id in message_ids)
        lowest = clock.LATEST + 1
        for at in sorted({row[0] for row in found if row}, reverse=True):
            if at < lowest:
                lowest = self._close_span(asked, at)

    def _close_span(self, asked: Arguments, at: int) -> int:
        """Makes the widest span around an instant one in which nothing is unread; where that begins."""
        agent_id = asked["me"]
        below = self.sql.execute(_BELOW, (agent_id, at)).fetchone()
        above = self.sql.execute(_ABOVE, (agent_id, at)).fetchone()
        if above and above[0] <= at:
            return int(above[0])
        floor, ceiling = below[1] + 1 if below else 0, above[0] - 1 if above else clock.LATEST
        older, newer = self._unread(asked, floor, at, "DESC"), self._unread(asked, at, ceiling, "ASC")
        if older == at:
            return at
        lo = older + 1 if older is not None else below[0] if below else 0
        hi = newer - 1 if newer is not None else above[1] if above else self._newest(asked, at)
        joined = [span for span, met in ((below, older), (above, newer)) if span and met is None]
        if joined or self._is_long(asked, lo, hi):
            for span in joined:
                self.sql.execute("DELETE FROM skip WHERE agent_id = ? AND hi = ?", (agent_id, span[1]))
            self.sql.execute("INSERT INTO skip VALUES (?, ?, ?)", (agent_id, hi, lo))
        return int(lo)

    def _unread(self, asked: Arguments, lo: int, hi: int, order: str) -> int | None:
        """When the first unread message of a span was written, from its one end or the other."""
        query = f"{_UNREAD} ORDER BY 1 {order}, 2 {order} LIMIT 1"
        found = self.sql.execute(query, {**asked, "lo": lo, "hi": hi}).fetchone()
        return int(found[0]) if found else None

    def _newest(self, asked: Arguments, at: int) -> int:
        """When the newest mail was written, from `at` on: beyond it, mail is still to come."""
        query = f"{_IN_SPAN} ORDER BY 1 DESC, 2 DESC LIMIT 1"
        found = self.sql.execute(query, {**asked, "lo": at, "hi": clock.LATEST}).fetchone()
        return int(found[0]) if found else at

    def _is_long(self, asked: Arguments, lo: int, hi: int) -> bool:
        query = f"{_IN_SPAN} ORDER BY 1, 2 LIMIT 1 OFFSET {_LONG - 1}"
        return self.sql.execute(query, {**asked, "lo": lo, "hi": hi}).fetchone() is not None

    def _survey(self, agent_id: str) -> None:
        """Looks at an agent's whole inbox once."""
        asked = arguments(self.sql, agent_id)
        number, found = self._glance(asked) or self._read_through(asked)
        self.sql.execute(_SEE, (agent_id, number))
        self.sql.executemany("INSERT INTO skip VALUES (?, ?, ?)", [(agent_id, hi, lo) for lo, hi in found])

    def _glance(self, asked: Arguments) -> tuple[int, list[Span]] | None:
        """How much is read, and spans of it, where little is unread and nothing was addressed to a word."""
        if self.sql.execute("SELECT 1 FROM audience WHERE address IN (:a2, :a3) LIMIT 1", asked).fetchone():
            return None
        whole = {**asked, "lo": 0, "hi": clock.LATEST, "few": _FEW}
        unread = [row[0] for row in self.sql.execute(f"{_UNREAD} ORDER BY 1, 2 LIMIT :few", whole)]
        if len(unread) == _FEW:
            return None
        # Without words, nothing is filed under more than one address of an agent.
        number = sum(self.sql.execute(f"SELECT COUNT(*) FROM {part}", asked).fetchone()[0] for part in INBOX)
        ends = [-1, *unread, self._newest(asked, 0) + 1]
        spans = [(before + 1, after - 1) for before, after in pairwise(ends)]
        return number - len(unread), [(lo, hi) for lo, hi in spans if lo <= hi and self._is_long(asked, lo, hi)]

    def _read_through(self, asked: Arguments) -> tuple[int, list[Span]]:
        """The same, by reading everything."""
        number = run = lo = last = 0
        found = list[Span]()
        for last, _, is_read in self.sql.execute(f"{_ALL} ORDER BY 1, 2", asked):
            if is_read:
                run += 1
                continue
            if run >= _LONG and lo < last:
                found.append((lo, last - 1))
            number, run, lo = number + run, 0, last + 1
        if run >= _LONG and lo <= last:
            found.append((lo, last))
        return number + run, found


_MARK = "INSERT OR IGNORE INTO read_mark VALUES (?, ?)"
_SEE = "INSERT INTO seen VALUES (?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"
