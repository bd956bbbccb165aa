"""The union of two copies of a log file: commutative, associative, idempotent, to the byte.

Two equal copies are themselves. Otherwise the result is every line of either, once, in canonical order: ours by `seq` (the
order they were appended in, so a copy that is merely longer wins unchanged), v0.1.0's by timestamp as that program sorts
them; lines that are no events come last, by their bytes. A last line without its newline counts as a line only in a blob:
on disk it is somebody's unfinished append (see `complete`).
"""

from __future__ import annotations

from collections.abc import Iterable

from thrum.core.codec import BadLine, decode

Key = tuple[int, int, str, str, bytes]


def split(data: bytes) -> list[bytes]:
    """The lines of `data` without newlines and without empty lines; only `\\n` ends a line."""
    return [line for line in data.split(b"\n") if line]


def complete(data: bytes) -> bytes:
    """`data` up to and with its last newline."""
    return data[: data.rfind(b"\n") + 1]


def unite(ours: bytes, theirs: bytes) -> bytes:
    """Every line of either copy, once, in canonical order."""
    if ours == theirs:
        return ours
    return join(set(split(ours)) | set(split(theirs)))


def join(lines: Iterable[bytes]) -> bytes:
    """`lines` in canonical order, each ended by a newline."""
    return b"".join(line + b"\n" for line in sorted(lines, key=canonical_key))


def canonical_key(line: bytes) -> Key:
    """What a line is sorted by within its file."""
    try:
        event = decode(line)
    except BadLine:
        return (1, 0, "", "", line)
    seq, timestamp, event_id = event.get("seq"), event.get("timestamp"), event.get("event_id")
    return (
        0,
        seq if type(seq) is int else 0,
        timestamp if type(timestamp) is str else "",
        event_id if type(event_id) is str else "",
        line,
    )
