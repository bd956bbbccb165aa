"""The read model's file: opened, built anew when it is missing, damaged or of another version, swapped in whole.

A new database is built beside the old one and renamed over it, so nobody ever reads a half-built one. Who has the old one open
notices by its inode and opens again. A database knows its own inode: one that was put in its place is not believed. Where no
file can be written, on a full disk say, the model is kept in memory for a while.
"""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator

from thrum.errors import StorageError
from thrum.store import disk, schema

_MANY = 500
_PRAGMAS = (
    "PRAGMA busy_timeout = 20000",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA mmap_size = 0",
    "PRAGMA temp_store = MEMORY",
)
BUILD_PRAGMAS = (
    "PRAGMA page_size = 4096",
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA cache_size = -65536",
)
_TROUBLE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})
_WHILE = 5.0
"""Seconds after which a file is tried again; longer where the fold into memory took long."""
Fill = Callable[[sqlite3.Connection], None]


class Database:
    """A connection to the read model that heals: `connection` is always to the file that is at `path` now."""

    def __init__(self, path: str, fill: Fill) -> None:
        """`fill` puts everything the logs hold into a fresh database."""
        self.path, self._fill = path, fill
        self.inode = 0
        self._log_inode = 0
        self.generation = 0
        """Grows whenever the connection is to another file than before; inode numbers are given out again."""
        self.connection: sqlite3.Connection = sqlite3.connect(":memory:")
        self._in_memory_until = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether the connection is to what `refresh` would give."""
        if time.monotonic() < self._in_memory_until:
            return True
        return bool(self.inode) and self.inode == _inode(self.path) and self._log_inode == _inode(self.path + "-wal")

    def refresh(self) -> sqlite3.Connection:
        """The connection; opened anew if the file was replaced, built anew if it is gone."""
        if time.monotonic() < self._in_memory_until:
            return self.connection
        if not self.inode or _inode(self.path) != self.inode:
            self._open()
        elif _inode(self.path + "-wal") != self._log_inode:
            self.rebuild()  # who opens it now gets another log than ours, and each would write over what the other wrote
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
        self.inode, self._in_memory_until = 0, 0.0

    def keep_in_memory(self) -> None:
        """Folds the logs into memory and goes on with that for a while: for a disk that takes no file."""
        self.close()
        began = time.monotonic()
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._fold(self.connection)
        self.generation += 1
        self._in_memory_until = time.monotonic() + max(_WHILE, 20 * (time.monotonic() - began))

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
        """Opens what is there; False unless it is a database that was built here by this version."""
        if not _is_plain(self.path):
            return False
        connection = None
        try:
            connection = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            said = dict(connection.execute("SELECT key, value FROM state WHERE key IN ('version', 'inode')"))
        except sqlite3.DatabaseError as error:
            if connection is not None:
                connection.close()
            if not is_damage(error):
                raise
            return False
        inode = _inode(self.path)
        if said != {"version": schema.VERSION, "inode": inode}:
            connection.close()
            return False
        self.connection, self.inode, self._log_inode = connection, inode, _inode(self.path + "-wal")
        self.generation += 1
        return True

    def _build(self) -> None:
        fresh = f"{self.path}.{os.getpid()}.new"
        for left_behind in glob.glob(glob.escape(self.path) + ".*.new"):
            _remove(left_behind)
        connection = sqlite3.connect(fresh, isolation_level=None)
        try:
            os.chmod(fresh, 0o600)
            for pragma in BUILD_PRAGMAS:
                connection.execute(pragma)
            self._fold(connection, _inode(fresh))
        except BaseException:
            connection.close()
            _remove(fresh)
            raise
        connection.close()
        disk.flush(
            fresh, os.path.dirname(fresh)
        )  # or a power cut leaves a database with holes, which reads well enough
        _remove(self.path)
        os.replace(fresh, self.path)

    def _fold(self, connection: sqlite3.Connection, inode: int = 0) -> None:
        schema.create(connection)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO state VALUES (?, ?)", [("version", schema.VERSION), ("inode", inode)])
        with _uncollected():
            self._fill(connection)
        connection.execute("COMMIT")
        schema.finish(connection)


def is_damage(error: Exception) -> bool:
    """Whether the database is at fault, so that a new one would help: not when it is busy, or the disk or memory is full."""
    if not isinstance(error, sqlite3.DatabaseError) or isinstance(error, sqlite3.ProgrammingError):
        return False
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _NO_DAMAGE


_NO_DAMAGE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_FULL,
)


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything inside, or nothing; takes the write lock at once, so that a read inside is still true at the write."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_trouble(error: sqlite3.Error) -> bool:
    """Whether the disk is at fault: full, read-only, an I/O error; and neither the database nor somebody who holds its lock."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _TROUBLE


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
        return os.stat(path, follow_symlinks=False).st_ino
    except FileNotFoundError:
        return 0


def _is_plain(path: str) -> bool:
    """Whether it is a file with something in it. Opening it to look would drop the locks of whoever in here has it open."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def _remove(path: str) -> None:
    # The database goes first: a stray write-ahead log without one is ignored, the other way round it would be replayed.
    for name in (path, path + "-wal", path + "-shm"):
        with contextlib.suppress(FileNotFoundError):
            disk.make_way(name)


def among(connection: sqlite3.Connection, table: str, column: str, wanted: list[str]) -> set[str]:
    """Those of `wanted` that stand in a column of a table, which is mostly empty."""
    found: set[str] = set()
    if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
        for start in range(0, len(wanted), _MANY):
            some = wanted[start : start + _MANY]
            query = f"SELECT {column} FROM {table} WHERE {column} IN ({','.join('?' * len(some))})"
            found.update(row[0] for row in connection.execute(query, some))
    return found
