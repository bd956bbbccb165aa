"""A glance at the logs: whether they are as they were when everything in them had been read. It asks no database.

Where the system tells what was touched, it asks for that. Elsewhere it looks at the same things as `news.find`: at the folders,
which tell of new and of replaced files, and at those files that no next one follows, which alone can have grown.
"""

from __future__ import annotations

import os
import time

from thrum.core import clock, layout
from thrum.store import disk
from thrum.vigil import LostSightError, Vigil

BLIND = 60.0
"""Seconds after which it is tried again whether the system tells what was touched, where it could not for all folders."""


class Glance:
    """How the logs below `root` looked, taken before they were read."""

    def __init__(self, root: str, before: Glance | None = None) -> None:
        """Looks through all of them. `before` is an earlier one that is over now: whom it asked is asked again."""
        self.root, self._mark = root, f"{os.path.dirname(root)}/mended"
        self._files: dict[str, tuple[int, int, int] | None] = {}
        self._folders: dict[str, tuple[int, int] | None] = {}
        self._unsettled: dict[str, list[str]] = {}
        self._blind_until: float = before._blind_until if before else 0.0
        self._vigil = (before and before._hand_over()) or self._open_vigil()
        self._until = time.time_ns() + clock.SETTLED
        self._note_file(self._mark)
        self._watch(root)
        self._top = _inode(root)
        self._note_file(f"{root}/events.jsonl")
        for owner in self._note_folder(f"{root}/messages"):
            self._note_owner(f"{root}/messages/{owner}", owner)

    def holds(self) -> bool:
        """Whether everything still looks so."""
        touched = self._touched()
        return self._looks_the_same() if touched is None else self._is_known(touched)

    def renew(self, path: str, inode: int, size: int, mtime: int) -> None:
        """The file `path` (below the root) has been read as far as it was then."""
        if f"{self.root}/{path}" in self._files:
            self._files[f"{self.root}/{path}"] = inode, size, mtime

    def _hand_over(self) -> Vigil | None:
        """What watches the folders: to open one takes a tenth of a millisecond, to close one ten."""
        touched, vigil = self._touched(), self._vigil
        if vigil is not None and touched is not None:
            vigil.forget(touched)
        self._vigil = None
        return vigil

    def _touched(self) -> frozenset[str] | None:
        """What the system tells of; None where it does not."""
        if self._vigil is None:
            return None
        try:
            return self._vigil.touched()
        except LostSightError:
            self._vigil = None
            return None

    def _is_known(self, touched: frozenset[str]) -> bool:
        """Whether all that was touched is as it was read, and nobody moved it all away."""
        files = [self._mark, *(f"{self.root}/{path}" for path in touched)]
        if not all(path in self._files and disk.signature(path) == self._files[path] for path in files):
            return False
        if _inode(self.root) != self._top:
            return False
        if touched and self._vigil is not None:
            self._vigil.forget(touched)
        return True

    def _looks_the_same(self) -> bool:
        """The same by looking. A folder that changed just now is looked through, and believed for a moment."""
        if self._unsettled and time.time_ns() > self._until:
            return False
        return (
            all(disk.signature(path) == state for path, state in self._files.items())
            and all(_folder(path) == state for path, state in self._folders.items())
            and all(disk.names(path) == names for path, names in self._unsettled.items())
        )

    def _note_owner(self, path: str, name: str) -> None:
        if name.endswith(".jsonl"):
            self._note_file(path)
        elif layout.is_part(0, name):
            for origin in self._note_folder(path):
                if layout.is_part(1, origin):
                    self._note_log(f"{path}/{origin}")

    def _note_log(self, path: str) -> None:
        for folder in self._note_folder(path):
            if layout.is_part(2, folder):
                names = [name for name in self._note_folder(f"{path}/{folder}") if layout.is_part(3, name)]
                for name in layout.ends_of_runs(names):
                    self._note_file(f"{path}/{folder}/{name}")

    def _note_file(self, path: str) -> None:
        self._files[path] = disk.signature(path)

    def _note_folder(self, path: str) -> list[str]:
        """Notes a folder, after which no change of it goes unseen; what is in it."""
        self._watch(path)
        state = self._folders[path] = _folder(path)
        names = disk.names(path)
        if state is not None and time.time_ns() - state[1] < clock.SETTLED:
            self._unsettled[path] = names
        return names

    def _watch(self, path: str) -> None:
        if self._vigil is not None:
            try:
                self._vigil.watch(path[len(self.root) + 1 :])
            except LostSightError:
                self._vigil, self._blind_until = None, time.monotonic() + BLIND

    def _open_vigil(self) -> Vigil | None:
        if time.monotonic() < self._blind_until:
            return None
        try:
            return Vigil(self.root)
        except LostSightError:
            self._blind_until = time.monotonic() + BLIND
            return None


def _inode(path: str) -> int:
    found = disk.signature(path)
    return found[0] if found else 0


def _folder(path: str) -> tuple[int, int] | None:
    """What tells a folder from what it was: inode and time; its size says nothing."""
    found = disk.signature(path)
    return found and (found[0], found[2])
