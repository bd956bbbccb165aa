"""Every question about messages and threads, each asked in one place.

Messages come in canonical order: by time, then id, the same on every machine. What is unread, and whom a message reaches, is
decided by the one predicate in `core.routing` and its SQL twin in unread.py.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from thrum.core import clock, ids, routing
from thrum.core.codec import decode
from thrum.core.selection import Filter
from thrum.store import unread
from thrum.store.listing import Listing
from thrum.store.stated import version_of

Json = dict[str, Any]
_UNREAD = Filter(unread=True)


class Page(NamedTuple):
    """Messages, and how many there are on all pages."""

    messages: list[Json]
    total: int


class Mailbox:
    """Questions about messages, asked of the connection that `connect` gives."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect

    def page(
        self,
        agent_id: str,
        wanted: Filter,
        size: int,
        number: int,
        *,
        ascending: bool = False,
        by_change: bool = False,
    ) -> Page:
        """Page `number` (from 1) of `size` messages for an agent ("" for nobody in particular).

        `by_change`: in the order they were written or last edited.
        """
        sql = self._connect()
        listing = Listing(sql, agent_id, wanted, self._deleted(agent_id) if wanted.with_deleted else ())
        total, skip = listing.total(), (number - 1) * size
        # Knowing how many there are, nobody looks for more to the end of a list.
        found = listing.ids(max(min(size, total - skip), 0), skip, ascending=ascending, by_change=by_change)
        return Page(self.summaries(found, agent_id), total)

    def unread_count(self, agent_id: str) -> int:
        """How many messages the agent has not read: the number every surface shows."""
        return Listing(self._connect(), agent_id, _UNREAD).total()

    def unread_ids(self, agent_id: str) -> list[str]:
        """The ids of all messages the agent has not read, oldest first."""
        return Listing(self._connect(), agent_id, _UNREAD).ids(clock.LATEST, 0, ascending=True)

    def owner(self, message_id: str) -> str:
        """The file stem of the one whose message it is: who alone may edit and delete it."""
        row = self._row(message_id)
        return str(row["owner"]) if row else ""

    def last_version(self, message_id: str) -> int:
        """The highest version of any edit of a message by its owner; 0 when there is none with a version."""
        query = "SELECT MAX(rank) FROM revision JOIN message USING (message_id, owner) WHERE message_id = ?"
        found = self._connect().execute(query, (message_id,)).fetchone()[0]
        return version_of(found) if found else 0

    def history(self, message_id: str) -> list[Json]:
        """Every text a message ever had, the first one first: `{content, structured?, edited_at}`."""
        row = self._row(message_id)
        if row is None:
            return []
        event = decode(row["line"])
        first = (event["body"]["content"], event["body"].get("structured"), event["timestamp"])
        query = "SELECT content, structured, edited_at FROM revision WHERE message_id = ? AND owner = ? ORDER BY rank"
        later = self._connect().execute(query, (message_id, row["owner"])).fetchall()
        names = ("content", "structured", "edited_at")
        versions = [dict(zip(names, version, strict=True)) for version in (first, *later)]
        return [{name: value for name, value in version.items() if value is not None} for version in versions]

    def get(self, message_id: str) -> Json | None:
        """One message with all it has; None if there is none. A unique beginning of its id is enough."""
        row = self._row(message_id)
        return _whole(row) if row else None

    def find_id(self, beginning: str) -> list[str]:
        """Up to ten ids that begin so; the exact one alone if it exists."""
        sql = self._connect()
        if sql.execute("SELECT 1 FROM message WHERE message_id = ?", (beginning,)).fetchone():
            return [beginning]
        query = "SELECT message_id FROM message WHERE message_id >= ? AND message_id < ? ORDER BY message_id LIMIT 10"
        return [row[0] for row in sql.execute(query, (beginning, beginning + "\x7f"))]

    def summaries(self, message_ids: Sequence[str], agent_id: str = "") -> list[Json]:
        """The messages of these ids, in that order, as a list shows them; `is_read` for `agent_id`, who has read its own."""
        sql, found = self._connect(), dict[str, Json]()
        for start in range(0, len(message_ids), 500):
            some = list(message_ids[start : start + 500])
            marks = ",".join("?" * len(some))
            read = "EXISTS (SELECT 1 FROM read_mark r WHERE r.message_id = m.message_id AND r.agent_id = ?)"
            query = f"SELECT m.*, m.agent_id = ? OR {read} AS is_read FROM message m WHERE m.message_id IN ({marks})"
            cursor = sql.execute(query, [agent_id, agent_id, *some])
            names = [column[0] for column in cursor.description]
            for values in cursor:
                row = dict(zip(names, values, strict=True))
                found[row["message_id"]] = _summary(row)
        return [found[message_id] for message_id in message_ids if message_id in found]

    def sent(self, agent_id: str, size: int, number: int) -> Page:
        """What an agent wrote, newest first, with who has read it; a user also wrote what it wrote in others' names."""
        sql = self._connect()
        where = "WHERE agent_id = :me" + (" OR owner = :owner" if agent_id.startswith("user:") else "")
        arguments = {"me": agent_id, "owner": ids.stem(agent_id), "size": size, "skip": (number - 1) * size}
        query = f"SELECT message_id FROM message {where} ORDER BY at DESC, message_id DESC LIMIT :size OFFSET :skip"
        found = [row[0] for row in sql.execute(query, arguments)]
        total = int(sql.execute(f"SELECT COUNT(*) FROM message {where}", arguments).fetchone()[0])
        messages = self.summaries(found)
        for message in messages:
            message["read_by"] = self.readers(message["message_id"])
        return Page(messages, total)

    def readers(self, message_id: str) -> list[str]:
        """Who has read a message, by name."""
        query = "SELECT agent_id FROM read_mark WHERE message_id = ? ORDER BY agent_id"
        return [row[0] for row in self._connect().execute(query, (message_id,))]

    def unmarked(self, agent_id: str, message_ids: Sequence[str]) -> list[str]:
        """Those of `message_ids` that exist, are not the agent's own and are not marked read by it yet; each once."""
        query = (
            "SELECT 1 FROM message m WHERE m.message_id = ?1 AND m.agent_id <> ?2 AND NOT EXISTS "
            "(SELECT 1 FROM read_mark r WHERE r.message_id = ?1 AND r.agent_id = ?2)"
        )
        sql = self._connect()
        return [m for m in dict.fromkeys(message_ids) if sql.execute(query, (m, agent_id)).fetchone()]

    def place_of(self, message_id: str) -> tuple[str, int] | None:
        """The log file a message stands in, and the offset behind its line; None if unknown."""
        query = "SELECT path, ends FROM message WHERE message_id = ?"
        row = self._connect().execute(query, (message_id,)).fetchone()
        return (row[0], row[1]) if row else None

    def thread(self, thread_id: str) -> Json | None:
        """A thread's title, creator and time; None if nobody created it."""
        query = "SELECT thread_id, title, created_by, created_at FROM thread WHERE thread_id = ?"
        row = self._connect().execute(query, (thread_id,)).fetchone()
        return dict(zip(("thread_id", "title", "created_by", "created_at"), row, strict=True)) if row else None

    def latest_in(self, thread_id: str, until: int) -> int:
        """When the latest message of a thread was written, of those not later than `until` (nanoseconds); 0 if none was."""
        query = "SELECT COALESCE(MAX(at), 0) FROM message WHERE thread_id = ? AND at <= ?"
        return int(self._connect().execute(query, (thread_id, until)).fetchone()[0])

    def participants(self, thread_id: str) -> list[str]:
        """Who takes part in a thread."""
        query = "SELECT agent_id FROM participant WHERE thread_id = ? ORDER BY agent_id"
        return [row[0] for row in self._connect().execute(query, (thread_id,))]

    def bad_lines(self) -> list[Json]:
        """Every line that was set aside: path, offset, length, reason."""
        rows = self._connect().execute("SELECT path, offset, length, reason FROM bad_line ORDER BY path, offset")
        return [dict(zip(("path", "offset", "length", "reason"), row, strict=True)) for row in rows]

    def _row(self, message_id: str) -> Json | None:
        cursor = self._connect().execute("SELECT * FROM message WHERE message_id = ?", (message_id,))
        values = cursor.fetchone()
        return dict(zip([c[0] for c in cursor.description], values, strict=True)) if values else None

    def _deleted(self, agent_id: str) -> list[str]:
        """The deleted messages that an inbox would show if they were not."""
        arguments = unread.arguments(self._connect(), agent_id)
        addresses = {arguments[name] for name in unread.ADDRESSES}
        query = "SELECT message_id, agent_id, thread_id, line FROM message WHERE deleted_at IS NOT NULL"
        threads = {
            row[0]
            for row in self._connect().execute("SELECT thread_id FROM participant WHERE agent_id = ?", (agent_id,))
        }
        return [
            message_id
            for message_id, author, thread_id, line in self._connect().execute(query)
            if author != agent_id and (thread_id in threads or not addresses.isdisjoint(routing.audience(decode(line))))
        ]


def _summary(row: Json) -> Json:
    event = decode(row["line"])
    message = {
        "message_id": row["message_id"],
        "thread_id": row["thread_id"],
        "agent_id": row["agent_id"],
        "body": _body(row, event["body"]),
        "created_at": event["timestamp"],
        "updated_at": row["updated_at"],
        "deleted": row["deleted_at"] is not None,
        "is_read": bool(row.get("is_read")),
        "priority": row["priority"],
        "scopes": event.get("scopes") or [],
        "refs": event.get("refs") or [],
        "to": list(routing.audience(event)),
        "authored_by": event.get("authored_by") or None,
        "disclosed": bool(event.get("disclosed")) if event.get("authored_by") else None,
    }
    return {name: value for name, value in message.items() if value is not None}


def _whole(row: Json) -> Json:
    summary, event = _summary(row), decode(row["line"])
    summary.pop("is_read")
    writer = summary.get("authored_by") or row["agent_id"]
    metadata = {
        "deleted_at": row["deleted_at"],
        "deleted_by": writer if row["deleted_at"] else None,
        "delete_reason": row["delete_reason"],
    }
    return {
        **summary,
        "event_id": event.get("event_id") or "",
        "author": {"agent_id": row["agent_id"], "session_id": event.get("session_id") or ""},
        "metadata": {name: value for name, value in metadata.items() if value},
        "edits": row["edits"],
    }


def text_of(line: bytes, content: str | None) -> str:
    """A message's text as it is now: its last revision's, else what the line says that created it."""
    return str(decode(line)["body"]["content"]) if content is None else content


def _body(row: Json, written: Json) -> Json:
    """The text as it is now: the last revision's, else as it was written; none of a deleted message."""
    kind = written.get("format") or "markdown"
    if row["deleted_at"] is not None:
        return {"format": kind, "content": ""}
    now = row if row["edits"] else written
    body = {"format": kind, "content": now["content"]}
    return {**body, "structured": now["structured"]} if now.get("structured") else body
