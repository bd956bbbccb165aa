"""Messages and read marks, folded into rows. The rows are a function of the set of events, not of their order.

If two claim one message's id, the create wins whose id proves it, else by (time, line); its text is its owner's
highest-ranked revision; its owner's deletion is final. So a statement may arrive before what it is about: it waits in its
table, and `settle` makes the message's row right whenever one of them moves.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import starmap
from typing import Any

from thrum.core import clock, layout, routing
from thrum.core.codec import decode
from thrum.store import fold_tally
from thrum.store.database import among
from thrum.store.fold_tally import EVERY, Tally
from thrum.store.fold_threads import EVERYONE, FILE, Filed, ThreadFold
from thrum.store.stated import Stated, read
from thrum.store.unread import Readers

_COLUMNS = "message_id, owner, agent_id, thread_id, everyone, at, priority, line, path, ends"
_INSERT = f"INSERT OR IGNORE INTO message ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NEWEST = "SELECT COALESCE(MAX(seq), 0) FROM message"


class MessageFold:
    """Applies statements about messages to a database, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, readers: Readers, *, is_whole: bool) -> None:
        """`readers`: who is to be told of every row of the table `audience` that comes or goes.

        `is_whole`: into an empty database, everything there is; then threads are filed once, in `finish`.
        """
        self.sql, self._readers = connection, readers
        self._tally = Tally(connection)
        self.threads = ThreadFold(connection, readers, self._tally, is_whole=is_whole)
        """What applies statements about threads."""

    def create(self, batch: Sequence[Stated]) -> None:
        """`message.create`: files each message under its audience; a second create of one id keeps the winner."""
        claims = {stated.event["message_id"]: stated for stated in batch}
        if len(claims) < len(batch):
            claims = self._weigh(batch)
        known = self._insert(list(claims.values()))
        for message_id in known:
            self._contest(claims.pop(message_id))
        fresh = list(claims)
        self.threads.adopt(fresh)
        self.threads.place(batch, claims)
        edited, deleted = (among(self.sql, table, "message_id", fresh) for table in ("revision", "deletion"))
        self.settle(edited | deleted)

    def _weigh(self, batch: Sequence[Stated]) -> dict[str, Stated]:
        """The winner of each id that several messages of one batch claim."""
        claims: dict[str, Stated] = {}
        for stated in batch:
            message_id = stated.event["message_id"]
            other = claims.get(message_id)
            if other is not None and other.line != stated.line:
                self.threads.join_claimants(message_id, other.event["agent_id"], stated.event["agent_id"])
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
        for stated in batch:
            self._readers.mark(stated.event["agent_id"], stated.event["message_ids"])

    def settle(self, message_ids: Iterable[str]) -> list[str]:
        """Makes each message's row agree with its owner's revisions and deletion; the ids of those that did not."""
        changed = []
        for message_id in message_ids:
            found = self.sql.execute("SELECT owner FROM message WHERE message_id = ?", (message_id,)).fetchone()
            if found is not None:
                said_anew, deleted = self._settle_text(message_id, *found), self._settle_deletion(message_id, *found)
                changed += [message_id] if said_anew or deleted else []
        return changed

    def flush(self) -> None:
        """Writes down what was counted."""
        self._tally.flush()

    def finish(self) -> None:
        """Does what was left for the end."""
        self.threads.finish()
        self._tally.flush()

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

    def _insert(self, batch: list[Stated]) -> list[str]:
        """Stores and files messages; the ids of those that were there already, which are left alone."""
        before, newest = self.sql.total_changes, self.sql.execute(_NEWEST).fetchone()[0]
        aimed = [(stated, routing.audience(stated.event)) for stated in batch]
        self.sql.executemany(_INSERT, starmap(_row, aimed))
        known = self._older(batch, newest) if self.sql.total_changes - before < len(batch) else []
        passed = set(known)
        self._file_messages([pair for pair in aimed if pair[0].event["message_id"] not in passed] if known else aimed)
        return known

    def _older(self, batch: list[Stated], newest: int) -> list[str]:
        """Ids of those messages that were there when `newest` was the newest row."""
        query = "SELECT 1 FROM message WHERE message_id = ? AND seq <= ?"
        ids = (stated.event["message_id"] for stated in batch)
        return [message_id for message_id in ids if self.sql.execute(query, (message_id, newest)).fetchone()]

    def _file_messages(self, batch: Sequence[tuple[Stated, tuple[str, ...]]]) -> None:
        """Files new messages under their audience, and notes what they carry."""
        rows, tags, count = list[Filed](), list[tuple[str, str, str, int, str]](), self._tally.count
        for (event, _, _, at, _, _), addresses in batch:
            message_id, author = event["message_id"], event["agent_id"]
            tagged = fold_tally.tags(event)
            if author in addresses:
                addresses = tuple(address for address in addresses if address != author)
            rows += [(address, at, message_id, author) for address in addresses]
            tags += [(kind, type_, value, at, message_id) for kind, type_, value in tagged]
            topics = fold_tally.topics(tagged)
            count(topics, (EVERY, *addresses), author, 1)
            if topics.loose:
                tags += [(fold_tally.LOOSE, topic, "", at, message_id) for topic in topics.loose]
        self._readers.file_new(rows)
        self.sql.executemany(FILE, rows)
        self.sql.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?)", tags)

    def _contest(self, stated: Stated) -> None:
        """A message of this id is there already: the same line again, or another one that claims the id."""
        message_id = stated.event["message_id"]
        query = "SELECT path, ends, line, agent_id FROM message WHERE message_id = ?"
        path, ends, line, author = self.sql.execute(query, (message_id,)).fetchone()
        if line == stated.line:
            self._move(stated)
            return
        self.threads.join_claimants(message_id, author, stated.event["agent_id"])
        if claim(stated) < claim(_again(path, ends, line)):
            self._replace(stated)

    def _move(self, stated: Stated) -> None:
        """The same line was read again, in a file that was rewritten; of two that hold it the smaller path counts."""
        row = (stated.source.path, stated.ends, stated.event["message_id"], stated.source.path)
        self.sql.execute("UPDATE message SET path = ?, ends = ? WHERE message_id = ? AND path >= ?", row)

    def _replace(self, stated: Stated) -> None:
        message_id = stated.event["message_id"]
        self._unfile(message_id)
        self._discount(message_id)
        self.sql.execute("DELETE FROM tag WHERE message_id = ?", (message_id,))
        self.sql.execute("DELETE FROM message WHERE message_id = ?", (message_id,))
        self._insert([stated])
        self.threads.adopt([message_id])
        if stated.event.get("thread_id"):
            self.threads.file(message_id)
        self.settle([message_id])
        self._note_change(message_id)

    def _unfile(self, message_id: str) -> None:
        """Takes a message out of every inbox."""
        self._readers.touch(message_id)
        query = "SELECT at, thread_id, agent_id, line FROM message WHERE message_id = ?"
        at, thread_id, author, line = self.sql.execute(query, (message_id,)).fetchone()
        event = decode(line)
        if thread_id:
            self.threads.touch(thread_id)
        query = "DELETE FROM audience WHERE address = ? AND at = ? AND message_id = ?"
        for address in {*routing.audience(event), *(self.threads.members_of(thread_id) if thread_id else ())}:
            if self.sql.execute(query, (address, at, message_id)).rowcount:
                self._tally.count(fold_tally.topics_of(event), (address,), author, -1)

    def _discount(self, message_id: str) -> None:
        """Counts a message no longer, unless it was deleted before."""
        query = "SELECT agent_id, line FROM message WHERE message_id = ? AND deleted_at IS NULL"
        found = self.sql.execute(query, (message_id,)).fetchone()
        if found:
            self._tally.count(fold_tally.topics_of(decode(found[1])), (EVERY,), found[0], -1)

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
        self._discount(message_id)
        query = "UPDATE message SET deleted_at = ?1, delete_reason = ?2 WHERE message_id = ?3 "
        changed = self.sql.execute(query + "AND (deleted_at, delete_reason) IS NOT (?1, ?2)", (*deletion, message_id))
        return changed.rowcount > 0


def claim(stated: Stated) -> tuple[str, int, bytes]:
    """What decides between two creates of one message id: the smaller wins."""
    return stated.standing, stated.at, stated.line


def _again(path: str, ends: int, line: bytes) -> Stated:
    """The statement that a message's row was made from."""
    source = layout.parse_path(path)
    assert source is not None  # noqa: S101  # it was read from there
    return read(source, ends, line)


def _row(stated: Stated, addresses: tuple[str, ...]) -> tuple[Any, ...]:
    """What a `message.create` to these addresses puts into the table `message`."""
    event, source, ends, at, line, _ = stated
    return (
        event["message_id"],
        source.owner,
        event["agent_id"],
        event.get("thread_id") or None,
        addresses == EVERYONE,
        at,
        event.get("priority") or "normal",
        line,
        source.path,
        ends,
    )
