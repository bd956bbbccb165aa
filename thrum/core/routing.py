"""Whom a message reaches, what is unread, who is online: one predicate each.

An address is what a message's audience is filed under: an agent's id, `@word` for a v0.1.0 mention that named an agent or a
role, or `*` for everyone. `addresses` and `is_visible` are the one answer to "is this mail for me?"; the SQL of the read
model files and looks up by the very same addresses.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from thrum.core.codec import Event

EVERYONE = "*"


class Known(NamedTuple):
    """An agent as routing sees it."""

    agent_id: str
    role: str


class Recipients(NamedTuple):
    """A resolved address list: agents by id, or everyone; `unknown` names nobody, `near` are the closest names."""

    agents: tuple[str, ...]
    everyone: bool
    unknown: tuple[str, ...]
    near: tuple[str, ...]


def resolve(wanted: Sequence[str], known: Iterable[Known]) -> Recipients:
    """Who is meant by `wanted`: `@x` is the agent x, else every agent whose role is x; `@everyone` is everyone."""
    agents = list(known)
    everyone, found, unknown = not wanted, dict[str, None](), list[str]()
    for raw in wanted:
        word = raw.removeprefix("@")
        if word in ("everyone", "all"):
            everyone = True
            continue
        meant = [a.agent_id for a in agents if a.agent_id == word] or [a.agent_id for a in agents if a.role == word]
        found.update(dict.fromkeys(meant))
        if not meant:
            unknown.append(raw)
    return Recipients(tuple(found), everyone, tuple(unknown), _near(unknown, agents) if unknown else ())


def _near(unknown: Sequence[str], agents: Sequence[Known]) -> tuple[str, ...]:
    """Names of agents and roles that words may have been meant as."""
    names = sorted({name for a in agents for name in (a.agent_id, a.role) if name})
    close = (difflib.get_close_matches(word.removeprefix("@"), names, 3, 0.5) for word in unknown)
    return tuple(dict.fromkeys(name for some in close for name in some))


def audience(message: Event) -> tuple[str, ...]:
    """The addresses a `message.create` event goes to; none named means everyone."""
    if message.get("everyone"):
        return (EVERYONE,)
    to = message.get("to")
    if to is not None:
        return tuple(dict.fromkeys(to))
    words = mentions(message.get("refs") or ())
    if any(word in ("everyone", "all") for word in words):
        return (EVERYONE,)
    return tuple(dict.fromkeys("@" + word for word in words)) or (EVERYONE,)


def mentions(refs: Iterable[dict[str, Any]]) -> list[str]:
    """The names mentioned by a message's refs, without `@`."""
    return [
        ref["value"].removeprefix("@") for ref in refs if ref["type"] == "mention" and ref["value"] not in ("", "@")
    ]


def addresses(agent_id: str, role: str) -> tuple[str, ...]:
    """Every address whose mail reaches this agent."""
    return tuple(dict.fromkeys((EVERYONE, agent_id, "@" + agent_id, "@" + role)))


def is_visible(author: str, filed_under: Iterable[str], agent_id: str, role: str) -> bool:
    """Whether an inbox shows a message: it is addressed to me in any way, and not my own."""
    return author != agent_id and not set(addresses(agent_id, role)).isdisjoint(filed_under)


def is_online(session_open: bool, last_seen: int, now: int, window: int) -> bool:
    """Whether an agent is at work: a session is open, and it was seen within `window` nanoseconds."""
    return session_open and now - last_seen <= window
