"""The logs as files, brought up to what a git tree holds: lines are added, never taken away.

What a tree holds is a stranger's until checked: only plain files at paths of our own pattern are read, and only when their
size is sane.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from thrum.core import layout, mending, purging, union
from thrum.core.codec import LONGEST_LINE
from thrum.core.layout import LogPath
from thrum.core.purging import NOTHING, Purged
from thrum.git import branch
from thrum.git.objects import BLOB, Entry, Objects, blob_id
from thrum.store import disk, quarantine
from thrum.store.purges import lock_of

NOBODY: frozenset[bytes] = frozenset()
LARGEST_SEGMENT = 8 * LONGEST_LINE
"""More than one clone alone can write into a segment: forked logs are united."""
LARGEST_LEGACY = 256 * 1024 * 1024
NEVER = 1 << 63
"""A time that no file has changed after."""


class Held(NamedTuple):
    """The complete lines of a log file on disk, and whether they had to be brought there."""

    data: bytes
    is_changed: bool


def is_readable(objects: Objects, path: str, entry: Entry) -> LogPath | None:
    """The log file `path` is, if its entry is a plain file of a sane size; else None."""
    source = layout.parse_path(path)
    if source is None or entry.mode != BLOB:
        return None
    return source if objects.blob_size(entry.oid) <= limit(source) else None


def refused(objects: Objects, tree: str) -> Iterator[str]:
    """A sentence for everything in `tree` that looks like a log and is none we read, and for what lies among the logs."""
    for path, entry in branch.walk(objects, tree):
        source = layout.parse_path(path)
        if entry.mode != BLOB and (source is not None or path.startswith("messages/")):
            yield f"{path} is {_KINDS.get(entry.mode, 'of a kind that is unknown')}"
        elif source is None and path.startswith("messages/"):
            yield f"{path} is no log of ours"
        elif source is not None and objects.blob_size(entry.oid) > limit(source):
            yield f"{path} is too large to be read: {objects.blob_size(entry.oid)} bytes"


_KINDS = {0o120000: "a link", 0o100755: "a program", 0o160000: "a submodule"}


def limit(source: LogPath) -> int:
    """How many bytes of a log file are read at all."""
    return LARGEST_LEGACY if source.is_legacy else LARGEST_SEGMENT


def is_out_of_reach(root: str, source: LogPath) -> bool:
    """Whether it is not on disk, and so many segments before it are missing that it waits for them (`layout.REACH`)."""
    if source.is_legacy or source.segment < layout.REACH:
        return False
    near = range(source.segment, source.segment - layout.REACH - 1, -1)
    return not any(os.path.exists(f"{root}/{layout.segment_path(source.owner, source.origin, n)}") for n in near)


def refill(root: str, objects: Objects, tree: str, purged: Purged = NOTHING) -> int:
    """Brings every log of `tree` that is missing or behind on disk; the number of files that changed."""
    changed = 0
    for source, entry in differing(root, objects, tree, thorough=True):
        if entry is not None:
            blob = objects.blob(entry.oid)
            changed += hold(root, source, blob, known=blob, gone=purged.of(source.path)).is_changed
    return changed


def hold(root: str, source: LogPath, *copies: bytes, known: bytes = b"", gone: frozenset[bytes] = NOBODY) -> Held:
    """Unites the file with `copies`, without the lines that are `gone`, durably, and reads it.

    What is only a damaged copy of a line of `known`, which is our branch's, goes to the quarantine.
    """
    path = f"{root}/{source.path}"
    folder = lock_of(root, source)
    with disk.explained("write the logs"):
        quarantine.make_way(root, source.path)
        disk.make_folder(folder)
        with disk.locked(folder):
            raw = disk.read(path)
            ours = union.complete(raw)
            remains = mending.damaged(ours, purging.without(known, gone))
            whole = united(_without(ours, remains), *copies, gone=gone)
            if remains:
                quarantine.keep(root, source.path, union.join(remains))
            if whole != ours or (copies and not os.path.lexists(path)):
                _write(path, raw, whole)
            if any(map(mending.is_event, remains)):
                quarantine.note_mending(root)
            return Held(whole, whole != ours)


def _without(data: bytes, lines: set[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in union.split(data) if line not in lines) if lines else data


def united(ours: bytes, *copies: bytes, gone: frozenset[bytes] = NOBODY) -> bytes:
    """All copies as one: the longest where it begins with the others, else their union; without the lines that are `gone`."""
    ours = purging.without(ours, gone)
    for copy in copies:
        ours = _longest(ours, purging.without(copy, gone))
    return ours


def _longest(ours: bytes, theirs: bytes) -> bytes:
    """The longer of two copies if it begins with the other, else their union. A last line needs no newline in `theirs`."""
    if theirs.endswith(b"\n"):
        if ours.startswith(theirs):
            return ours
        if theirs.startswith(ours):
            return theirs
    return union.unite(ours, theirs) if theirs else ours


def _write(path: str, raw: bytes, whole: bytes) -> None:
    """Appends what is new, where that is all, to the last file of a folder; a reader looks at others only when replaced."""
    folder, name = os.path.split(path)
    if raw and whole.startswith(raw) and name >= max(_children(folder), default=""):
        disk.append(path, whole[len(raw) :])
    else:
        disk.replace(path, whole)


def differing(root: str, objects: Objects, tree: str, *, thorough: bool) -> Iterator[tuple[LogPath, Entry | None]]:
    """Every log file of which the disk and `tree` hold different things, with the tree's readable entry for it.

    Unless `thorough`, only those are looked at that may differ if nothing went wrong: what one side lacks altogether, and
    what no next segment follows; the others are sealed.
    """
    return at(Look(root, objects, 0 if thorough else NEVER), tree)


def at(look: Look, tree: str) -> Iterator[tuple[LogPath, Entry | None]]:
    """What `look` finds different in `tree`."""
    root, objects = look.root, look.objects
    top = objects.entries(tree)
    yield from look.at_file("events.jsonl", top.get("events.jsonl"))
    messages = look.below(top.get("messages"))
    for owner in sorted({*_children(f"{root}/messages"), *messages}):
        if owner.endswith(".jsonl"):
            yield from look.at_file(f"messages/{owner}", messages.get(owner))
        elif layout.is_part(0, owner):
            yield from look.at_owner(f"messages/{owner}", look.below(messages.get(owner)))


class Look:
    """One comparison of the disk with a tree: by size; by content too, sealed or not, where a file changed after `since`.

    `since` is in nanoseconds. `compared`: how many files were read for that.
    """

    def __init__(self, root: str, objects: Objects, since: int) -> None:
        self.root, self.objects, self.since, self.compared = root, objects, since, 0

    def at_owner(self, owner: str, origins: dict[str, Entry]) -> Iterator[tuple[LogPath, Entry | None]]:
        for origin in sorted({*_children(f"{self.root}/{owner}"), *origins}):
            if not layout.is_part(1, origin):
                continue
            log, folders = f"{owner}/{origin}", self.below(origins.get(origin))
            for folder in sorted({*_children(f"{self.root}/{log}"), *folders}):
                if layout.is_part(2, folder):
                    yield from self.at_folder(f"{log}/{folder}", self.below(folders.get(folder)))

    def at_folder(self, folder: str, known: dict[str, Entry]) -> Iterator[tuple[LogPath, Entry | None]]:
        here = set(_children(f"{self.root}/{folder}"))
        names = [name for name in sorted(here | known.keys()) if layout.is_part(3, name)]
        both = [name for name in names if name in here and name in known]
        sealed = set(both).difference(layout.ends_of_runs(both)) if self.since else set[str]()
        for name in names:
            if name not in sealed or _status(f"{self.root}/{folder}/{name}").changed >= self.since:
                yield from self.at_file(f"{folder}/{name}", known.get(name))

    def at_file(self, path: str, entry: Entry | None) -> Iterator[tuple[LogPath, Entry | None]]:
        source = layout.parse_path(path)
        if source is None:
            return
        if entry is not None and not is_readable(self.objects, path, entry):
            entry = None
        found = _status(f"{self.root}/{path}")
        if found.size < 0 and (entry is None or is_out_of_reach(self.root, source)):
            return
        if entry is None or not self._is_equal(path, entry, found):
            yield source, entry

    def _is_equal(self, path: str, entry: Entry, found: _Status) -> bool:
        if found.size != self.objects.blob_size(entry.oid):
            return False
        if found.changed < self.since:
            return True
        self.compared += 1
        try:
            return blob_id(disk.read(f"{self.root}/{path}"), len(entry.oid)) == entry.oid
        except OSError:
            return False

    def below(self, entry: Entry | None) -> dict[str, Entry]:
        return self.objects.entries(entry.oid) if entry is not None and entry.is_tree else {}


class _Status(NamedTuple):
    """A regular file's size (-1 for anything else) and when it last changed in any way, in nanoseconds."""

    size: int
    changed: int


def _status(path: str) -> _Status:
    try:
        found = os.stat(path, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return _Status(-1, 0)
    return _Status(found.st_size if stat.S_ISREG(found.st_mode) else -1, found.st_ctime_ns)


def _children(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
