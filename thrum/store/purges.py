"""Purges: what they took, kept as rows; and the logs rid of it, durably, whoever brings it back."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from thrum.core import clock, layout, purging
from thrum.core.codec import BadLine
from thrum.core.purging import NOTHING, Choice, Line, Purged
from thrum.store import disk, reading
from thrum.store.stated import Stated


class Survey(NamedTuple):
    """What a purge would take: its lines, as events name them, how many, how many messages, and bytes of the logs."""

    lines: list[dict[str, str]]
    events: int
    messages: list[str]
    bytes: int


class Purges:
    """The purges that the read model knows."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._known = NOTHING

    def all(self) -> Purged:
        """Everything that was taken."""
        self._known = load(self._connect(), self._known)
        return self._known

    def survey(self, root: str, horizon: int) -> Survey:
        """What would go of the logs below `root` if everything before `horizon` (nanoseconds) went."""
        files = [row[0] for row in self._connect().execute("SELECT path FROM segment ORDER BY path")]
        choice = Choice(horizon)
        for line, _ in _lines(root, files):
            choice.look(line)
        taken, messages, size = list[Line](), list[str](), 0
        for line, length in _lines(root, files):
            if choice.takes(line):
                taken.append(Line(line.path, {}, 0, line.mark))
                size += length
                messages += [line.event["message_id"]] if line.event["type"] == "message.create" else []
        return Survey(list(purging.name(taken)), len(taken), messages, size)


def load(connection: sqlite3.Connection, known: Purged = NOTHING) -> Purged:
    """Everything that the purges of a database took; `known` itself when that is all."""
    if connection.execute("SELECT COUNT(*) FROM purge").fetchone()[0] == known.number:
        return known
    marks: dict[str, bytes] = {}
    count = 0
    for path, more in connection.execute("SELECT path, marks FROM purge"):
        marks[path] = marks.get(path, b"") + more
        count += 1
    return Purged(count, marks, frozenset(row[0] for row in connection.execute("SELECT oid FROM purged_root")))


def read(database: str, known: Purged) -> Purged | None:
    """The same from the file `database`; None when it cannot be read now."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(database)}?mode=rw", uri=True, timeout=20)) as connection:
            connection.execute("BEGIN")
            return load(connection, known)
    except sqlite3.Error:
        return None


def fold(connection: sqlite3.Connection, batch: Sequence[Stated]) -> None:
    """Applies `log.purge` statements to a database, inside the caller's transaction."""
    rows = [
        (stated.claim, path, purging.read_marks(marks))
        for stated in batch
        for path, marks in stated.event["lines"].items()
    ]
    connection.executemany("INSERT OR IGNORE INTO purge VALUES (?, ?, ?)", rows)
    roots = [(oid,) for stated in batch for oid in stated.event.get("roots") or ()]
    connection.executemany("INSERT OR IGNORE INTO purged_root VALUES (?)", roots)


def cleanse(root: str, purged: Purged) -> bool:
    """Rids the logs below `root` of what was purged; whether any of it was there. Raises StorageError.

    A file that has nothing left stays, empty: the numbers of a log's segments have no gaps.
    """
    cleansed = [path for path in purged.marks if _cleanse(root, path, purged.of(path))]
    return bool(cleansed)


def _cleanse(root: str, path: str, gone: frozenset[bytes]) -> bool:
    source = layout.parse_path(path)
    if source is None or not os.path.exists(f"{root}/{path}"):
        return False
    with disk.explained("purge the logs"), disk.locked(lock_of(root, source)):
        data = disk.read(f"{root}/{path}")
        end = data.rfind(b"\n") + 1
        kept = purging.without(data[:end], gone)
        if len(kept) < end:
            disk.replace(f"{root}/{path}", kept + data[end:])
        return len(kept) < end


def lock_of(root: str, source: layout.LogPath) -> str:
    """The folder that whoever writes to a log file holds locked."""
    return f"{root}/{source.log}" if not source.is_legacy else os.path.dirname(f"{root}/{source.path}")


def _lines(root: str, files: list[str]) -> Iterator[tuple[Line, int]]:
    """Every event of the logs that counts, with its length, in the order of the logs."""
    parse = reading.faster_parse()
    for path in files:
        source = layout.parse_path(path)
        if source is None:
            continue
        for line in disk.read(f"{root}/{path}").split(b"\n")[:-1]:
            try:
                event = parse(line)
            except BadLine:
                continue
            at = max(clock.instant(event["timestamp"]) or 0, 0)
            yield Line(path, event, at, purging.mark(line)), len(line) + 1
