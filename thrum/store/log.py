"""One agent's log in this clone: append-only JSONL in segments, safe with many processes appending at once.

Who appends holds a lock on the log's folder. What is appended at once is one write and one fdatasync; a write that failed is
cut off again. What a killed process left unfinished at the end was never acknowledged: it is moved to `quarantine/` before the
next line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from thrum.core import codec, layout
from thrum.core.codec import BadLine, Event
from thrum.errors import BadParams
from thrum.store import disk, quarantine

Refusals = list[BadParams | None]


class _Tail(NamedTuple):
    segment: int
    state: _State
    seq: int
    prev: str

    @property
    def size(self) -> int:
        return self.state.size


class Appended(NamedTuple):
    """What became of several appends at once: the files (below the root) that grew, and for each append why it was refused."""

    paths: list[str]
    refusals: Refusals


class _State(NamedTuple):
    """What tells a file from what it was: `changed` is in nanoseconds."""

    inode: int
    size: int
    changed: int


def line_hash(line: bytes) -> str:
    """What the next line's `prev` says of `line` (without newline): 128 bits of its SHA-256, in hex."""
    return hashlib.sha256(line).hexdigest()[:32]


class Log:
    """The log of one agent, written by this clone."""

    def __init__(self, root: str, owner: str, origin: str) -> None:
        """`root`: the branch's worktree; `owner`: the agent's file stem; `origin`: the clone's id."""
        self.root, self.owner, self.origin = root, owner, origin
        self.folder = f"{root}/messages/{owner}/{origin}"
        self._tail: _Tail | None = None
        self._pen = disk.Pen()
        self._next_ones: tuple[int, list[str]] = (-1, [])
        self.keeps_open = False
        """Whether the file stays open between two appends: then nobody who watches for files being closed is told of them."""

    def append(self, events: Sequence[Event]) -> list[str]:
        """Makes `events` durable, in order, all or none; each gets its `origin`, `seq` and `prev`. Gives the files that grew.

        Without events, what is there already becomes durable: whoever wrote it may have been killed before that.
        Raises BadParams for what no line can hold, StorageError when the disk refuses.
        """
        paths, (refusal,) = self.append_all([events])
        if refusal is not None:
            raise refusal
        return paths

    def append_all(self, appends: Sequence[Sequence[Event]]) -> Appended:
        """Does several appends with one write and one flush for each file. One that is refused is left out.

        Raises StorageError when the disk refuses; then nothing of any of them is stored.
        """
        with disk.explained("write the log"):
            self._clear_the_way()
            with disk.locked(self.folder):
                tail = self._find_tail()
                self._tail = None
                lines, refusals = self._encode_all(tail, appends)
                self._tail, paths = self._write(tail, lines)
                return Appended(paths, refusals)

    def length(self) -> int:
        """How many lines there are, by the numbers of the first and the last; 0 where none tells. Nothing is mended."""
        try:
            segment = self._last_segment()
        except OSError:
            return 0
        last = self._last_line(segment)
        lines = (_first_number(_readable(self._path(number))) for number in range(segment + 1))
        first = next((number for number in lines if number is not None), None) if last else None
        return last[0] - first + 1 if last and first is not None else 0

    def close(self) -> None:
        """Closes the file; the next append opens it again."""
        self._pen.drop()

    def _clear_the_way(self) -> None:
        """Sees to it that the log's folder is there, and nothing is in the place of its file."""
        path = self._path(self._tail.segment if self._tail else 0)
        if not self._pen.is_on(path) or os.path.islink(self.folder):
            quarantine.make_way(self.root, path.removeprefix(self.root + "/"))
            disk.make_folder(self.folder)

    def _encode_all(self, tail: _Tail, appends: Sequence[Sequence[Event]]) -> tuple[list[bytes], Refusals]:
        lines: list[bytes] = []
        refusals: Refusals = []
        for events in appends:
            try:
                lines += self._encode(tail.seq + len(lines), line_hash(lines[-1]) if lines else tail.prev, events)
                refusals.append(None)
            except BadParams as refusal:
                refusals.append(refusal)
        return lines, refusals

    def _encode(self, seq: int, prev: str, events: Sequence[Event]) -> list[bytes]:
        lines = []
        for event in events:
            seq += 1
            try:
                line = codec.encode({**event, "v": 1, "origin": self.origin, "seq": seq, "prev": prev})
            except ValueError as error:
                raise BadParams(f"cannot be stored: {error}") from None
            if len(line) > codec.LONGEST_LINE:
                raise BadParams(f"too large: {len(line)} bytes in one event, {codec.LONGEST_LINE} are allowed")
            prev = line_hash(line)
            lines.append(line)
        return lines

    def _write(self, tail: _Tail, lines: list[bytes]) -> tuple[_Tail, list[str]]:
        """Where the log ends then, and the files that grew."""
        segment, size, before = tail.segment, tail.size, list[tuple[str, int]]()
        try:
            for number, group in _deal(segment, size, lines):
                path = self._path(number)
                size = size if number == segment else 0
                before.append((path, size))
                data = b"".join(group)
                disk.append(path, data, self._top, self._pen)
                segment, size = number, size + len(data)
        except BaseException:
            self._pen.drop()
            _cut_back(before)
            raise
        finally:
            if not self.keeps_open:
                self._pen.drop()
        if not lines:
            disk.flush(self._path(segment), self._top)
            return tail, []
        end = _Tail(segment, _state(self._path(segment)), tail.seq + len(lines), line_hash(lines[-1]))
        return end, [path.removeprefix(self.root + "/") for path, _ in before]

    @property
    def _top(self) -> str:
        """The repository's own folder: what lies below was made by us, and so is for us to make durable."""
        return os.path.dirname(os.path.dirname(self.root))

    def _path(self, segment: int) -> str:
        return f"{self.root}/{layout.segment_path(self.owner, self.origin, segment)}"

    def _find_tail(self) -> _Tail:
        if self._tail is not None and self._is_current(self._tail):
            return self._tail
        segment = self._last_segment()
        path = self._path(segment)
        quarantine.make_way(self.root, path.removeprefix(self.root + "/"))
        self._heal(path)
        return _Tail(segment, _state(path), *(self._last_line(segment) or (0, "")))

    def _last_line(self, segment: int) -> tuple[int, str] | None:
        """The number and the hash of the last line that is sound, up to a segment."""
        lines = (_last_event(_readable(self._path(number))) for number in range(segment, -1, -1))
        return next((line for line in lines if line is not None), None)

    def _is_current(self, tail: _Tail) -> bool:
        if _state(self._path(tail.segment)) != tail.state:
            return False
        return not any(os.access(path, os.F_OK) for path in self._beyond(tail.segment))

    def _beyond(self, segment: int) -> list[str]:
        """Where others' next segments would be."""
        if self._next_ones[0] != segment:
            self._next_ones = segment, [self._path(segment + 1 + number) for number in range(layout.REACH)]
        return self._next_ones[1]

    def _last_segment(self) -> int:
        numbers = [0]
        for folder in sorted(os.listdir(self.folder))[-2:]:
            with contextlib.suppress(NotADirectoryError):
                for name in os.listdir(f"{self.folder}/{folder}"):
                    parsed = layout.parse_path(f"messages/{self.owner}/{self.origin}/{folder}/{name}")
                    numbers.append(parsed.segment if parsed else 0)
        return max(numbers)

    def _heal(self, path: str) -> None:
        data = disk.read(path)
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return
        quarantine.keep(self.root, f"{self.owner}.{self.origin}", data[whole:])
        os.truncate(path, whole)


def _deal(segment: int, size: int, lines: list[bytes]) -> list[tuple[int, list[bytes]]]:
    dealt: list[tuple[int, list[bytes]]] = []
    for line in lines:
        if size and size + len(line) + 1 > layout.SEGMENT_BYTES:
            segment, size = segment + 1, 0
        if not dealt or dealt[-1][0] != segment:
            dealt.append((segment, []))
        dealt[-1][1].append(line + b"\n")
        size += len(line) + 1
    return dealt


def _cut_back(before: list[tuple[str, int]]) -> None:
    for path, size in before:
        with contextlib.suppress(OSError):
            if os.path.getsize(path) > size:
                os.truncate(path, size)


def _state(path: str) -> _State:
    try:
        found = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return _State(0, 0, 0)
    return _State(found.st_ino, found.st_size, found.st_ctime_ns)


def _readable(path: str) -> bytes:
    """A file's bytes; none when it cannot be read: what is before the last segment is in nobody's way."""
    try:
        return disk.read(path)
    except OSError:
        return b""


def _first_number(data: bytes) -> int | None:
    return next((seq for seq, _ in _numbered(data.split(b"\n"))), None)


def _last_event(data: bytes) -> tuple[int, str] | None:
    return next(((seq, line_hash(line)) for seq, line in _numbered(reversed(data.split(b"\n")))), None)


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Those of some lines that are sound, with their numbers."""
    for line in lines:
        with contextlib.suppress(BadLine):
            seq = codec.decode(line).get("seq") if line else None
            if type(seq) is int:
                yield seq, line
