"""What somebody wants to hear of, and whether a message is that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from thrum.core import routing

Json = dict[str, Any]


class Subscription(NamedTuple):
    """A session's wish: everything, a scope `(type, value)`, mentions of an agent or role; `id` is 0 until it is stored."""

    id: int
    session_id: str
    created_at: str
    scope: tuple[str, str] | None = None
    mention_role: str = ""
    all: bool = False

    def as_json(self) -> Json:
        """As it is stored and listed; what it does not ask for is left out."""
        scope = {"scope_type": self.scope[0], "scope_value": self.scope[1]} if self.scope else {}
        words = {"mention_role": self.mention_role} if self.mention_role else {}
        everything = {"all": True} if self.all else {}
        described = {"id": self.id, "session_id": self.session_id, "created_at": self.created_at}
        return {**described, **scope, **words, **everything}

    @classmethod
    def from_json(cls, stored: Json) -> Subscription:
        """What `as_json` gave. Anything else raises some LookupError, TypeError, ValueError or AttributeError."""
        scope = (str(stored["scope_type"]), str(stored["scope_value"])) if "scope_type" in stored else None
        words, everything = str(stored.get("mention_role", "")), bool(stored.get("all"))
        return cls(int(stored["id"]), str(stored["session_id"]), str(stored["created_at"]), scope, words, everything)

    def matches(self, scopes: Iterable[Json], refs: Iterable[Json], agent_id: str, role: str) -> str:
        """Why it holds for a message with these scopes and refs: `all`, `scope` or `mention`; "" when it does not.

        Who asks for mentions of anything also hears of those of itself (`agent_id`) and of its role.
        """
        if self.all:
            return "all"
        if self.scope and any((pair["type"], pair["value"]) == self.scope for pair in scopes):
            return "scope"
        words = {self.mention_role, agent_id, role} - {""}
        if self.mention_role and not words.isdisjoint(routing.mentions(refs)):
            return "mention"
        return ""
