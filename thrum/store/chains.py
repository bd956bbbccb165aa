"""Whether a log is whole: numbered without a gap, each line naming the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from thrum.store.history import Line
from thrum.store.log import line_hash

Kind = Literal["gap", "fork", "changed", "unnumbered"]
Purged = Callable[[str, int, int], bool]
"""Whether the lines of a log with the numbers from the first to the last were purged, so that their gap is none."""


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
            "unnumbered": f"a line without a number after {self.first}",
        }
        return f"{self.path}: {told[self.kind]}"


def nothing_purged(log: str, first: int, last: int) -> bool:
    """For logs of which nothing was purged."""
    return False


def breaks(lines: Iterable[Line], is_purged: Purged = nothing_purged) -> Iterator[Break]:
    """Every break of one log, in order. v0.1.0's logs have no numbers, and so no breaks."""
    waiting: Break | None = None
    for found in _examine(lines, is_purged):
        if waiting is not None and found.kind == "fork" == waiting.kind and found.first <= waiting.last + 1:
            waiting = waiting._replace(last=max(found.last, waiting.last))
            continue
        if waiting is not None:
            yield waiting
        waiting = found
    if waiting is not None:
        yield waiting


def _examine(lines: Iterable[Line], is_purged: Purged) -> Iterator[Break]:
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
            yield from _before(line, number, seq, event.get("prev", "") in hashes, is_purged)
            seq, hashes = number, {line_hash(line.raw)}


def _before(line: Line, number: int, seq: int, follows: bool, is_purged: Purged) -> Iterator[Break]:
    """What is wrong between the last line and one with a higher number."""
    if number > seq + 1:
        if not is_purged(line.source.log, seq + 1, number - 1):
            yield Break(line.source.path, "gap", seq + 1, number - 1)
    elif not follows:
        yield Break(line.source.path, "changed", number, number)
