"""What this clone says that has to travel at once, whoever of its processes said it.

All processes share one read model, so another one may bring its own line into it before the daemon looks: then `catch_up` has
no news for us. The logs themselves tell.
"""

from __future__ import annotations

import os

from thrum.core import codec, events
from thrum.git.place import Place
from thrum.store import disk
from thrum.sync import state

End = tuple[str, int]
"""A log file (relative to the branch's worktree) and the byte behind a line in it."""


class Tails:
    """The ends of this clone's own logs."""

    def __init__(self, place: Place, origin: str) -> None:
        """What is in the logs now counts as known: the first cycle sends it."""
        self._place, self._origin = place, origin
        self._known = self._look()

    def read(self) -> list[End]:
        """The end of the last urgent line of every log that gained one since the last call."""
        before, self._known = self._known, self._look()
        found = []
        for path, size in self._known.items():
            start = before.get(path, 0)
            if size > start:
                ends = self._last_urgent(path, start)
                found += [(path, ends)] if ends else []
        return found

    def are_pending(self, ends: list[End]) -> bool:
        """Whether the remote was not seen to have all of them."""
        known = state.load(self._place.sync_dir)
        return not all(state.reached(known, self._origin, path, end) for path, end in ends)

    def _last_urgent(self, path: str, start: int) -> int:
        ends, at = 0, start
        for line in disk.read(f"{self._place.log_root}/{path}", start).split(b"\n")[:-1]:
            at += len(line) + 1
            if _is_urgent(line):
                ends = at
        return ends

    def _look(self) -> dict[str, int]:
        """{file: size} of the last segment of each log."""
        found = {}
        root = self._place.log_root
        for owner in _names(f"{root}/messages"):
            log = f"messages/{owner}/{self._origin}"
            folder = max(_names(f"{root}/{log}"), default="")
            name = max(_names(f"{root}/{log}/{folder}"), default="") if folder else ""
            if name:
                found[f"{log}/{folder}/{name}"] = _size(f"{root}/{log}/{folder}/{name}")
        return found


def _is_urgent(line: bytes) -> bool:
    try:
        return codec.decode(line).get("type") in events.EAGER
    except codec.BadLine:
        return False


def _names(folder: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0
