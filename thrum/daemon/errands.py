"""What the sync's pace may have done: a cycle, a look at the remote's tip. Everything here blocks, in threads of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from thrum.config import Settings
from thrum.daemon.watch import read_ref
from thrum.errors import ThrumError
from thrum.git import remote
from thrum.git.branch import REF
from thrum.git.place import Place
from thrum.store import disk
from thrum.sync.cycle import Cycle, Report

TRUSTED = 60.0
"""Seconds for which there being no remote is believed while the repository's configuration is as it was: what it includes, and
what the user has set for all repositories, may say otherwise by then."""

log = logging.getLogger("thrum.daemon")


class Errands:
    """The ways to the remote of one repository."""

    def __init__(self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object]) -> None:
        """Looks who the remote is. `ingest` catches the read model up, from any thread."""
        self._place, self._settings = place, settings
        self._cycle = Cycle(place, settings, origin, ingest)
        self.name: str | None = settings.remote
        """The remote's name, None without one."""
        self._alone: tuple[object, float] = (None, 0.0)
        """The configuration's signature when there was no remote, and until when that is believed."""
        self.directory: str | None = None
        """Its git directory, when it is on this machine."""
        try:
            self.has_remote()
            self.directory = remote.local_path(place, self.name) if self.name else None
        except ThrumError as error:
            log.warning("%s", error)

    def has_remote(self) -> bool:
        """Whether there is one to sync with, by now. A chosen one that does not exist counts: the cycle tells of it."""
        if self._settings.remote is None:
            now, seen = time.monotonic(), disk.signature(f"{self._place.common_dir}/config")
            if self._alone[0] == seen and seen is not None and now < self._alone[1]:
                return False  # asking git is a process, and nobody here has anybody to sync with
            self.name = remote.pick(self._place, None)
            self._alone = (seen if self.name is None else None, now + TRUSTED)
        return self.name is not None

    def run(self) -> Report:
        """One cycle."""
        return self._cycle.run()

    def peek(self) -> str | None:
        """The commit the remote's a-sync is at, None for nothing or unknown. Raises RemoteError."""
        here = read_ref(self.directory, REF) if self.directory else ""
        if here or not self.name:
            return here or None
        return remote.tip(self._place, self.name)
