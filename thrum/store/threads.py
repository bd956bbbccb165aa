"""Every question about threads: which there are, what was said in them last, what of it an agent has not read.

A thread is what somebody created, or what messages say they belong to. One that nobody created is named after its first
message.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from thrum.core import clock
from thrum.core.codec import decode
from thrum.core.excerpt import preview
from thrum.store import unread
from thrum.store.mailbox import text_of
from thrum.store.unread import READ, VISIBLE

Json = dict[str, Any]
_TITLE = 80
_SCOPED = (
    "k.thread_id IN (SELECT t.thread_id FROM thread t, json_each(t.scopes) s "
    "WHERE json_extract(s.value, '$.type') = :type AND json_extract(s.value, '$.value') = :value UNION "
    "SELECT m.thread_id FROM tag JOIN message m USING (message_id) WHERE tag.kind = 'scopes' AND tag.type = :type "
    "AND tag.value = :value AND m.thread_id IS NOT NULL AND m.deleted_at IS NULL)"
)
_SHOWN_TITLE = (
    "CASE WHEN EXISTS (SELECT 1 FROM message m WHERE m.message_id = 'msg_' || substr(t.thread_id, 5) "
    "AND m.deleted_at IS NOT NULL) THEN '(deleted)' ELSE t.title END"
)
"""The title of a thread that a reply made is the beginning of the message it answers, and goes with it."""


class Pages(NamedTuple):
    """Some of a list, and how many there are in all."""

    items: list[Json]
    total: int


class Threads:
    """Questions about threads, asked of the connection that `connect` gives."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect

    def page(self, agent_id: str, scope: tuple[str, str] | None, size: int, number: int) -> Pages:
        """Page `number` (from 1) of `size` threads, those with the latest activity first, with what `agent_id` has not read."""
        sql, where = self._connect(), f" WHERE {_SCOPED}" if scope else ""
        arguments: Json = {"size": size, "skip": (number - 1) * size}
        if scope:
            arguments["type"], arguments["value"] = scope
        query = f"SELECT thread_id FROM activity k{where} ORDER BY latest DESC, thread_id LIMIT :size OFFSET :skip"
        found = [row[0] for row in sql.execute(query, arguments)]
        total = sql.execute(f"SELECT COUNT(*) FROM activity k{where}", arguments).fetchone()[0]
        unread = self.unread(agent_id, found) if agent_id else {}
        threads = [{**self.summary(thread_id), "unread_count": unread.get(thread_id, 0)} for thread_id in found]
        return Pages(threads, int(total))

    def summary(self, thread_id: str) -> Json:
        """`{thread_id, title, created_by, created_at, scopes, message_count, last_activity, last_sender, preview}`."""
        sql = self._connect()
        query = "SELECT COUNT(*) FROM message WHERE thread_id = ? AND deleted_at IS NULL"
        count = sql.execute(query, (thread_id,)).fetchone()[0]
        described = self.get(thread_id) or {}
        query = (
            "SELECT at, agent_id, line, content FROM message WHERE thread_id = ? AND deleted_at IS NULL "
            "ORDER BY at DESC, message_id DESC LIMIT 1"
        )
        last = sql.execute(query, (thread_id,)).fetchone()
        created = clock.instant(described["created_at"]) or 0
        latest = max(last[0], created) if last else created
        said = {"last_sender": last[1], "preview": preview(text_of(last[2], last[3]))} if last else {}
        shown = {"last_activity": clock.text(latest), "last_sender": "", "preview": "", **said}
        return {**described, "message_count": int(count), **shown}

    def get(self, thread_id: str) -> Json | None:
        """`{thread_id, title, created_by, created_at, scopes}`; None when nobody created it and nothing is in it."""
        sql = self._connect()
        query = f"SELECT {_SHOWN_TITLE}, created_by, created_at, scopes FROM thread t WHERE thread_id = ?"
        row = sql.execute(query, (thread_id,)).fetchone()
        if row:
            title, created_by, created_at, scopes = row
            told = {"title": title, "created_by": created_by, "created_at": created_at, "scopes": json.loads(scopes)}
            return {"thread_id": thread_id, **told}
        query = "SELECT agent_id, line, content, deleted_at FROM message WHERE thread_id = ? ORDER BY at, message_id LIMIT 1"
        first = sql.execute(query, (thread_id,)).fetchone()
        return _named_after(thread_id, *first) if first else None

    def messages(self, thread_id: str, size: int, number: int) -> tuple[list[str], int]:
        """The ids on a page of a thread's messages, oldest first, the deleted ones among them; and how many there are."""
        sql = self._connect()
        query = "SELECT message_id FROM message WHERE thread_id = ? ORDER BY at, message_id LIMIT ? OFFSET ?"
        found = [row[0] for row in sql.execute(query, (thread_id, size, (number - 1) * size))]
        query = "SELECT COUNT(*) FROM message WHERE thread_id = ?"
        return found, int(sql.execute(query, (thread_id,)).fetchone()[0])

    def unread(self, agent_id: str, thread_ids: Sequence[str]) -> dict[str, int]:
        """How many messages of each thread an agent has not read; threads without any are left out."""
        sql = self._connect()
        arguments = {**unread.arguments(sql, agent_id), "threads": json.dumps(list(thread_ids))}
        query = (
            "SELECT m.thread_id, COUNT(*) FROM json_each(:threads) t JOIN message m ON m.thread_id = t.value "
            f"WHERE {VISIBLE} AND NOT {READ.format(id='m.message_id')} GROUP BY m.thread_id"
        )
        return dict(sql.execute(query, arguments).fetchall())

    def find_id(self, beginning: str) -> list[str]:
        """Up to ten ids of threads that begin so; the exact one alone if it exists."""
        if self.get(beginning):
            return [beginning]
        query = "SELECT thread_id FROM activity WHERE thread_id >= ? AND thread_id < ? ORDER BY thread_id LIMIT 10"
        return [row[0] for row in self._connect().execute(query, (beginning, beginning + "\x7f"))]


def _named_after(thread_id: str, agent_id: str, line: bytes, content: str | None, deleted_at: str | None) -> Json:
    """A thread that nobody created is as its first message."""
    lines = "" if deleted_at else text_of(line, content).strip()
    title = (lines.splitlines() or ["(deleted)"])[0][:_TITLE]
    told = {"title": title, "created_by": agent_id, "created_at": decode(line)["timestamp"]}
    return {"thread_id": thread_id, **told, "scopes": []}
