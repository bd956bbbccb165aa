"""What is known of the sync: when it last worked, what failed since, and how far the remote was seen to have our logs.

Kept in `<sync_dir>/state.json`; only ever a memory of what was seen, so losing it costs nothing but one look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from thrum.core import layout
from thrum.store import disk, records
from thrum.store.log import Log

Json = dict[str, Any]


def load(sync_dir: str) -> Json:
    """The last written state; {} when there is none. What is not of the shape we write is left out."""
    state = records.load(sync_dir + "/state.json")
    if not isinstance(state, dict):
        return {}
    return {key: value for key, value in state.items() if _SHAPES.get(key, _is_anything)(value)}


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_reached(value: object) -> bool:
    return isinstance(value, dict) and all(_are_numbers(end) and len(end) == 2 for end in value.values())


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and number >= 0 for number in value)


def _is_anything(_: object) -> bool:
    return True


_TEXTS = (
    "error",
    "hint",
    "remote",
    "url",
    "last_attempt",
    "last_success",
    "checked",
    "index_tree",
    "reached_head",
)
_SHAPES: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(_TEXTS, _is_text),
    "reached": _is_reached,
    "looked_at": lambda value: type(value) is int and value >= 0,
    "index": lambda value: value is None or _are_numbers(value),
}


def save(sync_dir: str, state: Json) -> None:
    """Writes the state, if it says anything new."""
    if state != load(sync_dir):
        disk.replace(sync_dir + "/state.json", json.dumps(state, indent=1, sort_keys=True).encode() + b"\n")


def reached(state: Json, origin: str, path: str, ends: int) -> bool:
    """Whether the remote was seen to hold the log file `path` up to byte `ends`."""
    source = layout.parse_path(path)
    if source is None or not state.get("remote"):
        return False
    if source.origin != origin:
        return not source.is_legacy
    segment, size = (state.get("reached") or {}).get(source.log, (-1, 0))
    return bool((source.segment, ends) <= (segment, size))


def pending(root: str, state: Json, origin: str) -> int:
    """How many lines of this clone's logs the remote was not seen to have."""
    seen = state.get("reached") or {}
    return sum(
        _pending_in(root, owner, origin, seen.get(f"messages/{owner}/{origin}"))
        for owner in _children(f"{root}/messages")
    )


def _pending_in(root: str, owner: str, origin: str, seen: list[int] | None) -> int:
    """The same of one log. One that has no remote is not read through: its first and last lines tell how many there are."""
    whole = 0 if seen else Log(root, owner, origin).length()
    return whole or _count_beyond(root, owner, origin, *(seen or (0, 0)))


def _count_beyond(root: str, owner: str, origin: str, segment: int, size: int) -> int:
    total = 0
    for path in _from_segment(root, owner, origin, segment):
        if os.path.getsize(path) > size:
            total += disk.read(path, size).count(b"\n")
        size = 0
    return total


def _from_segment(root: str, owner: str, origin: str, segment: int) -> Iterator[str]:
    """The files of a log from a segment on, up to a gap nobody goes on beyond."""
    end = segment + layout.REACH
    while segment <= end:
        path = f"{root}/{layout.segment_path(owner, origin, segment)}"
        if os.path.exists(path):
            yield path
            end = segment + layout.REACH
        segment += 1


def describe(state: Json, root: str, origin: str, *, enabled: bool, running: bool) -> Json:
    """`sync.status` for people and programs; `sync_state` is the one word for it."""
    waiting = pending(root, state, origin)
    described: Json = {
        "running": running,
        "last_sync_at": state.get("last_success") or "",
        "last_attempt_at": state.get("last_attempt") or "",
        "last_error": state.get("error") or None,
        "hint": (state.get("hint") or None) if state.get("error") else None,
        "remote": state.get("remote") or None,
        "url": state.get("url") or None,
        "pending": waiting,
        "sync_state": _word(state, enabled, waiting),
    }
    return {name: value for name, value in described.items() if value is not None}


def _word(state: Json, enabled: bool, waiting: int) -> str:
    if not enabled:
        return "off"
    if state.get("error"):
        return "error"
    if state.get("last_attempt") and not state.get("remote"):
        return "no_remote"
    if not state.get("last_success"):
        return "idle"
    return "pending" if waiting else "synced"


def _children(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
