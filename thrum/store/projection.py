"""The read model, and the only way into it: `catch_up` applies whatever the logs hold beyond what it has seen.

Own sends, another process's appends, a merge, a rebuild, the recovery after `kill -9`: all are `catch_up`. The position moves
in the same transaction as the rows. Applying a line twice changes nothing, so reading too much is always safe.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from thrum.core import clock, events, purging
from thrum.core.codec import BadLine
from thrum.core.purging import Purged
from thrum.errors import StorageError
from thrum.store import news, purges, quarantine, reading, schema
from thrum.store.database import Database, is_damage, is_trouble, transaction
from thrum.store.fold_agents import AgentFold
from thrum.store.fold_messages import MessageFold
from thrum.store.glance import Glance
from thrum.store.purges import Purges
from thrum.store.stated import Stated
from thrum.store.unread import Readers

_BATCH = 2000
_NEWEST = "SELECT COALESCE(MAX(seq), 0) FROM message"
_MAIL = frozenset((events.MESSAGE_CREATE, events.MESSAGE_EDIT, events.MESSAGE_DELETE, events.MESSAGE_READ))

T = TypeVar("T")


class News(NamedTuple):
    """What a `catch_up` brought: new messages by id, how many events, whether this clone said something eager."""

    messages: tuple[str, ...]
    events: int
    eager: bool


NOTHING = News((), 0, False)
REBUILT = News((), 1, True)
"""The database was built anew meanwhile: who waits looks again."""


class Projection:
    """The read model of the logs below `root`."""

    def __init__(self, root: str, path: str, origin: str, heal: Callable[[], object] = lambda: None) -> None:
        """`root`: the branch's worktree; `path`: the database's file; `origin`: this clone's id.

        `heal` brings back what the logs have lost, from wherever else it may be; called before the model is built anew.
        """
        self.root, self.origin, self._heal = root, origin, heal
        self.database = Database(path, self._fill)
        self.purges = Purges(lambda: self.database.connection)
        self._is_blamed = False
        self._seen: tuple[int, int] | None = None
        """Which writes of others we know of (SQLite's count), and the newest message."""
        self.glances = False
        """Whether `is_current` looks; else it never is. Worth it for who is asked often."""
        self._glance: Glance | None = None
        self._is_exhausted = False
        """Whether what the glance saw has all been read."""
        self._changes = 0

    @property
    def edition(self) -> tuple[int, int]:
        """Another one whenever anything but mail may have come in: what is known of agents and sessions holds until then."""
        return self.database.generation, self._changes

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection to ask; call `catch_up` first."""
        return self.database.refresh()

    def is_current(self) -> bool:
        """Whether the read model is known to hold all that is in the logs, without reading any of it."""
        glance = self._glance
        return glance is not None and self._is_exhausted and self.database.is_fresh and glance.holds()

    def catch_up(self) -> News:
        """Applies what is new in the logs and says what that was."""
        self._is_exhausted = False
        if self.glances:
            self._glance = Glance(self.root, self._glance)
        return self._keep_up(self._catch_up)

    def take(self, paths: Sequence[str]) -> News:
        """`catch_up` after an append of our own, when nothing but the files in `paths` (below the root) is of interest."""
        return self._keep_up(
            lambda connection: self._read_in(connection, lambda: news.find_in(connection, self.root, paths))
        )

    def _keep_up(self, step: Callable[[sqlite3.Connection], News]) -> News:
        """Does what brings the read model up to date, on a database that is healed if need be."""
        before = self.database.generation
        for attempt in range(3):
            try:
                connection = self.database.refresh()
                found = step(connection)
                if before != self.database.generation:
                    self._seen = _newest(connection)
                    return found if before == 0 else REBUILT
                return self._with_others(connection, found)
            except news.Rewritten:
                self._heal()
                self._build_anew()
            except StorageError:
                return self._keep_in_memory()
            except sqlite3.DatabaseError as error:
                if is_trouble(error):
                    return self._keep_in_memory()
                if attempt == 2 or not is_damage(error):
                    raise StorageError(
                        f"the read model cannot be written: {error}",
                        "what was sent is safe in the logs; check the disk",
                    ) from error
                self._build_anew()
        return REBUILT

    def answer(self, ask: Callable[[], T], may_repeat: Callable[[], bool]) -> T:
        """What `ask` gives. A database that turns out to be damaged is built anew, and asked again if that `may_repeat`.

        Raises StorageError when it may not: what was said is safe, only the answer is lost.
        """
        try:
            return ask()
        except (sqlite3.DatabaseError, ValueError, TypeError, LookupError) as error:
            # SQLite does not see damage within a value: a line that is none, a document that is no JSON, a text for a number.
            if isinstance(error, sqlite3.Error) and is_trouble(error):
                self._keep_in_memory()
            elif self._is_damage(error):
                self._build_anew()
            else:
                raise
            if may_repeat():
                return ask()
            raise StorageError(
                "the read model was damaged and has been built anew",
                "what you said is stored; look with `git thrum sent`",
            ) from error

    def _is_damage(self, error: Exception) -> bool:
        if isinstance(error, (sqlite3.DatabaseError, BadLine)):
            return isinstance(error, BadLine) or is_damage(error)
        if isinstance(error, UnicodeEncodeError) or self._is_blamed:
            return False
        self._is_blamed = True  # once: the next of these is a bug of ours
        return True

    def rebuild(self) -> None:
        """Throws the read model away and folds it anew from the logs."""
        self.database.close()
        self.database.rebuild()

    def _build_anew(self) -> None:
        """`rebuild`, in memory where it cannot be done on the disk."""
        try:
            self.rebuild()
        except StorageError:
            self._keep_in_memory()

    def _keep_in_memory(self) -> News:
        """Reading goes on where the file cannot be written: what is told is told from memory for a while."""
        self.database.keep_in_memory()
        self._seen = _newest(self.database.connection)
        return REBUILT

    def _catch_up(self, connection: sqlite3.Connection) -> News:
        self._look_for_mending(connection)
        found = list(news.find(connection, self.root))
        self._is_exhausted = not any(isinstance(item, news.Unread) for item in found)
        if not found:
            return NOTHING
        if not any(self._is_worth_it(connection, item) for item in found):
            return NOTHING
        return self._read_in(connection, lambda: news.find(connection, self.root))

    def _read_in(self, connection: sqlite3.Connection, find: Callable[[], Iterable[news.Unread | news.Folder]]) -> News:
        with transaction(connection):
            newest = connection.execute(_NEWEST).fetchone()[0]
            found = list(find())
            read, eager = self._apply(connection, found, self.purges.all())
            messages = connection.execute(
                "SELECT message_id, seq FROM message WHERE seq > ? ORDER BY seq", (newest,)
            ).fetchall()
            told = News(tuple(row[0] for row in messages), read, eager)
        if self._seen is not None and messages and self._seen[1] == newest:
            self._seen = (self._seen[0], messages[-1][1])
        if self._glance is not None:
            for item in found:
                if isinstance(item, news.Unread):
                    self._glance.renew(item.source.path, item.inode, item.size, item.mtime)
        return told

    def _look_for_mending(self, connection: sqlite3.Connection) -> None:
        """Raises Rewritten when events were taken out of a log since the read model was built: what they did is in it."""
        noted = connection.execute("SELECT value FROM state WHERE key = 'mended'").fetchone()
        if noted != (quarantine.last_mending(self.root),):
            raise news.Rewritten("mended")

    def _with_others(self, connection: sqlite3.Connection, found: News) -> News:
        """`found`, and the messages that another process brought into the read model since we looked last."""
        before, version = self._seen, _version(connection)
        if before is not None and before[0] == version:
            return found
        self._seen = _newest(connection)
        if before is None:
            return found
        self._changes += 1
        query = "SELECT message_id FROM message WHERE seq > ? ORDER BY seq"
        messages = tuple(row[0] for row in connection.execute(query, (before[1],)))
        return News(messages, max(found.events, 1), found.eager)

    def _is_worth_it(self, connection: sqlite3.Connection, found: news.Unread | news.Folder) -> bool:
        """Whether there is anything to write down: not for a folder that may change again, nor for half a line."""
        if not isinstance(found, news.Unread):
            return time.time_ns() - found.mtime > clock.SETTLED
        try:
            return bool(news.read(self.root, found)[0]) or found.size == found.start
        except OSError:
            noted = "SELECT 1 FROM bad_line WHERE path = ? AND offset = ?"
            return connection.execute(noted, (found.source.path, found.start)).fetchone() is None

    def _fill(self, connection: sqlite3.Connection) -> None:
        """Folds everything. Up to `bulk` and `bulk_changes` the order of arrival is nothing but the order of the files."""
        connection.execute("INSERT INTO state VALUES ('mended', ?)", (quarantine.last_mending(self.root),))
        self._apply(connection, news.find(connection, self.root), purging.NOTHING, is_whole=True)
        purged = purges.load(connection)
        if self._was_there(purged):
            schema.empty(connection)
            self._apply(connection, news.find(connection, self.root), purged, is_whole=True)
        connection.execute("INSERT INTO state SELECT 'bulk', COALESCE(MAX(seq), 0) FROM message")
        connection.execute("INSERT INTO state SELECT 'bulk_changes', COALESCE(MAX(seq), 0) FROM change")

    def _was_there(self, purged: Purged) -> bool:
        """Takes what was purged out of the logs; whether some of it may have been folded."""
        try:
            return purges.cleanse(self.root, purged)
        except StorageError:
            return True  # a disk that takes no writes; the reader leaves it out

    def _apply(
        self,
        connection: sqlite3.Connection,
        found: Iterable[news.Unread | news.Folder],
        purged: Purged,
        *,
        is_whole: bool = False,
    ) -> tuple[int, bool]:
        """Applies what was found, but for what was `purged`; how many events, and whether this clone said something eager.

        Raises Rewritten when a purge is among it, unless `is_whole`: the rows of what it took can only be left out.
        """
        fold, count, eager, everything = Fold(connection, is_whole=is_whole), 0, False, list(found)
        files = [item for item in everything if isinstance(item, news.Unread)]
        for chapter in reading.read_all(self.root, files, purged):
            if not is_whole and any(statement.type == events.PURGE for statement in chapter.statements):
                raise news.Rewritten(chapter.source.path)
            self._shelve(connection, chapter)
            count += len(chapter.statements)
            if chapter.source.origin == self.origin and not eager:
                eager = any(statement.type in events.EAGER for statement in chapter.statements)
            self._changes += not _MAIL.issuperset(statement.type for statement in chapter.statements)
            fold.take(chapter.statements)
        fold.flush()
        self._note_folders(connection, [item for item in everything if not isinstance(item, news.Unread)])
        return count, eager

    def _shelve(self, connection: sqlite3.Connection, chapter: reading.Chapter) -> None:
        """Notes what of a file is read, and which of its lines were set aside."""
        connection.execute("DELETE FROM bad_line WHERE path = ? AND offset >= ?", (chapter.source.path, chapter.begins))
        connection.executemany("INSERT OR REPLACE INTO bad_line VALUES (?, ?, ?, ?)", chapter.bad)
        if chapter.bookmark is not None:
            connection.execute("INSERT OR REPLACE INTO segment VALUES (?, ?, ?, ?, ?)", chapter.bookmark)
        else:
            self._is_exhausted = False  # it could not be read
        if not chapter.begins:  # its folder holds more than when that was looked through
            connection.execute("UPDATE folder SET mtime = 0 WHERE path = ?", (os.path.dirname(chapter.source.path),))

    def _note_folders(self, connection: sqlite3.Connection, folders: list[news.Folder]) -> None:
        now = time.time_ns()
        rows = [
            (folder.path, folder.mtime if now - folder.mtime > clock.SETTLED else 0, folder.ends) for folder in folders
        ]
        connection.executemany("INSERT OR REPLACE INTO folder VALUES (?, ?, ?)", rows)


def _newest(connection: sqlite3.Connection) -> tuple[int, int]:
    return _version(connection), connection.execute(_NEWEST).fetchone()[0]


def _version(connection: sqlite3.Connection) -> int:
    """Another one than before when somebody else has written to the database."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


class Fold:
    """Collects statements and applies them in batches, each type by the one function that knows its rows."""

    def __init__(self, connection: sqlite3.Connection, *, is_whole: bool) -> None:
        """`is_whole`: into an empty database, everything there is."""
        self._readers = Readers(connection, is_whole=is_whole)
        self._messages = MessageFold(connection, self._readers, is_whole=is_whole)
        self._agents = AgentFold(connection, self._readers)
        self._waiting: dict[str, list[Stated]] = defaultdict(list)
        self._count = 0
        messages, agents = self._messages, self._agents
        self._folds: dict[str, Callable[[Sequence[Stated]], None]] = {
            events.AGENT_REGISTER: agents.register,
            events.AGENT_CLEANUP: agents.retire,
            events.SESSION_START: agents.start,
            events.SESSION_UPDATE: agents.update,
            events.SESSION_END: agents.end,
            events.AGENT_UPDATE: agents.context,
            events.THREAD_CREATE: messages.threads.create,
            events.MESSAGE_CREATE: messages.create,
            events.MESSAGE_EDIT: messages.edit,
            events.MESSAGE_DELETE: messages.delete,
            events.MESSAGE_READ: messages.mark,
            events.PURGE: partial(purges.fold, connection),
        }

    def take(self, statements: Sequence[Stated]) -> None:
        """Takes more statements."""
        waiting = self._waiting
        for statement in statements:
            waiting[statement.type].append(statement)
        self._count += len(statements)
        if self._count >= _BATCH:
            self._fold()

    def flush(self) -> None:
        """Applies what is still waiting."""
        self._fold()
        self._messages.finish()
        self._readers.finish()

    def _fold(self) -> None:
        for kind, fold in self._folds.items():
            batch = self._waiting.pop(kind, None)
            if batch:
                fold(batch)
                self._agents.see(batch)
        self._messages.flush()
        self._waiting.clear()
        self._count = 0
