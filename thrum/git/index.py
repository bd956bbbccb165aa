"""git's index file, written by ourselves: no process, no filter, no hook, and the same for sha1 and sha256.

Only what a worktree that nobody edits needs: stage 0, no extensions. A leaf that is not on disk as the plain file it
should be (a link or an unknown mode that a remote sent and we never check out) is marked skip-worktree: git looks away.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from typing import NamedTuple

from thrum.git.objects import BLOB, Entry

_STAT = struct.Struct(">10I")
_SKIP_WORKTREE = 0x4000
_EXTENDED = 0x4000
_NO_STAT = bytes(_STAT.size)


class Row(NamedTuple):
    """One path in the index: 40 bytes of stat data with its mode inside, its object, and whether git looks away."""

    stat: bytes
    oid: str
    skip: bool


def parse(data: bytes, oid_size: int) -> dict[str, Row] | None:
    """The rows by path; None for an index not like ours: another version, split, sparse or damaged."""
    if data[:4] != b"DIRC" or len(data) < 12 + oid_size:
        return None
    version, count = struct.unpack_from(">II", data, 4)
    if version not in (2, 3) or _digest(data[:-oid_size], oid_size) != data[-oid_size:]:
        return None
    rows: dict[str, Row] = {}
    at = 12
    try:
        for _ in range(count):
            at = _parse_row(data, at, oid_size, rows)
        while at < len(data) - oid_size:  # extensions: one in lower case changes what the rows mean
            if data[at : at + 1].islower():
                return None
            at += 8 + struct.unpack_from(">I", data, at + 4)[0]
    except (struct.error, ValueError):
        return None
    return rows


def _parse_row(data: bytes, start: int, oid_size: int, rows: dict[str, Row]) -> int:
    """Read one row at `start` into `rows`; the position after it."""
    at = start + _STAT.size + oid_size
    (flags,) = struct.unpack_from(">H", data, at)
    at += 2
    skip = False
    if flags & _EXTENDED:
        (more,) = struct.unpack_from(">H", data, at)
        at += 2
        skip = bool(more & _SKIP_WORKTREE)
    end = data.index(b"\0", at)
    path = data[at:end].decode("utf-8", "surrogateescape")
    rows[path] = Row(data[start : start + _STAT.size], data[start + _STAT.size :][:oid_size].hex(), skip)
    return start + (end - start + 8) // 8 * 8


def render(rows: dict[str, Row], oid_size: int) -> bytes:
    """The index file that holds `rows`: version 3 when one of them is skipped, else 2."""
    version = 3 if any(row.skip for row in rows.values()) else 2
    parts = [struct.pack(">4sII", b"DIRC", version, len(rows))]
    for path, row in sorted((path.encode("utf-8", "surrogateescape"), row) for path, row in rows.items()):
        flags = min(len(path), 0xFFF) | (_EXTENDED if row.skip else 0)
        body = row.stat + bytes.fromhex(row.oid) + struct.pack(">H", flags)
        body += struct.pack(">H", _SKIP_WORKTREE) if row.skip else b""
        body += path
        parts.append(body + bytes(8 - len(body) % 8))
    data = b"".join(parts)
    return data + _digest(data, oid_size)


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
