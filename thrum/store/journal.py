"""The one door in: what goes through `append` is durable before it is acknowledged, and nothing enters any other way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from thrum.core import events, ids, layout
from thrum.core.codec import BadLine, Event
from thrum.errors import BadParams, StorageError, ThrumError
from thrum.store.log import Log

MOST_OPEN = 16
"""Logs whose file stays open, where files do."""


class Statement(NamedTuple):
    """What an agent states at once: all of it is stored, or nothing."""

    agent_id: str
    events: Sequence[Event]


class Journal:
    """The logs this clone writes."""

    def __init__(self, root: str, origin: str) -> None:
        """`root`: the branch's worktree; `origin`: this clone's id."""
        self.root, self.origin = root, origin
        self._logs: dict[str, Log] = {}
        self.keeps_open = False
        """Whether the files that were written last stay open."""
        self._written: set[str] = set()

    def append(self, agent_id: str, *stated: Event) -> list[str]:
        """Makes what `agent_id` states durable, in its own log; the files (below the root) that grew.

        Raises BadParams or StorageError; then nothing was stored.
        """
        return self._log(self.check(agent_id, stated)).append(stated)

    def append_all(self, statements: Sequence[Statement]) -> tuple[list[str], list[ThrumError | None]]:
        """Makes several statements durable, those of one log together; the files that grew, and why which one was not stored.

        What the disk refuses is refused to everybody whose log it is.
        """
        outcomes: list[ThrumError | None] = [None] * len(statements)
        by_owner: dict[str, list[int]] = {}
        for place, statement in enumerate(statements):
            try:
                by_owner.setdefault(self.check(*statement), []).append(place)
            except BadParams as refusal:
                outcomes[place] = refusal
        paths: list[str] = []
        for owner, places in by_owner.items():
            grown, refusals = self._append_to(owner, [statements[place].events for place in places])
            paths += grown
            for place, outcome in zip(places, refusals, strict=True):
                outcomes[place] = outcome
        return paths, outcomes

    def check(self, agent_id: str, stated: Sequence[Event]) -> str:
        """Whose log `agent_id` writes, by its file stem. Raises BadParams for what no log can hold."""
        for event in stated:
            try:
                events.check(event)
            except BadLine as bad:
                raise BadParams(f"no valid {event.get('type')}: {bad}") from None
        owner = ids.stem(agent_id)
        if layout.parse_path(layout.segment_path(owner, self.origin, 0)) is None:
            raise BadParams(
                f"{agent_id[:80]!r} cannot have a log", "agents are named with lower-case letters, digits and _"
            )
        return owner

    def rest(self) -> None:
        """Closes the files that nobody has written to since the last call."""
        for owner, log in self._logs.items():
            if owner not in self._written:
                log.close()
        self._written.clear()

    def close(self) -> None:
        """Closes the files that are open."""
        for log in self._logs.values():
            log.close()

    def _append_to(self, owner: str, appends: list[Sequence[Event]]) -> tuple[list[str], Sequence[ThrumError | None]]:
        try:
            return self._log(owner).append_all(appends)
        except StorageError as trouble:
            return [], [StorageError(str(trouble), trouble.hint) for _ in appends]

    def _log(self, owner: str) -> Log:
        """The log, which is the last one in the order of their use now."""
        log = self._logs.pop(owner, None) or Log(self.root, owner, self.origin)
        self._logs[owner] = log
        log.keeps_open = self.keeps_open
        self._written.add(owner)
        for oldest in list(self._logs.values())[:-MOST_OPEN]:
            oldest.close()
        return log
