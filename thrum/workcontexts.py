"""What agents work on: read from git where it may take its time, stated where the read model is."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from thrum.core import clock, events
from thrum.core.codec import Event
from thrum.core.ids import Ulids
from thrum.errors import GitError
from thrum.git import place as places
from thrum.git.place import Place
from thrum.store import identities
from thrum.store.roster import Roster

Json = dict[str, Any]
_FIELDS = ("branch", "unmerged_commits", "uncommitted_files", "changed_files", "session_id", "worktree")
FEW = 4
"""Worktrees that are looked at without a thread of their own."""


class Reading(NamedTuple):
    """What git said of a worktree, and which agents work there; `number` tells which of two readings began later."""

    place: Place
    agents: list[str]
    found: Json
    number: int


class WorkContexts:
    """The contexts of the agents in this clone's worktrees."""

    def __init__(
        self, place: Place, origin: str, roster: Roster, ulids: Ulids, state: Callable[[str, list[Event]], None]
    ) -> None:
        """`state` makes what an agent states durable and visible."""
        self._place, self._origin, self._roster, self._ulids, self._say = place, origin, roster, ulids, state
        self.look: Callable[[Place], Mapping[str, Any]] = _ask_git
        """Gives the context of a worktree, on any thread; who remembers what it saw puts its own function here."""
        self.glance: Callable[[Sequence[Place]], Sequence[Mapping[str, Any]] | None] = lambda places: None
        """The same of several, if it takes no more than a moment to be sure of all; else None."""
        self._worktrees = 0
        """How many there were when all were read."""
        self._numbers = itertools.count(1)
        self._stated: dict[Place, int] = {}

    def read(self, wanted: list[Place] | None = None) -> list[Reading]:
        """Looks with git at the worktrees of this clone in which agents work. On any thread: it may take a while."""
        if wanted is None:
            wanted = places.worktrees(self._place)
            self._worktrees = len(wanted)
        found = []
        for place, agents in _inhabited(wanted).items():
            number = next(self._numbers)
            # A worktree that git cannot read must not hide what the others do.
            with contextlib.suppress(GitError):
                found.append(Reading(place, agents, dict(self.look(place)), number))
        return found

    def recall(self) -> list[Reading] | None:
        """What `read` would give, if that takes no more than a moment; else None, as before the first `read`."""
        if not 0 < self._worktrees <= FEW:
            return None
        number, wanted = next(self._numbers), _inhabited(places.worktrees(self._place))
        found = self.glance(list(wanted))
        if found is None:
            return None
        return [Reading(*one, dict(context), number) for one, context in zip(wanted.items(), found, strict=True)]

    def state(self, readings: list[Reading]) -> None:
        """States what changed of what agents work on. A reading that took longer than a later one says nothing new."""
        for reading in readings:
            if reading.number < self._stated.get(reading.place, 0):
                continue
            self._stated[reading.place] = reading.number
            for agent_id in reading.agents:
                if self._roster.agent(agent_id):
                    self._state_one(agent_id, reading.place, reading.found)

    def state_all(self, readings: list[Reading]) -> None:
        """`state` of all worktrees there are; whose worktree is gone has no uncommitted files any more."""
        self.state(readings)
        there = {agent_id for reading in readings for agent_id in reading.agents}
        others = self._roster.contexts_without(self._origin, there)
        missed = {who: known for who, known in others.items() if known.get("uncommitted_files")}
        if missed:
            self._clear_gone(missed)

    def refresh(self) -> None:
        """Reads all worktrees, and states what changed, all on this thread."""
        self.state_all(self.read())

    def _clear_gone(self, missed: dict[str, Json]) -> None:
        """States, of those who are in no worktree any more, that what they had not committed is gone with it."""
        there = {agent_id for agents in _inhabited(places.worktrees(self._place)).values() for agent_id in agents}
        away = places.locked_away(self._place)
        for agent_id in missed.keys() - there:
            known = missed[agent_id]
            if known.get("worktree") not in away and self._roster.agent(agent_id):
                committed = {name: known[name] for name in _FIELDS if name in known and name != "uncommitted_files"}
                self._say(agent_id, [self._event(agent_id, committed)])

    def _state_one(self, agent_id: str, place: Place, found: Json) -> None:
        session = self._roster.open_session(agent_id, self._origin)
        fresh = {name: found[name] for name in _FIELDS if found.get(name)}
        fresh.update(session_id=session["session_id"] if session else "", worktree=place.name)
        known = self._roster.stated_context(agent_id, self._origin) or {}
        if {name: known.get(name) for name in _FIELDS} == {name: fresh.get(name) for name in _FIELDS}:
            return
        self._say(agent_id, [self._event(agent_id, fresh)])

    def _event(self, agent_id: str, context: Json) -> Event:
        instant = time.time_ns()
        stamp = clock.text(instant)
        event: Event = {"type": events.AGENT_UPDATE, "timestamp": stamp, "agent_id": agent_id}
        event["event_id"] = "evt_" + self._ulids.next(instant, os.urandom(10))
        event["work_contexts"] = [{**context, "git_updated_at": stamp}]
        return event


def agents_of(place: Place) -> list[str]:
    """Who works in that worktree."""
    folder = place.identities_dir
    return [identity.agent_id for identity in identities.present(folder)] if folder else []


def _inhabited(worktrees: list[Place]) -> dict[Place, list[str]]:
    """Those in which somebody works, and who."""
    return {place: agents for place in worktrees if (agents := agents_of(place))}


def _ask_git(place: Place) -> Mapping[str, Any]:
    from thrum.git import context

    return context.read(place)
