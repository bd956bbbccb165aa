"""Where the logs of old layouts lie: on disk and in git's index, read and never changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from thrum.core import layout, sharding, union
from thrum.git import branch
from thrum.git.command import run
from thrum.git.objects import BLOB, Objects
from thrum.git.place import Place, worktrees
from thrum.store import disk
from thrum.sync.files import LARGEST_LEGACY

MONOLITH = "messages.jsonl"
SYNC = "sync"
"""The folder in `.thrum` where the worktree of a-sync was before it moved under `.git`."""


class Found(NamedTuple):
    """A log of an old layout: the source it belongs to, its path on the branch, its content."""

    source: str
    path: str
    data: bytes


def logs(place: Place, objects: Objects) -> list[Found]:
    """Every old log of this repository. What is too large for a log, or no plain file, is passed over."""
    found = []
    for one in worktrees(place):
        top = os.path.join(one.worktree or "", ".thrum")
        if one.worktree != _old_sync(place):
            found += [*_on_disk(top, _shown(place, top)), *_tracked_logs(one, objects, _shown(place, top))]
    found += _on_disk(_old_sync(place), _shown(place, _old_sync(place)))
    return [*found, *_left_on_the_branch(place, objects)]


def tracked(place: Place) -> list[str]:
    """The paths below `.thrum` that git tracks in this worktree."""
    return [path for path, _ in _index(place)]


def old_worktree(place: Place) -> Place | None:
    """The worktree of a-sync in `.thrum/sync`; None when there is none, or something else is checked out there."""
    for one in worktrees(place):
        head = disk.read(os.path.join(one.git_dir, "HEAD"))
        if one.worktree == _old_sync(place) and head.strip() == f"ref: {branch.REF}".encode():
            return one
    return None


def has_v010_branch(place: Place, objects: Objects) -> bool:
    """Whether v0.1.0's own logs lie where ours do, or on the branch."""
    if any(_on_disk(place.log_root, "")):
        return True
    tip = objects.head(branch.REF)
    names = objects.entries(objects.tree_of(tip)) if tip else {}
    return sharding.EVENTS in names


def _old_sync(place: Place) -> str:
    return os.path.join(place.thrum_dir, SYNC)


def _shown(place: Place, path: str) -> str:
    top = place.main_worktree
    return os.path.relpath(path, top) if top and path.startswith(top + os.sep) else path


def _on_disk(folder: str, source: str) -> Iterator[Found]:
    names = [sharding.EVENTS, MONOLITH, *(f"messages/{name}" for name in _children(f"{folder}/messages"))]
    for name in names:
        if _is_log(name) and _is_plain(f"{folder}/{name}"):
            yield Found(f"{source}/", name, disk.read(f"{folder}/{name}"))


def _tracked_logs(place: Place, objects: Objects, source: str) -> Iterator[Found]:
    for path, oid in _index(place):
        name = path.removeprefix(".thrum/")
        if _is_log(name) and objects.blob_size(oid) <= LARGEST_LEGACY:
            yield Found(f"{source}/ (as git tracks it)", name, objects.blob(oid))


def _left_on_the_branch(place: Place, objects: Objects) -> Iterator[Found]:
    """v0.1.0 itself never dealt out a single log that its `migrate` had put onto the branch."""
    path = f"{place.log_root}/{MONOLITH}"
    if _is_plain(path):
        yield Found("the branch a-sync", MONOLITH, disk.read(path))
    tip = objects.head(branch.REF)
    entry = branch.lookup(objects, objects.tree_of(tip), MONOLITH) if tip else None
    if entry is not None and entry.mode == BLOB and objects.blob_size(entry.oid) <= LARGEST_LEGACY:
        yield Found("the branch a-sync", MONOLITH, objects.blob(entry.oid))


def placed(found: list[Found]) -> Iterator[Found]:
    """The same logs, each single one dealt out."""
    authors = {}
    for one in found:
        if one.path.startswith("messages/"):
            authors.update(sharding.authors_of(union.split(one.data)))
    for one in found:
        if one.path != MONOLITH:
            yield one
            continue
        for path, lines in sharding.deal(union.split(one.data), authors).items():
            yield Found(one.source, path, b"".join(line + b"\n" for line in lines))


def _index(place: Place) -> list[tuple[str, str]]:
    """Path and blob of every plain file below `.thrum` in the worktree's index."""
    if place.worktree is None:
        return []
    out = run(["ls-files", "-z", "--stage", "--", ":(top).thrum"], place.worktree, plain=True).out
    rows = [row.partition("\t") for row in os.fsdecode(out).split("\0") if row]
    return [(path, facts.split()[1]) for facts, _, path in rows if facts.startswith("100")]


def _is_log(name: str) -> bool:
    source = layout.parse_path(name)
    return name == MONOLITH or (source is not None and source.is_legacy)


def _is_plain(path: str) -> bool:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size <= LARGEST_LEGACY


def _children(folder: str) -> list[str]:
    if os.path.islink(folder) or not os.path.isdir(folder):
        return []
    return sorted(os.listdir(folder))
