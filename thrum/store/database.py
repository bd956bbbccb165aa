"""The read model's file: opened, built anew when it is missing, damaged or of another version, swapped in whole.

A new database is built beside the old one and renamed over it, so nobody ever reads a half-built one. Who has the old one open
notices by its inode and opens again.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import sqlite3
from collections.abc import Callable, Iterator

from thrum.errors import StorageError
from thrum.store import disk, schema

_PRAGMAS = (
    "PRAGMA busy_timeout = 20000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
)
_BUILD_PRAGMAS = (
    "PRAGMA page_size = 8192",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -65536",
)
Fill = Callable[[sqlite3.Connection], None]


class Database:
    """A connection to the read model that heals: `connection` is always to the file that is at `path` now."""

    def __init__(self, path: str, fill: Fill) -> None:
        """`fill` puts everything the logs hold into a fresh database."""
        self.path, self._fill = path, fill
        self.inode = 0
        self.generation = 0
        """Grows whenever the connection is to another file than before; inode numbers are given out again."""
        self.connection: sqlite3.Connection = sqlite3.connect(":memory:")

    def refresh(self) -> sqlite3.Connection:
        """The connection; opened anew if the file was replaced, built anew if it is gone."""
        if not self.inode or _inode(self.path) != self.inode:
            self._open()
        return self.connection

    def rebuild(self) -> None:
        """Builds the database anew from the logs and swaps it in."""
        with _explained(), disk.locked(self._lock()):
            self._build()
        self._open()

    def close(self) -> None:
        """Closes the connection; the next `refresh` opens it again."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()
        self.inode = 0

    def _open(self) -> None:
        self.close()
        with _explained(), disk.locked(self._lock()):
            if not self._connect():
                self._build()
                if not self._connect():
                    raise StorageError("the new database cannot be read", "check the disk; then `git thrum rebuild`")

    def _lock(self) -> str:
        disk.make_folder(os.path.dirname(self.path))
        return self.path + ".lock"

    def _connect(self) -> bool:
        if not os.path.exists(self.path):
            return False
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            version = connection.execute("SELECT value FROM state WHERE key = 'version'").fetchone()
            if version != (schema.VERSION,):
                raise sqlite3.DatabaseError("another version")
        except sqlite3.OperationalError as error:
            connection.close()
            if "no such table" in str(error):
                return False
            raise
        except sqlite3.DatabaseError:
            connection.close()
            return False
        self.connection, self.inode = connection, _inode(self.path)
        self.generation += 1
        return True

    def _build(self) -> None:
        fresh = f"{self.path}.{os.getpid()}.new"
        for left_behind in glob.glob(glob.escape(self.path) + ".*.new"):
            _remove(left_behind)
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            os.chmod(fresh, 0o600)
            for pragma in _BUILD_PRAGMAS:
                connection.execute(pragma)
            schema.create(connection)
            connection.execute("BEGIN")
            connection.execute("INSERT INTO state VALUES ('version', ?)", (schema.VERSION,))
            with _uncollected():
                self._fill(connection)
            connection.execute("COMMIT")
            schema.finish(connection)
        except BaseException:
            connection.close()
            _remove(fresh)
            raise
        connection.close()
        disk.flush(fresh, os.path.dirname(fresh))  # or a power cut leaves a database with holes, which reads well enough
        _remove(self.path)
        os.replace(fresh, self.path)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside, or nothing; takes the write lock at once, so that a read inside is still true at the write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        with disk.explained("open the database"):
            yield
    except sqlite3.OperationalError as error:
        raise StorageError(f"cannot open the database: {error}", "check the disk and who owns .thrum/var") from error


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: a fold makes no cycles, and looking for them costs it a fifth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _remove(path: str) -> None:
    # The database goes first: a stray write-ahead log without one is ignored, the other way round it would be replayed.
    for name in (path, path + "-wal", path + "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
