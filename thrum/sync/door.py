"""What methods may ask of the sync."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from thrum.config import Settings
from thrum.git.place import Place
from thrum.store.purges import Purges
from thrum.sync import state

if TYPE_CHECKING:
    from thrum.sync.cycle import Report

Json = dict[str, Any]


class Door:
    """The sync of one clone, from outside."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        origin: str,
        purges: Purges,
        ingest: Callable[[], object],
        is_running: Callable[[], bool],
    ) -> None:
        """`ingest` catches the read model up; `is_running`: whether a daemon syncs by itself."""
        self._place, self._settings, self._origin = place, settings, origin
        self._purges, self._ingest, self._is_running = purges, ingest, is_running

    def status(self) -> Json:
        """`{running, last_sync_at, last_error?, sync_state, remote, ...}`."""
        known, enabled = state.load(self._place.sync_dir), self._settings.sync
        return state.describe(known, self._place.log_root, self._origin, enabled=enabled, running=self._is_running())

    def force(self) -> Json:
        """One cycle in this thread: `{ok, error, received, pushed, remote}`."""
        return self.run().as_json()

    def reached(self, wanted: list[tuple[str, int]]) -> list[bool]:
        """For each (log file, offset): whether the remote was seen to have the log up to there."""
        known, purged = state.load(self._place.sync_dir), self._purges.all()
        if known.get("purges", 0) != purged.number:
            return [False] * len(wanted)  # the logs have become shorter since the remote was seen
        return [state.reached(known, self._origin, path, ends) for path, ends in wanted]

    def run(self) -> Report:
        """One cycle in this thread."""
        from thrum.sync.cycle import Cycle

        return Cycle(self._place, self._settings, self._origin, self._ingest).run()
