"""How far the remote was seen to have our own logs: noted after a push was seen to arrive, forgotten when in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from thrum.core import layout
from thrum.errors import GitError
from thrum.git.objects import BLOB, Entry, Objects

Json = dict[str, Any]
_MOST_ENDS = 1024
_ends: dict[str, list[int] | None] = {}
"""By a log's tree: where it ends."""


def note(known: Json, objects: Objects, head: str, origin: str) -> None:
    """The remote contains the commit `head`: remembers where each log of `origin` ends in it."""
    if known.get("reached_head") == head and known.get("reached"):
        return
    reached = dict[str, list[int]]()
    messages = _below(objects, objects.entries(objects.tree_of(head)).get("messages"))
    for owner, entry in messages.items():
        log = _below(objects, entry).get(origin)
        end = _recalled(objects, log) if log is not None else None
        if end is not None:
            reached[f"messages/{owner}/{origin}"] = end
    known.update(reached=reached, reached_head=head)


def doubt(known: Json, objects: Objects, tip: str | None) -> None:
    """The remote is at `tip`: forgets what it was seen to have, unless that still contains it."""
    head = known.get("reached_head")
    try:
        is_there = tip is not None and isinstance(head, str) and objects.is_ancestor(head, tip)
    except GitError:
        is_there = False
    if not is_there:
        forget(known)


def note_address(known: Json, url: str) -> None:
    """The remote is at `url`: what another one had says nothing about it."""
    if known.get("url") != url:
        forget(known)
        known.pop("last_attempt", None)
        known["url"] = url


def forget(known: Json) -> None:
    """Nothing was seen on the remote."""
    known.pop("reached", None)
    known.pop("reached_head", None)


def _recalled(objects: Objects, entry: Entry) -> list[int] | None:
    """`_end`, which is the same for the same tree for ever."""
    if entry.oid not in _ends:
        if len(_ends) >= _MOST_ENDS:
            _ends.clear()
        _ends[entry.oid] = _end(objects, entry)
    return _ends[entry.oid]


def _end(objects: Objects, entry: Entry) -> list[int] | None:
    """The last segment before a gap that nobody goes on beyond, and its size."""
    last: tuple[int, str] | None = None
    for number, oid in _segments(objects, entry):
        if number - (last[0] if last else 0) > layout.REACH:
            break
        last = number, oid
    return [last[0], objects.blob_size(last[1])] if last else None


def _segments(objects: Objects, entry: Entry) -> Iterator[tuple[int, str]]:
    """The plain segments of a log in order, with their blobs."""
    for folder, there in sorted(_below(objects, entry).items()):
        for name, segment in sorted(_below(objects, there).items() if layout.is_part(2, folder) else ()):
            if layout.is_part(3, name) and segment.mode == BLOB:
                yield int(folder, 16) * layout.SEGMENTS_PER_FOLDER + int(name[:2], 16), segment.oid


def _below(objects: Objects, entry: Entry | None) -> dict[str, Entry]:
    return objects.entries(entry.oid) if entry is not None and entry.is_tree else {}
