"""What the logs hold beyond what the read model has seen, found by looking at sizes, not at contents."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from thrum.core import layout
from thrum.core.layout import LogPath
from thrum.store import disk


class Unread(NamedTuple):
    """Bytes of a log file that were not read yet: from `start` on, behind bytes that must still have the digest `proof`.

    `inode` and `mtime` are the file's, as it is now; so is `size`.
    """

    source: LogPath
    inode: int
    mtime: int
    size: int
    start: int
    proof: bytes


class Folder(NamedTuple):
    """A folder that was looked through because its time changed, and those of its segments that may still grow."""

    path: str
    mtime: int
    ends: str


Bookmark = tuple[str, int, int, int, bytes]
"""A row of the table `segment`."""


class Rewritten(Exception):
    """What was read of a file does not stand there any more: the read model may hold what the logs do not."""


def find(connection: sqlite3.Connection, root: str) -> Iterator[Unread | Folder]:
    """Every file that changed, and every folder that was looked through because it changed.

    A folder's time tells of new and of replaced files; within an unchanged folder only a file that no next one
    follows can have grown.
    Raises Rewritten; not when the logs are gone altogether, whom the next sync brings back from the branch.
    """
    known = {path: (mtime, ends) for path, mtime, ends in connection.execute("SELECT path, mtime, ends FROM folder")}
    yield from _legacy(connection, root)
    for log in _logs(root):
        for folder in _children(f"{root}/{log}", 2):
            yield from _in_folder(connection, root, f"{log}/{folder}", known.pop(f"{log}/{folder}", (0, "")))
    if known and _children(root + "/messages"):
        raise Rewritten(min(known))


def find_in(connection: sqlite3.Connection, root: str, paths: Sequence[str]) -> Iterator[Unread]:
    """Those of some files of logs that changed. Raises Rewritten."""
    for path in paths:
        source = layout.parse_path(path)
        if source is not None:
            yield from _in_file(connection, root, source)


def read(root: str, unread: Unread) -> tuple[bytes, bytes]:
    """The unread bytes up to the last newline, and the bytes before them that `remember` wants to see.

    What follows the last newline is somebody's unfinished line. One that was touched and did not grow is compared whole.
    Raises Rewritten, OSError.
    """
    span = unread.start if unread.size == unread.start else min(unread.start, _SPAN)
    data = disk.read(f"{root}/{unread.source.path}", unread.start - span)
    before, after = data[:span], data[span:]
    if unread.start and _digest(before[-_SPAN:]) != unread.proof[:-4]:
        raise Rewritten(unread.source.path)
    if span > _SPAN and zlib.crc32(before) != int.from_bytes(unread.proof[-4:], "big"):
        raise Rewritten(unread.source.path)
    return after[: after.rfind(b"\n") + 1], before[-_SPAN:]


def bookmark(unread: Unread, data: bytes, before: bytes) -> Bookmark:
    """The row of the table `segment` that says: `data`, read from `unread`, is in the read model."""
    crc = zlib.crc32(data, int.from_bytes(unread.proof[-4:], "big") if unread.start else 0)
    proof = _digest((before + data)[-_SPAN:]) + crc.to_bytes(4, "big")
    return unread.source.path, unread.inode, unread.start + len(data), unread.mtime, proof


_SPAN = 4096
"""Bytes before a position that are compared before one reads on from it; of all of them there is a CRC."""


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def _legacy(connection: sqlite3.Connection, root: str) -> Iterator[Unread]:
    names = [f"messages/{name}" for name in _children(root + "/messages") if name.endswith(".jsonl")]
    for path in ("events.jsonl", *names):
        source = layout.parse_path(path)
        if source is not None:
            yield from _in_file(connection, root, source)


def _logs(root: str) -> Iterator[str]:
    for owner in _children(root + "/messages", 0):
        for origin in _children(f"{root}/messages/{owner}", 1):
            yield f"messages/{owner}/{origin}"


def _children(path: str, depth: int | None = None) -> list[str]:
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if depth is None or layout.is_part(depth, name))


def _in_folder(
    connection: sqlite3.Connection, root: str, folder: str, known: tuple[int, str]
) -> Iterator[Unread | Folder]:
    try:
        mtime = os.stat(f"{root}/{folder}", follow_symlinks=False).st_mtime_ns
    except FileNotFoundError:
        return
    seen, ends = known
    names = ends.split() if seen == mtime else _children(f"{root}/{folder}", 3)
    if seen != mtime:
        _miss_none(connection, folder, names)
    for name in names:
        source = layout.parse_path(f"{folder}/{name}")
        if source is not None:
            yield from _in_file(connection, root, source)
    if seen != mtime:
        yield Folder(folder, mtime, " ".join(layout.ends_of_runs(names)))


def _miss_none(connection: sqlite3.Connection, folder: str, names: list[str]) -> None:
    """Raises Rewritten when a segment that was read is not among the `names` of its folder any more."""
    query = "SELECT path FROM segment WHERE path > ? AND path < ?"
    for (path,) in connection.execute(query, (folder + "/", folder + "0")):
        if path[len(folder) + 1 :] not in names:
            raise Rewritten(path)


def _in_file(connection: sqlite3.Connection, root: str, source: LogPath) -> Iterator[Unread]:
    # The position before the size: another process may move both on between the two looks, and a file only grows.
    query = "SELECT inode, position, mtime, proof FROM segment WHERE path = ?"
    inode, position, mtime, proof = connection.execute(query, (source.path,)).fetchone() or (0, 0, 0, b"")
    try:
        found = os.stat(f"{root}/{source.path}", follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return
    if found.st_mode & 0o170000 != 0o100000:
        return
    now = (source, found.st_ino, found.st_mtime_ns, found.st_size)
    if found.st_size < position:
        raise Rewritten(source.path)
    if inode != found.st_ino:
        if found.st_size:
            yield Unread(*now, 0, b"")
    elif found.st_size > position or found.st_mtime_ns != mtime:
        yield Unread(*now, position, proof)
