"""Threads, folded into rows: who takes part in one, and whose mail its messages are for that.

Whoever writes in a thread takes part in it, and all of its mail that is not everyone's is theirs, whatever arrives first.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from thrum.core import routing
from thrum.core.codec import Event, decode
from thrum.store import fold_tally
from thrum.store.database import among
from thrum.store.fold_tally import Tally
from thrum.store.stated import Stated
from thrum.store.unread import Readers

FILE = "INSERT OR IGNORE INTO audience VALUES (?, ?, ?, ?)"
EVERYONE = (routing.EVERYONE,)
Filed = tuple[str, int, str, str]
"""A row of the table `audience`."""
_SOME = 500
"""Messages that are filed at once in the end."""
_ACTIVITY = (
    "INSERT INTO activity SELECT k.thread_id, MAX(COALESCE(t.at, (SELECT MIN(at) FROM message m "
    "WHERE m.thread_id = k.thread_id), 0), COALESCE((SELECT at FROM message m WHERE m.thread_id = k.thread_id "
    "AND m.deleted_at IS NULL ORDER BY at DESC LIMIT 1), 0)) FROM ({known}) k LEFT JOIN thread t USING (thread_id)"
)
_EVERY = _ACTIVITY.format(
    known="SELECT thread_id FROM thread UNION SELECT thread_id FROM message WHERE thread_id IS NOT NULL"
)
_ONE = _ACTIVITY.format(
    known="SELECT ?1 AS thread_id WHERE EXISTS (SELECT 1 FROM thread WHERE thread_id = ?1) "
    "OR EXISTS (SELECT 1 FROM message WHERE thread_id = ?1)"
)


class ThreadFold:
    """Applies statements about threads to a database, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, readers: Readers, tally: Tally, *, is_whole: bool) -> None:
        """`is_whole`: into an empty database, everything there is; then messages are filed once, in `finish`."""
        self.sql, self._readers, self._tally, self._is_whole = connection, readers, tally, is_whole
        self._members: dict[str, set[str]] = {}
        """Who takes part in the threads that were looked at."""
        self._touched: set[str] = set()

    def create(self, batch: Sequence[Stated]) -> None:
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
            self.touch(stated.event["thread_id"])
            self._join(stated.event["thread_id"], stated.event["created_by"])
            self._adopt_root(_root_of(stated.event["thread_id"]))

    def adopt(self, message_ids: list[str]) -> None:
        """Puts those messages into their threads that somebody answered before they arrived."""
        answered = among(self.sql, "thread", "thread_id", [_thread_from(message_id) for message_id in message_ids])
        for thread_id in answered:
            self._adopt_root(_root_of(thread_id))

    def _adopt_root(self, message_id: str) -> None:
        """A thread made by the first reply is named after the message it answers: that one belongs to it too."""
        thread_id = _thread_from(message_id)
        query = "UPDATE message SET thread_id = ? WHERE message_id = ? AND thread_id IS NULL RETURNING agent_id"
        adopted = self.sql.execute(query, (thread_id, message_id)).fetchone()
        if adopted:
            self.touch(thread_id)
            self.file(message_id)
            self._join(thread_id, adopted[0])

    def join_claimants(self, message_id: str, *authors: str) -> None:
        """Whoever claims an id takes part in the thread named after it, whichever claim came first."""
        for author in authors:
            self._join(_thread_from(message_id), author)

    def place(self, batch: Sequence[Stated], fresh: dict[str, Stated]) -> None:
        """`message.create`, where it is in a thread; `fresh` are those of them that are new here, by id."""
        for stated in batch:
            event = stated.event
            thread_id = event.get("thread_id")
            if thread_id:
                self.touch(thread_id)
                if not self._is_whole:
                    self._file_stated(stated, thread_id, is_fresh=fresh.get(event["message_id"]) is stated)
                self._join(thread_id, event["agent_id"])

    def _file_stated(self, stated: Stated, thread_id: str, *, is_fresh: bool) -> None:
        event, author = stated.event, stated.event["agent_id"]
        if not is_fresh:
            self.file(event["message_id"])
        elif routing.audience(event) != EVERYONE:
            for name in self.members_of(thread_id) - {author}:
                self._file((name, stated.at, event["message_id"], author), event)

    def file(self, message_id: str) -> None:
        """Files a message of a thread under everyone who takes part in it."""
        if self._is_whole:
            return
        query = (
            "SELECT p.agent_id, m.at, m.message_id, m.agent_id, m.line FROM message m JOIN participant p "
            "USING (thread_id) WHERE m.message_id = ? AND m.deleted_at IS NULL AND NOT m.everyone "
            "AND p.agent_id <> m.agent_id"
        )
        for *row, line in self.sql.execute(query, (message_id,)).fetchall():
            self._file((row[0], row[1], row[2], row[3]), line)

    def members_of(self, thread_id: str) -> set[str]:
        """Who takes part in a thread, as far as it was folded."""
        members = self._members.get(thread_id)
        if members is None:
            query = "SELECT agent_id FROM participant WHERE thread_id = ?"
            found = () if self._is_whole else self.sql.execute(query, (thread_id,))
            members = self._members[thread_id] = {row[0] for row in found}
        return members

    def _join(self, thread_id: str, agent_id: str) -> None:
        """Makes an agent take part in a thread: all of its mail is the agent's from now on.

        A name that is an address of many (a log may state any) takes part in nothing: the thread would become everyone's mail.
        """
        members = self.members_of(thread_id)
        if agent_id not in members and agent_id[0] not in "*@":
            members.add(agent_id)
            if self._is_whole:
                return
            self.sql.execute("INSERT OR IGNORE INTO participant VALUES (?, ?)", (thread_id, agent_id))
            query = (
                "SELECT ?1, at, message_id, agent_id, line FROM message m WHERE thread_id = ?2 AND deleted_at IS NULL "
                "AND NOT everyone AND agent_id <> ?1 AND NOT EXISTS (SELECT 1 FROM audience a WHERE a.address = ?1 "
                "AND a.at = m.at AND a.message_id = m.message_id)"
            )
            for *row, line in self.sql.execute(query, (agent_id, thread_id)).fetchall():
                self._file((row[0], row[1], row[2], row[3]), line)

    def _file(self, row: Filed, said: Event | bytes) -> None:
        """Files a message, created by this event or line, where it may stand already."""
        self._readers.touch(row[2])
        if self.sql.execute(FILE, row).rowcount:
            self._readers.file([row])
            event = decode(said) if isinstance(said, bytes) else said
            self._tally.count(fold_tally.topics_of(event), row[:1], row[3], 1)

    def touch(self, thread_id: str) -> None:
        """Something happened in a thread, or no longer has."""
        if not self._is_whole:
            self._touched.add(thread_id)

    def finish(self) -> None:
        """Does what was left for the end: when something last happened in threads, and all that a whole fold did not file."""
        if self._is_whole:
            self.sql.execute(_EVERY)
            self._file_all()
        else:
            touched = [(thread_id,) for thread_id in self._touched]
            self.sql.executemany("DELETE FROM activity WHERE thread_id = ?", touched)
            self.sql.executemany(_ONE, touched)
            self._touched.clear()

    def _file_all(self) -> None:
        """Files the messages of every thread under all who take part in it."""
        joined = [(thread_id, agent_id) for thread_id, members in self._members.items() for agent_id in members]
        self.sql.executemany("INSERT OR IGNORE INTO participant VALUES (?, ?)", joined)
        query = (
            "SELECT message_id, at, agent_id, thread_id, line FROM message "
            "WHERE thread_id IS NOT NULL AND deleted_at IS NULL AND NOT everyone"
        )
        found = self.sql.execute(query)
        while some := found.fetchmany(_SOME):
            self.sql.executemany(FILE, [row for message in some for row in self._spread(*message)])

    def _spread(self, message_id: str, at: int, author: str, thread_id: str, line: bytes) -> list[Filed]:
        """The rows that a message has because it is in a thread."""
        event = decode(line)
        others = self.members_of(thread_id).difference(routing.audience(event), (author,))
        if others:
            self._tally.count(fold_tally.topics_of(event), tuple(others), author, 1)
        return [(address, at, message_id, author) for address in others]


def _scopes(event: Event) -> str:
    """A thread's scopes as JSON, each once, in an order of their own."""
    pairs = sorted({(pair["type"], pair["value"]) for pair in event.get("scopes") or ()})
    return json.dumps([{"type": type_, "value": value} for type_, value in pairs], ensure_ascii=False)


def _thread_from(message_id: str) -> str:
    return "thr_" + message_id.removeprefix("msg_")


def _root_of(thread_id: str) -> str:
    return "msg_" + thread_id.removeprefix("thr_")
