"""Logs carried by hand: the branch into a file, and a file's branch united with ours, without any network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from thrum.config import Settings
from thrum.core import layout
from thrum.errors import Refused
from thrum.git import branch, bundle
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place
from thrum.store import disk, history
from thrum.sync.cycle import Cycle


class Taken(NamedTuple):
    """What an import brought: log files that came or grew, and lines that were not here before."""

    logs: int
    events: int


class Exchange:
    """Export and import of one clone."""

    def __init__(self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object]) -> None:
        """`ingest` is told when lines reached the disk: it catches the read model up."""
        self.place = place
        self._cycle = Cycle(place, settings, origin, ingest)

    def export(self, path: str, *, force: bool = False) -> int:
        """Everything that is on disk now, as a bundle in the file `path`; its size. Raises Refused, ThrumError."""
        if not force and os.path.lexists(path):
            raise bundle.is_there(path)
        self._cycle.settle()
        return bundle.write(self.place, path, force=force)

    def pour(self, out: BinaryIO) -> int:
        """The same into a stream."""
        self._cycle.settle()
        return bundle.pour(self.place, out)

    def take(self, path: str, *, unrelated: bool = False) -> Taken:
        """Unites the logs of a bundle with ours. Raises Refused, before anything changes, when they have nothing in common
        with ours and `unrelated` was not said; ThrumError."""
        with bundle.unpacked(self.place, path) as commit:
            objects = open_objects(self.place.common_dir)
            try:
                self._refuse_strangers(objects, commit, path, unrelated)
            finally:
                objects.close()
            before = _lines(self.place.log_root)
            logs = self._cycle.settle(commit)
            return Taken(logs, max(_lines(self.place.log_root) - before, 0))

    def _refuse_strangers(self, objects: Objects, commit: str, path: str, unrelated: bool) -> None:
        paths = [name for name, _ in branch.walk(objects, objects.tree_of(commit))]
        theirs = {source.log for source in map(layout.parse_path, paths) if source is not None}
        if paths and not theirs:
            raise Refused(f"the branch a-sync in {path} holds no logs of thrum", "nothing was changed")
        ours, tip = set(history.logs(self.place.log_root)), objects.head(branch.REF)
        is_kin = not ours or not theirs or ours & theirs or tip is None or _have_a_past(objects, tip, commit)
        if not is_kin and not unrelated:
            raise Refused(
                f"the logs in {path} have nothing in common with those here: it may be another project's",
                "if they do belong together: git thrum import FILE --allow-unrelated; nothing was changed",
            )


def _have_a_past(objects: Objects, one: str, other: str) -> bool:
    """Whether two histories share more than their beginning: that is the same commit wherever it was made in one second."""
    base = objects.merge_base(one, other)
    return base is not None and bool(objects.entries(objects.tree_of(base)))


def _lines(root: str) -> int:
    """How many lines all logs have."""
    paths = (f"{root}/{source.path}" for log in history.logs(root) for source in history.files(root, log))
    return sum(disk.read(path).count(b"\n") for path in paths if os.path.isfile(path) and not os.path.islink(path))
