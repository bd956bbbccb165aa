"""Who was turned away at the daemon's doors: a count for each reason, nothing of what was said."""

from __future__ import annotations

USER, HOST, ORIGIN, TOKEN, ROOM = "user", "host", "origin", "token", "room"
"""A process of another user, another name for this machine, another page, no token, too many at once."""
_REASONS = (USER, HOST, ORIGIN, TOKEN, ROOM)


class Turned:
    """The counts of one daemon's life."""

    def __init__(self) -> None:
        self._counts = dict.fromkeys(_REASONS, 0)

    def note(self, reason: str) -> None:
        """Somebody was turned away; what is no reason of ours is none."""
        if reason in self._counts:
            self._counts[reason] += 1

    def as_json(self) -> dict[str, int]:
        """`{reason: count}`, of those that happened."""
        return {reason: count for reason, count in self._counts.items() if count}
