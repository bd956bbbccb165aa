"""What is known of worktrees, for as long as nothing on disk speaks against it. For a process that is asked again and again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from thrum.errors import GitError
from thrum.git import context, evidence
from thrum.git.context import Context
from thrum.git.evidence import CannotTellError, Evidence
from thrum.git.place import Place
from thrum.vigil import LostSightError

if TYPE_CHECKING:
    from thrum.git.watched import Watched

LONGEST = 600.0
"""Seconds after which git is asked even if nothing has changed."""
FEW = 400
"""Files and folders that a glance looks at, in all worktrees together."""
MOST = 12_000
"""Files and folders kept in mind for all worktrees together."""
MOST_WATCHED = 4
"""Large worktrees whose folders are watched."""
REST = 20.0
"""Times as long as it took to learn a large worktree, nobody learns it again."""


class _Known(NamedTuple):
    rests_on: Evidence
    context: Context
    since: float


class Memory:
    """Contexts by worktree. Any number of threads."""

    def __init__(self) -> None:
        self._known: dict[Place, _Known] = {}
        self._watched: dict[Place, tuple[Watched, float]] = {}
        self._rests: dict[Place, float] = {}

    def recall(self, place: Place) -> Context | None:
        """What `context.read` would give now; None when it has to be asked. Hardly ever starts a process."""
        return self._recall_watched(place) if place in self._watched else self._recall_known(place)

    def glance(self, places: Sequence[Place]) -> list[Context] | None:
        """What `recall` would give of each, if all are known and few files tell that it holds; None else.

        Takes no more than a moment: less than a millisecond where the disk is fast.
        """
        known = [self._known.get(place) for place in places if place not in self._watched]
        if None in known or sum(len(one.rests_on) for one in known if one) > FEW:
            return None
        found: list[Context] = []
        for place in places:
            context = self._glance_watched(place) if place in self._watched else self._recall_known(place)
            if context is None:
                return None
            found.append(context)
        return found

    def _glance_watched(self, place: Place) -> Context | None:
        watched, since = self._watched.get(place, (None, 0.0))
        if watched is not None and time.monotonic() - since < LONGEST:
            with contextlib.suppress(CannotTellError, LostSightError, OSError):
                return watched.glance()
        return None

    def _recall_known(self, place: Place) -> Context | None:
        known = self._known.get(place)
        if known is None:
            return None
        if time.monotonic() - known.since < LONGEST and known.rests_on.holds():
            return known.context
        self._known.pop(place, None)
        return None

    def learn(self, place: Place) -> bool:
        """Reads a worktree so that it can be recalled; whether that is possible. Takes longer than reading. Raises GitError."""
        return self._watch(place) if evidence.is_large(place) else self._learn(place)

    def _learn(self, place: Place) -> bool:
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

    def _watch(self, place: Place) -> bool:
        began = time.monotonic()
        if began < self._rests.get(place, 0.0) or place in self._watched:
            return place in self._watched
        from thrum.git.watched import Watched

        try:
            watched = Watched(place)
        except (CannotTellError, LostSightError):
            return False
        finally:
            ended = time.monotonic()
            self._rests[place] = ended + REST * (ended - began)
        self._watched[place] = watched, began
        while len(self._watched) > MOST_WATCHED:
            self._drop(next(iter(self._watched)))
        return True

    def _recall_watched(self, place: Place) -> Context | None:
        watched, since = self._watched.get(place, (None, 0.0))
        if watched is None:
            return None
        if time.monotonic() - since < LONGEST:
            with contextlib.suppress(CannotTellError, LostSightError, GitError, OSError):
                return watched.recall()
        self._drop(place)
        return None

    def _drop(self, place: Place) -> None:
        watched, _ = self._watched.pop(place, (None, 0.0))
        if watched is not None:
            watched.close()

    def _keep(self, place: Place, known: _Known) -> None:
        self._known.pop(place, None)
        self._known[place] = known
        while sum(len(one.rests_on) for one in list(self._known.values())) > MOST and len(self._known) > 1:
            self._known.pop(next(iter(self._known)), None)
