"""Messages, threads and read marks, folded into rows. The rows are a function of the set of events, not of their order.

If two claim one message's id, the create wins whose id proves it, else by (time, line); its text is its owner's
highest-ranked revision; its owner's deletion is final. So a statement may arrive before what it is about: it waits in its
table, and `settle` makes the message's row right whenever one of them moves.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from thrum.core import clock, layout, routing
from thrum.core.codec import Event, decode
from thrum.store.stated import Stated, read

_COLUMNS = "message_id, owner, agent_id, thread_id, everyone, at, priority, line, path, ends"
_INSERT = f"INSERT OR IGNORE INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FILE = "INSERT OR IGNORE INTO audience VALUES (?, ?, ?, ?)"
_MANY = 500
_EVERYONE = (routing.EVERYONE,)
_TAGGED = ("scopes", "refs")


class MessageFold:
    """Applies statements about messages to a database, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection
        self._lowest: dict[str, int] = {}
        self._marked: set[str] = set()

    def create(self, batch: Sequence[Stated]) -> None:
        """`message.create`: files each message under its audience; a second create of one id keeps the winner."""
        claims = {stated.event["message_id"]: stated for stated in batch}
        if len(claims) < len(batch):
            claims = self._weigh(batch)
        known = self._insert(list(claims.values()))
        for message_id in known:
            self._contest(claims.pop(message_id))
        fresh = list(claims)
        self._adopt_roots(fresh)
        self._join_threads([stated for stated in batch if stated.event.get("thread_id")])
        self.settle(self._among("revision", "message_id", fresh) | self._among("deletion", "message_id", fresh))

    def _weigh(self, batch: Sequence[Stated]) -> dict[str, Stated]:
        """The winner of each id that several messages of one batch claim."""
        claims: dict[str, Stated] = {}
        for stated in batch:
            message_id = stated.event["message_id"]
            other = claims.get(message_id)
            if other is not None and other.line != stated.line:
                self._join_claimants(message_id, other.event["agent_id"], stated.event["agent_id"])
            if other is None or claim(stated) < claim(other):
                claims[message_id] = stated
        return claims

    def edit(self, batch: Sequence[Stated]) -> None:
        """`message.edit`: one more revision."""
        self.sql.executemany(
            "INSERT OR IGNORE INTO revision VALUES (?, ?, ?, ?, ?, ?)",
            [
                (e["message_id"], s.owner, s.rank, e["timestamp"], e["body"]["content"], e["body"].get("structured"))
                for s in batch
                for e in (s.event,)
            ],
        )
        self._note_changes({stated.event["message_id"] for stated in batch})

    def delete(self, batch: Sequence[Stated]) -> None:
        """`message.delete`: the message leaves every inbox."""
        self.sql.executemany(
            "INSERT INTO deletion VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
            "deleted_at = excluded.deleted_at, reason = excluded.reason WHERE excluded.rank < rank",
            [(e["message_id"], s.owner, s.rank, e["timestamp"], e.get("reason")) for s in batch for e in (s.event,)],
        )
        self._note_changes({stated.event["message_id"] for stated in batch})

    def mark(self, batch: Sequence[Stated]) -> None:
        """`message.read`: the agent has read these."""
        rows = [(message_id, s.event["agent_id"]) for s in batch for message_id in s.event["message_ids"]]
        self.sql.executemany("INSERT OR IGNORE INTO read_mark VALUES (?, ?)", rows)
        self._marked.update(agent_id for _, agent_id in rows)

    def thread(self, batch: Sequence[Stated]) -> None:
        """`thread.create`: whose id proves it wins, else the earliest; its creator takes part."""
        self.sql.executemany(
            "INSERT INTO thread VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET title = excluded.title, "
            "created_by = excluded.created_by, created_at = excluded.created_at, at = excluded.at, "
            "claim = excluded.claim, scopes = excluded.scopes WHERE "
            "(substr(excluded.claim, 1, 1), excluded.at, excluded.claim) < (substr(claim, 1, 1), at, claim)",
            [
                (
                    e["thread_id"],
                    e["title"],
                    e["created_by"],
                    e["timestamp"],
                    s.at,
                    f"{s.standing} {s.claim}",
                    _scopes(e),
                )
                for s in batch
                for e in (s.event,)
            ],
        )
        for stated in batch:
            self._join(stated.event["thread_id"], stated.event["created_by"])
            self._adopt_root("msg_" + stated.event["thread_id"].removeprefix("thr_"))

    def settle(self, message_ids: Iterable[str]) -> list[str]:
        """Makes each message's row agree with its owner's revisions and deletion; the ids of those that did not."""
        changed = []
        for message_id in message_ids:
            found = self.sql.execute("SELECT owner FROM message WHERE message_id = ?", (message_id,)).fetchone()
            if found is not None:
                said_anew, deleted = self._settle_text(message_id, *found), self._settle_deletion(message_id, *found)
                changed += [message_id] if said_anew or deleted else []
        return changed

    def finish(self) -> None:
        """Brings every reader's floor (below it nothing is unread) in line with this batch."""
        for address, at in self._lowest.items():
            everybody = address[0] in "*@"
            where = "floor > ?" if everybody else "floor > ? AND agent_id = ?"
            self.sql.execute(
                f"UPDATE reader SET floor = ? WHERE {where}",
                (at, at) if everybody else (at, at, address),
            )
        for agent_id in self._marked:
            self._raise_floor(agent_id)
        self._lowest.clear()
        self._marked.clear()

    def _note_changes(self, message_ids: Iterable[str]) -> None:
        """Settles messages, and notes which of them are not what they were when they arrived."""
        for message_id in self.settle(sorted(message_ids)):
            self._note_change(message_id)

    def _note_change(self, message_id: str) -> None:
        query = (
            "INSERT INTO change (message_id, after, event_id) SELECT message_id, (SELECT MAX(seq) FROM message), "
            "COALESCE((SELECT rank FROM revision r WHERE r.message_id = m.message_id AND r.owner = m.owner "
            "ORDER BY rank DESC LIMIT 1), '') FROM message m WHERE message_id = ? RETURNING seq, event_id"
        )
        seq, rank = self.sql.execute(query, (message_id,)).fetchone()
        self.sql.execute("UPDATE change SET event_id = ? WHERE seq = ?", ((rank.split(" ") + [""] * 3)[2], seq))

    def _among(self, table: str, column: str, wanted: list[str]) -> set[str]:
        """Those of `wanted` that stand in a column of a table, which is mostly empty."""
        found: set[str] = set()
        if self.sql.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            for start in range(0, len(wanted), _MANY):
                some = wanted[start : start + _MANY]
                query = f"SELECT {column} FROM {table} WHERE {column} IN ({','.join('?' * len(some))})"
                found.update(row[0] for row in self.sql.execute(query, some))
        return found

    def _insert(self, batch: list[Stated]) -> list[str]:
        """Stores and files messages; the ids of those that were there already, which are left alone."""
        before = self.sql.total_changes
        self.sql.executemany(_INSERT, map(_row, batch))
        known = self._standing_elsewhere(batch) if self.sql.total_changes - before < len(batch) else []
        passed = set(known)
        self._file_messages([s for s in batch if s.event["message_id"] not in passed] if known else batch)
        return known

    def _standing_elsewhere(self, batch: list[Stated]) -> list[str]:
        """Ids of those messages whose row is not the one just stored."""
        query = "SELECT path, ends, line FROM message WHERE message_id = ?"
        rows = ((s.event["message_id"], (s.source.path, s.ends, s.line)) for s in batch)
        return [message_id for message_id, row in rows if self.sql.execute(query, (message_id,)).fetchone() != row]

    def _file_messages(self, batch: Sequence[Stated]) -> None:
        self._file(
            [
                (address, stated.at, stated.event["message_id"], stated.event["agent_id"])
                for stated in batch
                for address in routing.audience(stated.event)
                if address != stated.event["agent_id"]
            ]
        )
        tags = [
            (kind, pair["type"], pair["value"], stated.at, stated.event["message_id"])
            for stated in batch
            for kind in _TAGGED
            for pair in stated.event.get(kind) or ()
        ]
        if tags:
            self.sql.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?)", tags)

    def _adopt_roots(self, message_ids: list[str]) -> None:
        """Puts those messages into their threads that somebody answered before they arrived."""
        answered = self._among("thread", "thread_id", [_thread_from(message_id) for message_id in message_ids])
        for thread_id in answered:
            self._adopt_root("msg_" + thread_id.removeprefix("thr_"))

    def _adopt_root(self, message_id: str) -> None:
        """A thread made by the first reply is named after the message it answers: that one belongs to it too."""
        thread_id = _thread_from(message_id)
        query = "UPDATE message SET thread_id = ? WHERE message_id = ? AND thread_id IS NULL RETURNING agent_id"
        adopted = self.sql.execute(query, (thread_id, message_id)).fetchone()
        if adopted:
            self._file_in_thread(message_id)
            self._join(thread_id, adopted[0])

    def _contest(self, stated: Stated) -> None:
        """A message of this id is there already: the same line again, or another one that claims the id."""
        message_id = stated.event["message_id"]
        query = "SELECT path, ends, line, agent_id FROM message WHERE message_id = ?"
        path, ends, line, author = self.sql.execute(query, (message_id,)).fetchone()
        if line == stated.line:
            self._move(stated)
            return
        self._join_claimants(message_id, author, stated.event["agent_id"])
        if claim(stated) < claim(_again(path, ends, line)):
            self._replace(stated)

    def _join_claimants(self, message_id: str, *authors: str) -> None:
        """Whoever claims an id takes part in the thread named after it, whichever claim came first."""
        for author in authors:
            self._join(_thread_from(message_id), author)

    def _move(self, stated: Stated) -> None:
        """The same line was read again, in a file that was rewritten; of two that hold it the smaller path counts."""
        row = (stated.source.path, stated.ends, stated.event["message_id"], stated.source.path)
        self.sql.execute("UPDATE message SET path = ?, ends = ? WHERE message_id = ? AND path >= ?", row)

    def _replace(self, stated: Stated) -> None:
        message_id = stated.event["message_id"]
        self._unfile(message_id)
        self.sql.execute("DELETE FROM tag WHERE message_id = ?", (message_id,))
        self.sql.execute("DELETE FROM message WHERE message_id = ?", (message_id,))
        self._insert([stated])
        self._adopt_roots([message_id])
        if stated.event.get("thread_id"):
            self._file_in_thread(message_id)
        self.settle([message_id])
        self._note_change(message_id)

    def _unfile(self, message_id: str) -> None:
        """Takes a message out of every inbox."""
        query = "SELECT at, thread_id, line FROM message WHERE message_id = ?"
        at, thread_id, line = self.sql.execute(query, (message_id,)).fetchone()
        readers = self.sql.execute("SELECT agent_id FROM participant WHERE thread_id = ?", (thread_id,)).fetchall()
        self.sql.executemany(
            "DELETE FROM audience WHERE address = ? AND at = ? AND message_id = ?",
            [(address, at, message_id) for address in {*routing.audience(decode(line)), *(row[0] for row in readers)}],
        )

    def _join_threads(self, batch: list[Stated]) -> None:
        for stated in batch:
            self._file_in_thread(stated.event["message_id"])
            self._join(stated.event["thread_id"], stated.event["agent_id"])

    def _file_in_thread(self, message_id: str) -> None:
        """Files a message of a thread under everyone who takes part in it."""
        query = (
            "SELECT p.agent_id, m.at, m.message_id, m.agent_id FROM message m JOIN participant p USING (thread_id) "
            "WHERE m.message_id = ? AND m.deleted_at IS NULL AND NOT m.everyone AND p.agent_id <> m.agent_id"
        )
        self._file(self.sql.execute(query, (message_id,)).fetchall())

    def _join(self, thread_id: str, agent_id: str) -> None:
        """Makes an agent take part in a thread: all of its mail is the agent's from now on."""
        joined = self.sql.execute("INSERT OR IGNORE INTO participant VALUES (?, ?)", (thread_id, agent_id)).rowcount
        if joined:
            query = (
                "SELECT ?1, at, message_id, agent_id FROM message WHERE thread_id = ?2 AND deleted_at IS NULL "
                "AND NOT everyone AND agent_id <> ?1"
            )
            self._file(self.sql.execute(query, (agent_id, thread_id)).fetchall())

    def _file(self, rows: list[tuple[str, int, str, str]]) -> None:
        self.sql.executemany(_FILE, rows)
        lowest = self._lowest
        for address, at, _, _ in rows:
            if at < lowest.get(address, clock.LATEST):
                lowest[address] = at

    def _settle_text(self, message_id: str, owner: str) -> bool:
        where, who = "WHERE message_id = ? AND owner = ?", (message_id, owner)
        query = f"SELECT content, structured, edited_at FROM revision {where} ORDER BY rank DESC LIMIT 1"
        best = self.sql.execute(query, who).fetchone()
        if best is None:
            return False
        count = self.sql.execute(f"SELECT COUNT(*) FROM revision {where}", who).fetchone()[0]
        query = "UPDATE message SET content = ?, structured = ?, updated_at = ?, changed = ?, edits = ? "
        row = (*best, clock.instant(best[2]), count, message_id, count)
        return self.sql.execute(query + "WHERE message_id = ? AND edits <> ?", row).rowcount > 0

    def _settle_deletion(self, message_id: str, owner: str) -> bool:
        query = "SELECT deleted_at, reason FROM deletion WHERE message_id = ? AND owner = ?"
        deletion = self.sql.execute(query, (message_id, owner)).fetchone()
        if deletion is None:
            return False
        self._unfile(message_id)
        query = "UPDATE message SET deleted_at = ?1, delete_reason = ?2 WHERE message_id = ?3 "
        changed = self.sql.execute(query + "AND (deleted_at, delete_reason) IS NOT (?1, ?2)", (*deletion, message_id))
        return changed.rowcount > 0

    def _raise_floor(self, agent_id: str) -> None:
        self.sql.execute("INSERT OR IGNORE INTO reader VALUES (?, 0)", (agent_id,))
        found = self.sql.execute(UNREAD_SINCE + " ORDER BY at LIMIT 1", unread_arguments(self.sql, agent_id)).fetchone()
        floor = found[0] if found else clock.LATEST
        self.sql.execute("UPDATE reader SET floor = ? WHERE agent_id = ?", (floor, agent_id))


_UNREAD_AT = (
    "SELECT at, message_id FROM audience a WHERE a.address = :{address} AND a.at >= :floor AND a.author <> :me "
    "AND NOT EXISTS (SELECT 1 FROM read_mark r WHERE r.message_id = a.message_id AND r.agent_id = :me)"
)
UNREAD_SINCE = " UNION ".join(_UNREAD_AT.format(address=name) for name in ("a0", "a1", "a2", "a3"))
"""What is unread for an agent, as (at, message_id): the one predicate; its arguments come from `unread_arguments`."""


def unread_arguments(sql: sqlite3.Connection, agent_id: str) -> dict[str, Any]:
    """The named arguments of `UNREAD_SINCE` for an agent."""
    role = sql.execute("SELECT role FROM agent WHERE agent_id = ?", (agent_id,)).fetchone()
    floor = sql.execute("SELECT floor FROM reader WHERE agent_id = ?", (agent_id,)).fetchone()
    named = list(routing.addresses(agent_id, role[0] if role else ""))
    named += [""] * (4 - len(named))
    return {"me": agent_id, "floor": floor[0] if floor else 0, **{f"a{i}": name for i, name in enumerate(named)}}


def _scopes(event: Event) -> str:
    """A thread's scopes as JSON, each once, in an order of their own."""
    pairs = sorted({(pair["type"], pair["value"]) for pair in event.get("scopes") or ()})
    return json.dumps([{"type": type_, "value": value} for type_, value in pairs], ensure_ascii=False)


def _thread_from(message_id: str) -> str:
    return "thr_" + message_id.removeprefix("msg_")


def claim(stated: Stated) -> tuple[str, int, bytes]:
    """What decides between two creates of one message id: the smaller wins."""
    return stated.standing, stated.at, stated.line


def _again(path: str, ends: int, line: bytes) -> Stated:
    """The statement that a message's row was made from."""
    source = layout.parse_path(path)
    assert source is not None  # noqa: S101  # it was read from there
    return read(source, ends, line)


def _row(stated: Stated) -> tuple[Any, ...]:
    """What a `message.create` puts into the table `message`."""
    event, source, ends, at, line, _ = stated
    return (
        event["message_id"],
        source.owner,
        event["agent_id"],
        event.get("thread_id") or None,
        routing.audience(event) == _EVERYONE,
        at,
        event.get("priority") or "normal",
        line,
        source.path,
        ends,
    )
