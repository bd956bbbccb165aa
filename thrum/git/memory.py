"""What is known of worktrees, for as long as nothing on disk speaks against it. For a process that is asked again and again."""

from __future__ import annotations

import time
from typing import NamedTuple

from thrum.git import context, evidence
from thrum.git.context import Context
from thrum.git.evidence import CannotTellError, Evidence
from thrum.git.place import Place

LONGEST = 600.0
"""Seconds after which git is asked even if nothing has changed."""
MOST = 12_000
"""Files and folders kept in mind for all worktrees together."""


class _Known(NamedTuple):
    rests_on: Evidence
    context: Context
    since: float


class Memory:
    """Contexts by worktree. Any number of threads."""

    def __init__(self) -> None:
        self._known: dict[Place, _Known] = {}

    def recall(self, place: Place) -> Context | None:
        """What `context.read` would give now; None when it has to be asked. Starts no process."""
        known = self._known.get(place)
        if known is None:
            return None
        if time.monotonic() - known.since < LONGEST and known.rests_on.holds():
            return known.context
        self._known.pop(place, None)
        return None

    def learn(self, place: Place) -> bool:
        """Reads a worktree so that it can be recalled; whether that is possible. Takes longer than reading. Raises GitError."""
        began, since = evidence.now(), time.monotonic()
        try:
            rests_on = evidence.of_worktree(place)
        except CannotTellError:
            return False
        found = context.read(place)
        if not rests_on.is_settled(began) or not rests_on.holds():
            return False
        self._keep(place, _Known(rests_on, found, since))
        return True

    def _keep(self, place: Place, known: _Known) -> None:
        self._known.pop(place, None)
        self._known[place] = known
        while sum(len(one.rests_on) for one in list(self._known.values())) > MOST and len(self._known) > 1:
            self._known.pop(next(iter(self._known)), None)
