"""Every question about messages and threads, each asked in one place.

Messages come in canonical order: by time, then id, the same on every machine. What is unread, and whom a message reaches, is
decided by the one predicate in `core.routing` and its SQL twin `UNREAD_SINCE`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from thrum.core import ids, routing
from thrum.core.codec import decode
from thrum.core.selection import Filter
from thrum.store.fold_messages import UNREAD_SINCE, unread_arguments
from thrum.store.stated import version_of

Json = dict[str, Any]
_ANYONE = "SELECT at, message_id FROM message WHERE deleted_at IS NULL"
_ADDRESSES = ("a0", "a1", "a2", "a3")
_INBOX = " UNION ".join(
    f"SELECT at, message_id FROM audience WHERE address = :{a} AND author <> :me" for a in _ADDRESSES
)
_INBOX_TOP = " UNION ".join(
    f"SELECT * FROM (SELECT at, message_id FROM audience WHERE address = :{a} AND author <> :me "
    "ORDER BY at DESC, message_id DESC LIMIT :top)"
    for a in _ADDRESSES
)
VISIBLE = (
    "m.agent_id <> :me AND EXISTS (SELECT 1 FROM audience a WHERE a.address IN (:a0, :a1, :a2, :a3) "
    "AND a.at = m.at AND a.message_id = m.message_id)"
)
_DELETED = "m.message_id IN (SELECT value FROM json_each(:deleted))"
READ = "EXISTS (SELECT 1 FROM read_mark r WHERE r.message_id = m.message_id AND r.agent_id = :me)"


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
        sql, arguments = self._connect(), self._arguments(agent_id)
        arguments.update(_filter_arguments(wanted), size=size, skip=(number - 1) * size, top=number * size)
        if wanted.with_deleted:
            arguments["deleted"] = json.dumps(self._deleted(agent_id, arguments))
        source, conditions = _source(wanted), _conditions(wanted)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        body = f"FROM ({source}) c JOIN message m ON m.message_id = c.message_id{where}"
        order, time = "ASC" if ascending else "DESC", "COALESCE(m.changed, m.at)" if by_change else "c.at"
        if not (conditions or ascending or by_change) and source == _INBOX:
            body = f"FROM ({_INBOX_TOP}) c"
        query = f"SELECT c.message_id {body} ORDER BY {time} {order}, c.message_id {order} LIMIT :size OFFSET :skip"
        found = [row[0] for row in sql.execute(query, arguments)]
        total = self._total(agent_id, arguments) if "LIMIT :top" in body else _count(sql, body, arguments)
        return Page(self.summaries(found, agent_id), total)

    def unread_count(self, agent_id: str) -> int:
        """How many messages the agent has not read: the number every surface shows."""
        sql = self._connect()
        return _count(sql, f"FROM ({UNREAD_SINCE})", unread_arguments(sql, agent_id))

    def unread_ids(self, agent_id: str) -> list[str]:
        """The ids of all messages the agent has not read, oldest first."""
        sql = self._connect()
        query = f"SELECT message_id FROM ({UNREAD_SINCE}) ORDER BY at, message_id"
        return [row[0] for row in sql.execute(query, unread_arguments(sql, agent_id))]

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
        total = _count(sql, f"FROM message {where}", arguments)
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

    def _deleted(self, agent_id: str, arguments: Json) -> list[str]:
        """The deleted messages that an inbox would show if they were not."""
        addresses = {arguments[name] for name in _ADDRESSES}
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

    def _arguments(self, agent_id: str) -> Json:
        return unread_arguments(self._connect(), agent_id)

    def _total(self, agent_id: str, arguments: Json) -> int:
        """How many messages an inbox holds, from the running counts; only v0.1.0's mentions are counted one by one."""
        sql = self._connect()
        tally = dict(
            sql.execute(
                "SELECT address, messages FROM tally WHERE address IN ('*', '*' || :me, :me)", arguments
            ).fetchall()
        )
        query = (
            "SELECT COUNT(*) FROM (SELECT at, message_id FROM audience a WHERE address IN (:a2, :a3) AND author <> :me "
            "AND NOT EXISTS (SELECT 1 FROM audience b WHERE b.address = :me AND b.at = a.at AND b.message_id = a.message_id) "
            "GROUP BY at, message_id)"
        )
        mentioned = sql.execute(query, arguments).fetchone()[0]
        return int(tally.get("*", 0) - tally.get("*" + agent_id, 0) + tally.get(agent_id, 0) + mentioned)


def _source(wanted: Filter) -> str:
    for kind, pair in (("scopes", wanted.scope), ("refs", wanted.ref)):
        if pair:
            name = kind[:-1]
            return f"SELECT at, message_id FROM tag WHERE kind = '{kind}' AND type = :{name}_type AND value = :{name}_value"
    if wanted.unread:
        return UNREAD_SINCE
    if wanted.with_deleted:
        return "SELECT at, message_id FROM message"
    return _ANYONE if wanted.everything or wanted.with_own else _INBOX


def _conditions(wanted: Filter) -> list[str]:
    conditions = []
    visible = f"({VISIBLE} OR {_DELETED})" if wanted.with_deleted else VISIBLE
    if wanted.scope or wanted.ref:
        if not wanted.with_deleted:
            conditions.append("m.deleted_at IS NULL")
        if wanted.unread:
            conditions += [VISIBLE, f"NOT {READ}"]
        elif not wanted.everything:
            conditions.append(f"(m.agent_id = :me OR {visible})" if wanted.with_own else visible)
    elif not wanted.everything and not wanted.unread and (wanted.with_own or wanted.with_deleted):
        conditions.append(f"(m.agent_id = :me OR {visible})" if wanted.with_own else visible)
    if wanted.scope and wanted.ref:
        conditions.append(_tagged("refs", "ref"))
    if wanted.mention:
        words = ", ".join(f":mention{i}" for i in range(len(_spellings(wanted.mention))))
        conditions.append(
            "EXISTS (SELECT 1 FROM tag t WHERE t.kind = 'refs' AND t.type = 'mention' AND t.at = m.at "
            f"AND t.message_id = m.message_id AND t.value IN ({words}))"
        )
    for column, value in (("thread_id", wanted.thread_id), ("agent_id", wanted.author), ("priority", wanted.priority)):
        if value:
            conditions.append(f"m.{column} = :{column}")
    return conditions


def _spellings(words: tuple[str, ...]) -> list[str]:
    """Mentions are written with and without `@`."""
    return [spelling for word in words for spelling in (word, "@" + word)]


def _tagged(kind: str, name: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM tag t WHERE t.kind = '{kind}' AND t.type = :{name}_type AND t.value = :{name}_value "
        "AND t.at = m.at AND t.message_id = m.message_id)"
    )


def _filter_arguments(wanted: Filter) -> Json:
    arguments: Json = {"thread_id": wanted.thread_id, "agent_id": wanted.author, "priority": wanted.priority}
    for name, pair in (("scope", wanted.scope), ("ref", wanted.ref)):
        if pair:
            arguments[f"{name}_type"], arguments[f"{name}_value"] = pair
    for index, word in enumerate(_spellings(wanted.mention)):
        arguments[f"mention{index}"] = word
    return arguments


def _count(sql: sqlite3.Connection, body: str, arguments: Json) -> int:
    return int(sql.execute(f"SELECT COUNT(*) {body}", arguments).fetchone()[0])


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
