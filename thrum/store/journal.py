"""The one door in: what goes through `append` is durable before it is acknowledged, and nothing enters any other way."""

from __future__ import annotations

from thrum.core import events, ids, layout
from thrum.core.codec import BadLine, Event
from thrum.errors import BadParams
from thrum.store.log import Log


class Journal:
    """The logs this clone writes."""

    def __init__(self, root: str, origin: str) -> None:
        """`root`: the branch's worktree; `origin`: this clone's id."""
        self.root, self.origin = root, origin
        self._logs: dict[str, Log] = {}

    def append(self, agent_id: str, *stated: Event) -> None:
        """Makes what `agent_id` states durable, in its own log. Raises BadParams or StorageError; then nothing was stored."""
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
        if owner not in self._logs:
            self._logs[owner] = Log(self.root, owner, self.origin)
        self._logs[owner].append(stated)
