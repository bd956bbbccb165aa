"""What a shell may complete to: agents, messages and threads of the repository one stands in.

Names reach shells that evaluate them: only what has one of our own plain forms is offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from thrum.core import ids
from thrum.errors import ThrumError

if TYPE_CHECKING:
    from thrum.client import InProcess

_ID = re.compile(r"[a-z]{3}_[0-9A-Z]{26}\Z")
_MANY = 50


def agents(incomplete: str) -> list[str]:
    """Names of agents, with an @ where one was begun or nothing was."""
    return _named(incomplete, lambda agent: [agent["agent_id"]])


def recipients(incomplete: str) -> list[str]:
    """Names of agents and of roles."""
    return [*_named(incomplete, lambda agent: [agent["agent_id"], agent["role"]]), *_fitting(["@everyone"], incomplete)]


def messages(incomplete: str) -> list[str]:
    """Ids of the newest messages."""
    found = _asked(lambda door: door.call("message.list", {"all": True, "page_size": _MANY})["messages"])
    return _fitting([message["message_id"] for message in found if _ID.match(message["message_id"])], incomplete)


def threads(incomplete: str) -> list[str]:
    """Ids of the threads in which something was said last."""
    found = _asked(lambda door: door.call("thread.list", {"page_size": _MANY})["threads"])
    return _fitting([thread["thread_id"] for thread in found if _ID.match(thread["thread_id"])], incomplete)


def _named(incomplete: str, names: Callable[[dict[str, str]], list[str]]) -> list[str]:
    found = {name for agent in _asked(lambda door: door.call("agent.list", {})["agents"]) for name in names(agent)}
    mark = "@" if incomplete[:1] in ("", "@") else ""
    return _fitting([mark + name for name in sorted(found) if ids.is_role(name)], incomplete)


def _fitting(words: list[str], incomplete: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


def _asked(ask: Callable[[InProcess], list[dict[str, str]]]) -> list[dict[str, str]]:
    """What a call of ours gives; nothing when anything is in its way."""
    from thrum import client
    from thrum.caller import Claim
    from thrum.config import Settings
    from thrum.git import place as places

    try:
        place = places.find(os.getcwd())
        door = client.InProcess(place, Settings(), Claim(place.worktree or "", environ=os.environ), 0.0)
        try:
            return ask(door)
        finally:
            door.close()
    except (ThrumError, OSError):
        return []
