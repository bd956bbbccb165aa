"""git's index file, written by ourselves: no process, no filter, no hook, and the same for sha1 and sha256.

Only what a worktree that nobody edits needs: stage 0, no extensions. A leaf that is not on disk as the plain file it
should be (a link or an unknown mode that a remote sent and we never check out) is marked skip-worktree: git looks away.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

from thrum.git.objects import BLOB, Entry

_STAT = struct.Struct(">10I")
_SKIP_WORKTREE = 0x4000
_EXTENDED = 0x4000
_LONGEST = 0xFFF
_NO_STAT = bytes(_STAT.size)


class Row(NamedTuple):
    """One path in the index: 40 bytes of stat data with its mode inside, its object, and whether git looks away."""

    stat: bytes
    oid: str
    skip: bool


def amend(data: bytes, changed: Mapping[str, Row | None], oid_size: int) -> bytes | None:
    """The index file `data` with these rows in place of what it has of their paths (None: without them).

    None for an index not like ours: another version, split, sparse or damaged; and when a row is skipped and none was before.
    """
    if data[:4] != b"DIRC" or len(data) < 12 + oid_size:
        return None
    version, count = struct.unpack_from(">II", data, 4)
    if version not in (2, 3) or _digest(data[:-oid_size], oid_size) != data[-oid_size:]:
        return None
    if version == 2 and any(row is not None and row.skip for row in changed.values()):
        return None
    try:
        paths, starts = _scan(data, count, oid_size)
    except IndexError:
        return None
    if starts[-1] > len(data) - oid_size or not _is_plain(data[starts[-1] : -oid_size]):
        return None
    pieces, at = [data[12 : starts[0]]], 0
    for path, row in sorted((_encoded(path), row) for path, row in changed.items()):
        place = bisect_left(paths, path, at)
        is_there = place < len(paths) and paths[place] == path
        pieces += [data[starts[at] : starts[place]], _rendered(path, row) if row is not None else b""]
        count += (row is not None) - is_there
        at = place + is_there
    whole = b"".join((struct.pack(">4sII", b"DIRC", version, count), *pieces, data[starts[at] : starts[-1]]))
    return whole + _digest(whole, oid_size)


def _scan(data: bytes, count: int, oid_size: int) -> tuple[list[bytes], list[int]]:
    """The paths, and where each row begins, with the end of the last one. Raises IndexError."""
    paths, starts, at = list[bytes](), [12], 12
    for _ in range(count):
        name = at + _STAT.size + oid_size + 2
        flags = data[name - 2] << 8 | data[name - 1]
        name += 2 if flags & _EXTENDED else 0
        length = flags & _LONGEST
        end = name + length if length < _LONGEST else data.find(b"\0", name)
        if end < name:
            raise IndexError(name)
        paths.append(data[name:end])
        at += (end - at + 8) // 8 * 8
        starts.append(at)
    return paths, starts


def _is_plain(extensions: bytes) -> bool:
    """Whether none of the extensions changes what the rows mean; those that do are in lower case."""
    at = 0
    while at < len(extensions):
        if extensions[at : at + 1].islower() or at + 8 > len(extensions):
            return False
        at += 8 + int(struct.unpack_from(">I", extensions, at + 4)[0])
    return True


def render(rows: Mapping[str, Row], oid_size: int) -> bytes:
    """The index file that holds `rows`: version 3 when one of them is skipped, else 2."""
    version = 3 if any(row.skip for row in rows.values()) else 2
    named = sorted((_encoded(path), row) for path, row in rows.items())
    parts = [struct.pack(">4sII", b"DIRC", version, len(rows)), *(_rendered(path, row) for path, row in named)]
    data = b"".join(parts)
    return data + _digest(data, oid_size)


def _rendered(path: bytes, row: Row) -> bytes:
    flags = min(len(path), _LONGEST) | (_EXTENDED if row.skip else 0)
    body = row.stat + bytes.fromhex(row.oid) + struct.pack(">H", flags)
    body += struct.pack(">H", _SKIP_WORKTREE) if row.skip else b""
    body += path
    return body + bytes(8 - len(body) % 8)


def _encoded(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def observe(root: str, path: str, entry: Entry, size: int) -> Row:
    """The row for `path`, whose blob is `size` bytes long, as the disk has it now.

    The logs only grow, so a file of the blob's size has the blob's content; any other is left for git to compare.
    """
    try:
        found = os.lstat(os.path.join(root, path))
    except (OSError, ValueError):
        return Row(_with_mode(entry.mode), entry.oid, True)
    if entry.mode != BLOB or not stat.S_ISREG(found.st_mode):
        return Row(_with_mode(entry.mode), entry.oid, True)
    if found.st_size != size:
        return Row(_with_mode(BLOB), entry.oid, False)
    return Row(_stat_data(found), entry.oid, False)


def _with_mode(mode: int) -> bytes:
    return _STAT.pack(0, 0, 0, 0, 0, 0, mode, 0, 0, 0)


def _stat_data(found: os.stat_result) -> bytes:
    changed, modified = found.st_ctime_ns, found.st_mtime_ns
    whole = (
        changed // 10**9,
        changed % 10**9,
        modified // 10**9,
        modified % 10**9,
        found.st_dev,
        found.st_ino,
        BLOB,
        found.st_uid,
        found.st_gid,
        found.st_size,
    )
    return _STAT.pack(*(number & 0xFFFFFFFF for number in whole))


def _digest(data: bytes, oid_size: int) -> bytes:
    make = hashlib.sha256 if oid_size == 32 else hashlib.sha1
    return make(data, usedforsecurity=False).digest()
