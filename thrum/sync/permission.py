"""Whether history may go to a remote: not where anybody may read it, unless somebody said so.

The answer is kept in the state, for the addresses it was given for. A no is asked again after a day, since a repository
can be opened, and silence after an hour; a yes after a minute, so that closing the repository heals the sync.
"""

from __future__ import annotations

import os
import time
from typing import Any

from thrum.config import Settings
from thrum.errors import PublicRemote, RemoteError
from thrum.git import exposure
from thrum.git.place import Place

Json = dict[str, Any]
ALLOW = "git config thrum.allowPublic true"
_KEPT = {"private": 86_400.0, "silent": 3_600.0, "public": 60.0}


def require(known: Json, place: Place, remote: str, settings: Settings) -> None:
    """Raises PublicRemote when strangers may read what is pushed to `remote` and `thrum.allowPublic` is not set.

    Raises RemoteError when the server did not say. What was learnt, or allowed, is noted in `known["exposure"]`.
    """
    if is_public(known, place, remote, settings) and not _is_allowed(known, place):
        raise PublicRemote(sentence(known, remote), f"make it private, or allow it: {ALLOW}")


def is_public(known: Json, place: Place, remote: str, settings: Settings) -> bool:
    """Whether strangers may read what is pushed to `remote`; not asked, and False, when that is allowed anyway."""
    there = exposure.addresses(place, remote)
    if settings.allow_public:
        _note(known, "allowed", there)
        return False
    before = _kept(known, there)
    if before is None or _age(before) > _KEPT[before["answer"]]:
        found = exposure.ask(place, remote)
        if found.answer != "unknown":
            _note(known, found.answer, there)
        elif before is None:
            raise RemoteError(
                f"the remote {remote} does not say whether anybody may read it: {found.why}",
                "nothing was pushed; thrum asks again by itself",
            )
    return bool(known["exposure"]["answer"] == "public")


def sentence(known: Json, remote: str) -> str:
    """What is wrong with a public remote, in words."""
    return f"anybody may read the remote {remote} ({', '.join(known['exposure']['addresses'])}): nothing was pushed"


def answer(known: Json) -> str:
    """What was learnt last: "private", "silent", "public" or "allowed"; "" when nothing was."""
    before = known.get("exposure")
    return str(before.get("answer") or "") if isinstance(before, dict) else ""


def _is_allowed(known: Json, place: Place) -> bool:
    """Whether it was allowed since our settings were read: a daemon runs for days."""
    allowed = Settings.load(place.common_dir, place.worktree, os.environ).allow_public
    if allowed:
        _note(known, "allowed", tuple(known["exposure"]["addresses"]))
    return allowed


def _kept(known: Json, there: tuple[str, ...]) -> Json | None:
    """The answer given before, if it was given for these addresses."""
    before = known.get("exposure")
    is_one = isinstance(before, dict) and before.get("answer") in _KEPT and before.get("addresses") == list(there)
    return before if is_one else None


def _age(before: Json) -> float:
    asked = before.get("asked")
    return abs(time.time() - asked) if isinstance(asked, (int, float)) else float("inf")


def _note(known: Json, told: str, there: tuple[str, ...]) -> None:
    if told == "allowed" and answer(known) == told:
        known["exposure"]["addresses"] = list(there)
        return
    known["exposure"] = {"answer": told, "addresses": list(there), "asked": int(time.time())}
