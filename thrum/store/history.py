"""The logs as they lie on disk, line by line, judged as the read model judges them; of each log one segment is in memory."""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from thrum.core import codec, layout
from thrum.core.codec import BadLine, Event
from thrum.core.layout import LogPath
from thrum.store import disk, reading, stated
from thrum.store.reading import Parse
from thrum.store.stated import Stated

UNFINISHED = "unfinished: whoever wrote it was killed before it was acknowledged"
QUARANTINE = "quarantine"


class Line(NamedTuple):
    """The line at byte `offset` of a log file; `said` is None for what counts for nothing, and `reason` says why."""

    source: LogPath
    offset: int
    raw: bytes
    said: Stated | None
    reason: str

    @property
    def event(self) -> Event | None:
        """What stands there, also when its log may not say so; None when it is no event at all."""
        if self.said is not None:
            return self.said.event
        try:
            return codec.decode(self.raw) if self.reason != UNFINISHED else None
        except BadLine:
            return None


def logs(root: str) -> list[str]:
    """Every log below `root`: the folder of one of ours, the file of one of v0.1.0's."""
    messages = f"{root}/messages"
    old = ["events.jsonl", *(f"messages/{name}" for name in _children(messages) if name.endswith(".jsonl"))]
    ours = [
        f"messages/{owner}/{origin}"
        for owner in _children(messages, 0)
        for origin in _children(f"{messages}/{owner}", 1)
    ]
    return [path for path in old if layout.parse_path(path) and os.path.lexists(f"{root}/{path}")] + ours


def files(root: str, log: str) -> Iterator[LogPath]:
    """The files of a log, in order, whatever they are."""
    whole = layout.parse_path(log)
    if whole is not None:
        yield whole
        return
    for folder in _children(f"{root}/{log}", 2):
        for name in _children(f"{root}/{log}/{folder}", 3):
            source = layout.parse_path(f"{log}/{folder}/{name}")
            if source is not None:
                yield source


def parser(root: str, wanted: Iterable[str]) -> Parse:
    """What reads these logs fastest."""
    sizes = (_size(f"{root}/{source.path}") for log in wanted for source in files(root, log))
    total = 0
    for size in sizes:
        total += max(size, 0)
        if total >= reading.WORTH_ORJSON:
            break
    return reading.parser(total)


def read(root: str, log: str, parse: Parse, *, backwards: bool = False) -> Iterator[Line]:
    """The lines of a log, from the first or from the last on. A file that cannot be read is one bad line."""
    sources = list(files(root, log))
    for source in reversed(sources) if backwards else sources:
        try:
            found = _cut(source, _content(f"{root}/{source.path}"))
        except OSError as error:
            yield Line(source, 0, b"", None, f"cannot be read: {error.strerror or error}")
            continue
        for offset, raw, is_whole in reversed(found) if backwards else found:
            yield _judged(source, offset, raw, parse) if is_whole else Line(source, offset, raw, None, UNFINISHED)


def merged(root: str, wanted: Sequence[str], *, backwards: bool = False) -> Iterator[Line]:
    """The lines of several logs by time; every log in its own order, whatever its clock did."""
    parse = parser(root, wanted)
    timed = [_timed(read(root, log, parse, backwards=backwards), backwards) for log in wanted]
    for _, line in heapq.merge(*timed, key=lambda pair: pair[0]):
        yield line


def quarantined(sync_dir: str) -> list[str]:
    """The files in which unfinished lines are kept that were cut off a log, oldest first."""
    names = _children(f"{sync_dir}/{QUARANTINE}")
    return sorted((f"{QUARANTINE}/{name}" for name in names), key=lambda path: path.rpartition(".")[2])


def _content(path: str) -> bytes:
    if not stat.S_ISREG(os.stat(path, follow_symlinks=False).st_mode):
        raise OSError("it is no plain file")
    return disk.read(path)


def _cut(source: LogPath, data: bytes) -> list[tuple[int, bytes, bool]]:
    """Offset, bytes and whether it was finished, of every line that is not empty."""
    found, at = [], 0
    pieces = data.split(b"\n")
    for piece in pieces[:-1]:
        if piece:
            found.append((at, piece, True))
        at += len(piece) + 1
    if pieces[-1]:
        found.append((at, pieces[-1], False))
    return found


def _judged(source: LogPath, offset: int, raw: bytes, parse: Parse) -> Line:
    try:
        return Line(source, offset, raw, stated.read(source, offset + len(raw) + 1, raw, parse), "")
    except BadLine as reason:
        return Line(source, offset, raw, None, str(reason))


def _timed(lines: Iterator[Line], backwards: bool) -> Iterator[tuple[int, Line]]:
    """Each line with its time, falling when read backwards; what has none keeps its neighbour's."""
    sign, at, waiting = -1 if backwards else 1, None, list[Line]()
    for line in lines:
        if line.said is not None:
            at = sign * line.said.at
            for earlier in waiting:
                yield at, earlier
            waiting.clear()
        if at is None:
            waiting.append(line)
        else:
            yield at, line
    for line in waiting:
        yield 0, line


def _children(path: str, depth: int | None = None) -> list[str]:
    try:
        names = os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if not name.startswith(".") and (depth is None or layout.is_part(depth, name)))


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0
