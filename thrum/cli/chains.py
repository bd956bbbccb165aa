"""Whether every log is whole: numbered without a gap, each line naming the one before it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from thrum.core import codec, layout
from thrum.core.codec import BadLine, Event
from thrum.store import disk, quarantine
from thrum.store.log import line_hash


def broken(root: str) -> list[str]:
    """A sentence for each place at which a log below `root` lacks something or was changed."""
    misplaced = list(quarantine.misplaced(root))
    return misplaced + [sentence for log in sorted(_logs(root)) for sentence in _examine(root, log)]


def _logs(root: str) -> Iterator[str]:
    for owner in _children(f"{root}/messages"):
        for origin in _children(f"{root}/messages/{owner}"):
            yield f"messages/{owner}/{origin}"


def _examine(root: str, log: str) -> Iterator[str]:
    seq, prev = 0, ""
    for path, line in _lines(root, log):
        try:
            event = codec.decode(line)
        except BadLine:
            continue  # it was set aside, and is told of there
        number = event.get("seq")
        if not isinstance(number, int):
            yield f"{path}: a line without a number after {seq}"
            continue
        yield from _compare(path, event, number, seq, prev)
        seq, prev = number, line_hash(line)


def _compare(path: str, event: Event, number: int, seq: int, prev: str) -> Iterator[str]:
    if number > seq + 1:
        yield f"{path}: {number - seq - 1} lines are missing before number {number}"
    elif number <= seq:
        yield f"{path}: number {number} comes again after {seq}"
    elif event.get("prev", "") != prev:
        yield f"{path}: the line before number {number} is not the one it was written after"


def _lines(root: str, log: str) -> Iterator[tuple[str, bytes]]:
    for folder in _children(f"{root}/{log}"):
        for name in _children(f"{root}/{log}/{folder}"):
            path = f"{log}/{folder}/{name}"
            if layout.parse_path(path) is not None:
                data = _read(f"{root}/{path}")
                for line in data[: data.rfind(b"\n") + 1].split(b"\n")[:-1]:
                    if line:
                        yield path, line


def _read(path: str) -> bytes:
    """The file's bytes; none where it cannot be read, which is told of elsewhere."""
    try:
        return disk.read(path)
    except OSError:
        return b""


def _children(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
