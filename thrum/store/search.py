"""Words in messages, through an index that is brought up to date by whoever searches; sending and folding pay nothing for it.

The index is a table of this database and goes with it. It holds the present text of every message that was not deleted; how
far it has got is in `state`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

from thrum.core import query
from thrum.core.query import Wanted
from thrum.errors import StorageError
from thrum.store.database import is_trouble, transaction
from thrum.store.mailbox import text_of

_CREATE = 'CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, tokenize = "unicode61 remove_diacritics 2")'
_AT_ONCE = 1000
_PROGRESS = "INSERT INTO state VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_NEWEST_FIRST = "ORDER BY m.at DESC, m.message_id DESC LIMIT :size OFFSET :skip"


class Search:
    """Searches, asked of the connection that `connect` gives."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect

    def find(self, wanted: Wanted, size: int, number: int) -> tuple[list[str], int]:
        """The ids on page `number` (from 1) of what is found, newest first, and how many there are. Raises StorageError."""
        with _explained():
            sql = self._connect()
            while self._index_some(sql):
                pass
            return self._find(sql, wanted, size, number)

    def index_some(self) -> bool:
        """Brings the index a little nearer to what is there; whether there is more to do. Raises StorageError.

        For who has others to serve between two steps; `find` does what is left of it.
        """
        with _explained():
            return self._index_some(self._connect())

    def _find(self, sql: sqlite3.Connection, wanted: Wanted, size: int, number: int) -> tuple[list[str], int]:
        arguments: dict[str, Any] = {
            "size": size,
            "skip": (number - 1) * size,
            "author": wanted.author,
            "since": wanted.since,
        }
        conditions = ["m.deleted_at IS NULL", "m.at >= :since", *(["m.agent_id = :author"] if wanted.author else ())]
        expression = query.expression(wanted.terms)
        if expression:
            conditions.append("words MATCH :expression")
            arguments["expression"] = expression
        for index, term in enumerate(term for term in wanted.terms if not term.is_indexed):
            conditions.append(f"words.text LIKE :like{index} ESCAPE '\\'")
            arguments[f"like{index}"] = f"%{_escaped(term.text)}%"
        if wanted.scope:
            arguments["type"], arguments["value"] = wanted.scope
            conditions.append(_SCOPED)
        body = f"FROM words JOIN message m ON m.seq = words.rowid WHERE {' AND '.join(conditions)}"
        found = sql.execute(f"SELECT m.message_id {body} {_NEWEST_FIRST}", arguments).fetchall()
        total = sql.execute(f"SELECT COUNT(*) {body}", arguments).fetchone()[0]
        return [row[0] for row in found], int(total)

    def _index_some(self, sql: sqlite3.Connection) -> bool:
        """Indexes some of what came in since the last search, so that nobody who writes has to wait for long."""
        sql.execute(_CREATE)
        if not self._is_behind(sql):
            return False
        with transaction(sql):
            self._index_messages(sql)
            self._index_changes(sql)
        return self._is_behind(sql)

    def _is_behind(self, sql: sqlite3.Connection) -> bool:
        newest = "SELECT (SELECT MAX(seq) FROM message), (SELECT MAX(seq) FROM change)"
        messages, changes = sql.execute(newest).fetchone()
        return _reached(sql, "indexed") < (messages or 0) or _reached(sql, "indexed_changes") < (changes or 0)

    def _index_messages(self, sql: sqlite3.Connection) -> None:
        select = "SELECT seq, line, content, deleted_at FROM message WHERE seq > ? ORDER BY seq LIMIT ?"
        rows = sql.execute(select, (_reached(sql, "indexed"), _AT_ONCE)).fetchall()
        self._index(sql, rows)
        if rows:
            sql.execute(_PROGRESS, ("indexed", rows[-1][0]))

    def _index_changes(self, sql: sqlite3.Connection) -> None:
        select = (
            "SELECT c.seq, m.seq, m.line, m.content, m.deleted_at FROM change c LEFT JOIN message m USING (message_id) "
            "WHERE c.seq > ? ORDER BY c.seq LIMIT ?"
        )
        rows = sql.execute(select, (_reached(sql, "indexed_changes"), _AT_ONCE)).fetchall()
        known = [row[1:] for row in rows if row[1] is not None and row[1] <= _reached(sql, "indexed")]
        sql.executemany("DELETE FROM words WHERE rowid = ?", [row[:1] for row in known])
        self._index(sql, list({row[0]: row for row in known}.values()))
        if rows:
            sql.execute(_PROGRESS, ("indexed_changes", rows[-1][0]))

    def _index(self, sql: sqlite3.Connection, rows: list[tuple[int, bytes, str | None, str | None]]) -> None:
        texts = [(seq, text_of(line, content)) for seq, line, content, deleted_at in rows if deleted_at is None]
        sql.executemany("INSERT OR REPLACE INTO words (rowid, text) VALUES (?, ?)", texts)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turns what SQLite refuses into a StorageError, but for a disk's trouble: whoever asks goes on in memory then."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if is_trouble(error):
            raise
        raise StorageError(
            f"cannot search: {error}", "the messages are safe; `git thrum rebuild` makes the index anew"
        ) from error


_SCOPED = (
    "EXISTS (SELECT 1 FROM tag t WHERE t.kind = 'scopes' AND t.type = :type AND t.value = :value AND t.at = m.at "
    "AND t.message_id = m.message_id)"
)


def _reached(sql: sqlite3.Connection, key: str) -> int:
    found = sql.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    return int(found[0]) if found else 0


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
