"""The truth about the logs: every object, every line and every row read again and compared, and nothing changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from thrum.core import layout, purging, union
from thrum.core.purging import NOTHING, Purged
from thrum.errors import ThrumError
from thrum.git import branch, integrity
from thrum.git.objects import Objects
from thrum.store import chains, disk, history, proof
from thrum.store.history import UNFINISHED, Line
from thrum.sync import files

_PLURAL: dict[chains.Kind, str] = {"gap": "gaps", "fork": "forks", "changed": "changed", "unnumbered": "unnumbered"}


class Finding(NamedTuple):
    """Something that is not as it should be: in which part, and what."""

    part: str
    sentence: str


class Difference(NamedTuple):
    """Lines that only one side has, by log file."""

    only_here: dict[str, int]
    only_there: dict[str, int]


class Audit:
    """One look at everything: `counts` by name, and `findings`. No part keeps the others from being looked at."""

    def __init__(self, root: str, common_dir: str, objects: Objects, purged: Purged = NOTHING) -> None:
        """`root`: the branch's worktree; `purged`: what nobody lacks any more."""
        self.root, self.common_dir, self.objects, self.purged = root, common_dir, objects, purged
        self.counts: Counter[str] = Counter()
        self.findings: list[Finding] = []

    def look(self, part: str, look: Callable[[], Iterator[str]]) -> None:
        """Notes what a look finds, and what kept it from looking."""
        try:
            self.findings += [Finding(part, sentence) for sentence in look()]
        except ThrumError as error:
            self.findings.append(Finding(part, str(error)))
        except OSError as error:
            self.findings.append(Finding(part, f"{error.filename or part}: {error.strerror or error}"))

    def at_objects(self) -> Iterator[str]:
        """Every object of the branch: there, and with the content its name says."""
        tip = self.objects.head(branch.REF)
        if tip is None:
            yield "there is no branch a-sync, or its commit is damaged"
            return
        found = integrity.examine(self.common_dir, tip)
        self.counts.update(commits=found.kinds["commit"], objects=found.kinds.total(), object_bytes=found.size)
        yield from found.faults

    def at_lines(self) -> Iterator[str]:
        """Every line of every log: an event, its owner's to state, numbered, and naming the one before it."""
        logs = history.logs(self.root)
        parse = history.parser(self.root, logs)
        owners, was_purged = set[str](), chains.purged_by(self.purged)
        for log in logs:
            faults = list[str]()
            for broken in chains.breaks(self._told(history.read(self.root, log, parse), owners, faults), was_purged):
                self.counts[_PLURAL[broken.kind]] += 1
                faults.append(broken.sentence)
            yield from faults
        self.counts.update(logs=len(logs), agents=len(owners))

    def at_rows(self, database: str, origin: str) -> Iterator[str]:
        """Every row of the read model: what a fold of the logs gives."""
        for sentence in proof.check(self.root, database, origin):
            self.counts["differences"] += 1
            yield sentence

    def at_tree(self) -> Iterator[str]:
        """Every log on the branch: nothing in it that the disk lacks. What the disk has beyond it waits for a commit."""
        tip = self.objects.head(branch.REF)
        if tip is None:
            return
        found = self.compare(self.objects.tree_of(tip))
        self.counts["uncommitted"] += sum(found.only_here.values())
        for path, lines in sorted(found.only_there.items()):
            self.counts["lacking"] += lines
            yield f"{path} lacks {lines} {'line' if lines == 1 else 'lines'} that the branch has"

    def compare(self, tree: str | None) -> Difference:
        """What the disk has and the logs of `tree` have not, and the other way round."""
        here, there = dict[str, int](), dict[str, int]()
        seen = set[str]()
        for path, entry in branch.walk(self.objects, tree) if tree else ():
            source = files.is_readable(self.objects, path, entry)
            if source is None or files.is_out_of_reach(self.root, source):
                self.counts["unread"] += source is None and layout.parse_path(path) is not None
                continue
            seen.add(path)
            theirs = purging.without(self.objects.blob(entry.oid), self.purged.of(path))
            _note(here, there, path, _content(f"{self.root}/{path}"), theirs)
        for log in history.logs(self.root):
            for source in history.files(self.root, log):
                if source.path not in seen:
                    _note(here, there, source.path, _content(f"{self.root}/{source.path}"), b"")
        return Difference(here, there)

    def _told(self, lines: Iterator[Line], owners: set[str], faults: list[str]) -> Iterator[Line]:
        """The lines, counted."""
        for line in lines:
            self.counts["bytes"] += len(line.raw) + 1
            if line.said is not None:
                self.counts["events"] += 1
                owners.add(line.source.owner)
            elif line.reason == UNFINISHED:
                self.counts["unfinished"] += 1
            else:
                self.counts["set_aside"] += 1
                faults.append(f"{line.source.path} at byte {line.offset}: {line.reason}")
            yield line


def _note(here: dict[str, int], there: dict[str, int], path: str, ours: bytes, theirs: bytes) -> None:
    if ours.startswith(theirs):
        counted = ours[len(theirs) :].count(b"\n"), 0
    else:
        mine, others = set(union.split(ours)), set(union.split(theirs))
        counted = len(mine - others), len(others - mine)
    for found, lines in zip((here, there), counted, strict=True):
        if lines:
            found[path] = lines


def _content(path: str) -> bytes:
    """The finished lines of a plain file; none of anything else."""
    return union.complete(disk.read(path)) if os.path.isfile(path) and not os.path.islink(path) else b""
