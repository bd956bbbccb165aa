"""What several calls state that are answered together: collected here, then made durable with one flush for each log."""

from __future__ import annotations

from collections.abc import Sequence

from thrum.core.codec import Event
from thrum.store.journal import Statement

LARGEST = 1024 * 1024
"""Characters of text that become durable together at most."""


class Alone(Exception):
    """This call has to come after the others: it must see what they state, or there is no room for it beside them."""


class Stage:
    """The statements of calls that were made one after another, and whose they are."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.callers: list[int] = []
        """For each statement the number of the call that made it."""
        self._open: list[Statement] = []
        self._messages: set[str] = set()
        self._size = 0

    def begin(self) -> None:
        """The next call is made; or the same one again, and what it has stated so far is forgotten."""
        self._open = []

    def append(self, agent_id: str, stated: Sequence[Event]) -> None:
        """The present call states this. Raises Alone."""
        is_known = not self._messages.isdisjoint(_messages(stated))
        if not stated or is_known or (self.statements and self._size + _size(stated) > LARGEST):
            raise Alone
        self._open.append(Statement(agent_id, stated))

    def keep(self, caller: int) -> None:
        """The present call, number `caller`, has been made; without this, what it stated is forgotten."""
        for statement in self._open:
            self.statements.append(statement)
            self.callers.append(caller)
            self._messages.update(_messages(statement.events))
            self._size += _size(statement.events)
        self._open = []


def _messages(stated: Sequence[Event]) -> list[str]:
    return [event["message_id"] for event in stated if "message_id" in event]


def _size(stated: Sequence[Event]) -> int:
    bodies = [event["body"] for event in stated if "body" in event]
    return sum(len(body["content"]) + len(body.get("structured") or "") for body in bodies)
