"""Whether a log is whole: numbered without a gap, each line naming the one before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from thrum.core.layout import parse_path
from thrum.core.purging import MARK_BYTES, Purged
from thrum.store.history import Line
from thrum.store.log import line_hash

_HASH = re.compile(r"[0-9a-f]{32}\Z")
Kind = Literal["gap", "fork", "changed", "unnumbered"]
WasPurged = Callable[[str, str], bool]
"""Whether the line of a log with this hash (as `prev` gives it) was purged, so that a gap before the next one is none."""


class Break(NamedTuple):
    """A place at which a log lacks lines, has one number twice, or was changed; the numbers it is about."""

    path: str
    kind: Kind
    first: int
    last: int

    @property
    def sentence(self) -> str:
        """What is wrong, in words."""
        number = f"number {self.first}" if self.first == self.last else f"numbers {self.first} to {self.last}"
        told = {
            "gap": f"{self.last - self.first + 1} lines are missing before number {self.last + 1}",
            "fork": f"{number} {'comes' if self.first == self.last else 'come'} again: two copies of one clone wrote here",
            "changed": f"the line before number {self.first} is not the one it was written after",
            "unnumbered": f"lines without a number after {self.first}",
        }
        return f"{self.path}: {told[self.kind]}"


def purged_by(purged: Purged) -> WasPurged:
    """What was purged, as `breaks` asks for it."""
    marks: dict[str, set[bytes]] = {}
    for path in purged.marks:
        source = parse_path(path)
        if source is not None:
            marks.setdefault(source.log, set()).update(purged.of(path))
    return lambda log, prev: bytes.fromhex(prev)[:MARK_BYTES] in marks.get(log, ()) if _HASH.match(prev) else False


def nothing_purged(log: str, prev: str) -> bool:
    """For logs of which nothing was purged."""
    return False


def breaks(lines: Iterable[Line], was_purged: WasPurged = nothing_purged) -> Iterator[Break]:
    """Every break of one log, in order. v0.1.0's logs have no numbers, and so no breaks."""
    waiting: Break | None = None
    for found in _examine(lines, was_purged):
        if waiting is not None and _goes_on(waiting, found):
            waiting = waiting._replace(last=max(found.last, waiting.last))
            continue
        if waiting is not None:
            yield waiting
        waiting = found
    if waiting is not None:
        yield waiting


def _goes_on(before: Break, found: Break) -> bool:
    """Whether a break belongs to the one before: numbers that come again in a row, lines without any."""
    if found.kind == "fork" == before.kind:
        return found.first <= before.last + 1
    return found.kind == "unnumbered" == before.kind and found.path == before.path


def _examine(lines: Iterable[Line], was_purged: WasPurged) -> Iterator[Break]:
    seq, hashes = 0, {""}
    for line in lines:
        event = None if line.source.is_legacy else line.event
        if event is None:
            continue
        path, number = line.source.path, event.get("seq")
        if type(number) is not int:
            if line.said is not None:  # what counts for nothing is told of elsewhere
                yield Break(path, "unnumbered", seq, seq)
        elif number <= seq:
            yield Break(path, "fork", number, number)
            hashes |= {line_hash(line.raw)} if number == seq else set()
        else:
            yield from _before(line, number, seq, str(event.get("prev", "")), hashes, was_purged)
            seq, hashes = number, {line_hash(line.raw)}


def _before(line: Line, number: int, seq: int, prev: str, hashes: set[str], was_purged: WasPurged) -> Iterator[Break]:
    """What is wrong between the last line and one with a higher number."""
    log, path = line.source.log, line.source.path
    if number > seq + 1:
        if not was_purged(log, prev):
            yield Break(path, "gap", seq + 1, number - 1)
    elif prev not in hashes and not was_purged(log, prev):
        yield Break(path, "changed", number, number)
