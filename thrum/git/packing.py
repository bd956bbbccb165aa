"""Our history's loose objects become packs of our own, so that nobody waits for a `git gc` that we caused.

git counts the loose objects of a repository and tidies in the user's foreground when there are too many. Ours alone are
packed here: what a-sync and the remotes' a-sync reach. A loose object goes only when a pack that was read again and flushed
to the disk holds it, so a kill at any moment leaves an object twice and never not at all; whoever has the repository open
looks again when an object is not where it was, as after any repack. Nothing that is unreachable is ever removed, and no pack
that we did not make. `gc.auto=0` says that git shall not tidy by itself; our own litter is still ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from thrum.errors import GitError
from thrum.git import branch
from thrum.git.command import DURABLE, run
from thrum.git.place import Place
from thrum.git.plumbing import LOCAL
from thrum.git.wholeness import gc_is_running

LIMIT = 6700  # loose objects: git's own default of gc.auto
LEAST = 200  # objects that are worth a pack
_SAMPLE = ("17", "5c", "a3", "e8")  # git itself looks into 17
_TIMEOUT = 600.0
_ASKED = r"^(gc\.auto|core\.sharedrepository|extensions\.(partialclone|preciousobjects)|remote\..*\.promisor)$"
_NO = ("", "false", "no", "off", "0", "umask")
_PARTS = (".pack", ".rev", ".idx")  # the index last: a pack is there when its index is
_SPOKEN_FOR = (".keep", ".promisor", ".bitmap", ".mtimes")
_PACK = [
    *("-c", "pack.packSizeLimit=0", "-c", "pack.threads=1", "-c", "pack.windowMemory=64m"),
    *("pack-objects", "--quiet", "--delta-base-offset"),
]


def is_due(place: Place, share: float = 0.5) -> bool:
    """Whether there are so many loose objects, of anybody's, that git would soon tidy: `share` of its limit. Cheap."""
    found = estimate(place)
    return found >= LEAST and found >= share * _limit(_settings(place))


def estimate(place: Place) -> int:
    """About how many loose objects the repository has, from a look into a few of its 256 folders."""
    counts = [_count(os.path.join(_objects(place), folder)) for folder in _SAMPLE]
    return sum(counts) * 256 // len(_SAMPLE)


def pack(place: Place, least: int = LEAST) -> int:
    """Packs our loose objects, if there are `least` of them; how many are loose no more.

    Does nothing where it might harm: in partial clones, shared and precious repositories, or while a gc or another of these is
    at work. Raises GitError, OSError; then everything is as it was, or twice.
    """
    if not _is_safe(place):
        return 0
    with _turn(place) as is_ours, contextlib.suppress(FileNotFoundError):  # somebody's gc takes our packs in just now
        return _Packing(place).run(least) if is_ours else 0
    return 0


class _Packing:
    """One run; the only one."""

    def __init__(self, place: Place) -> None:
        self._place, self._common, self._objects = place, place.common_dir, _objects(place)
        self._packs = os.path.join(self._objects, "pack")
        self._stage = os.path.join(place.sync_dir, "packing")
        self._ledger = os.path.join(place.sync_dir, "packs")

    def run(self, least: int) -> int:
        for folder in (self._stage, self._ledger, self._packs):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        self._sweep()
        gone = sum(self._remove_loose(name) for name in self._unfinished())
        loose = [(oid, path) for oid, path in self._unpacked() if os.path.exists(self._loose_path(oid))]
        if len(loose) < least or os.stat(self._stage).st_dev != os.stat(self._packs).st_dev:
            return gone
        joined = self._to_join()
        old = [(oid, b"") for name in joined for oid in self._content(name)]
        with tempfile.TemporaryDirectory(dir=self._stage) as folder:
            name = self._publish(self._write(folder, [*loose, *old]))
        for past in joined:
            if past != name:
                self._remove_pack(past)
        return gone + self._remove_loose(name)

    def _sweep(self) -> None:
        """Removes what a killed run left unfinished, and forgets packs that somebody's gc has taken in."""
        for left in os.listdir(self._stage):
            shutil.rmtree(os.path.join(self._stage, left), ignore_errors=True)
        for name in os.listdir(self._ledger):
            if not os.path.exists(self._pack_path(name) + ".idx"):
                self._remove_pack(name)

    def _unfinished(self) -> list[str]:
        """Packs whose loose objects were not all removed: their note is not empty."""
        return [name for name in os.listdir(self._ledger) if os.path.getsize(os.path.join(self._ledger, name))]

    def _unpacked(self) -> Iterator[tuple[bytes, bytes]]:
        """(hex id, path) of every object of our history that is in no pack."""
        tips = "".join(f"{oid}\n" for oid in branch.references(self._place).values())
        listed = self._git(["rev-list", "--objects", "--unpacked", "--stdin"], tips.encode("ascii")) if tips else b""
        for line in listed.splitlines():
            oid, _, path = line.partition(b" ")
            yield oid, path

    def _to_join(self) -> list[str]:
        """Our packs that the new one takes in: the small ones, so that there are never more than a few."""
        if any(os.path.lexists(os.path.join(self._packs, f"multi-pack-index{end}")) for end in ("", ".d")):
            return []  # it names packs, which must stay then
        sizes = sorted((os.path.getsize(self._pack_path(name) + ".pack"), name) for name in os.listdir(self._ledger))
        joined: list[str] = []
        total = 0
        for size, name in sizes:
            if joined and size > 2 * total:
                break
            if not any(os.path.lexists(self._pack_path(name) + end) for end in _SPOKEN_FOR):
                joined.append(name)
                total += size
        return joined

    def _write(self, folder: str, wanted: list[tuple[bytes, bytes]]) -> str:
        """A pack of these objects, not yet where git looks: its path without an ending. Raises GitError."""
        given = b"".join(b"%s %s\n" % (oid, path) if path else b"%s\n" % oid for oid, path in wanted)
        # git writes its temporary files into the object store: a folder of ours is the store, and borrows from the real one
        borrowing = {"GIT_OBJECT_DIRECTORY": folder, "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(self._objects)}
        os.mkdir(os.path.join(folder, "pack"))
        made = self._git([*_PACK, os.path.join(folder, "pack", "pack")], given, borrowing).decode("ascii").split()
        path = os.path.join(folder, "pack", f"pack-{made[0]}") if len(made) == 1 else ""
        self._git(["verify-pack", f"{path}.idx"])
        if not {oid for oid, _ in wanted} <= set(self._listed(path)):
            raise GitError("git packed less than it was told to", "nothing was changed; see `git fsck`")
        return path

    def _publish(self, made: str) -> str:
        """Puts the pack where git looks, for good; its name."""
        name = os.path.basename(made)
        with open(os.path.join(self._ledger, name), "wb") as note:
            note.write(b"its loose objects are still there\n")
            note.flush()
            os.fsync(note.fileno())
        for end in _PARTS:
            if os.path.exists(made + end):
                _flush(made + end)
                os.rename(made + end, self._pack_path(name) + end)
        for folder in (self._ledger, self._packs, self._objects):
            _flush(folder)
        return name

    def _remove_pack(self, name: str) -> None:
        """A pack of ours whose objects are in a newer one, or what there is of it."""
        for end in reversed(_PARTS):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._pack_path(name) + end)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._ledger, name))

    def _remove_loose(self, name: str) -> int:
        """Removes the loose objects that the pack holds, too; how many."""
        gone = 0
        for oid in self._content(name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._loose_path(oid))
                gone += 1
        os.truncate(os.path.join(self._ledger, name), 0)
        return gone

    def _content(self, name: str) -> list[bytes]:
        return self._listed(self._pack_path(name))

    def _listed(self, path: str) -> list[bytes]:
        """The hex ids in a pack, from its index."""
        with open(path + ".idx", "rb") as index:
            listed = self._git(["show-index"], index.read())
        return [line.split(b" ", 2)[1] for line in listed.splitlines()]

    def _pack_path(self, name: str) -> str:
        return os.path.join(self._packs, name)

    def _loose_path(self, oid: bytes) -> str:
        text = oid.decode("ascii")
        return os.path.join(self._objects, text[:2], text[2:])

    def _git(self, args: list[str], given: bytes | None = None, env: Mapping[str, str] | None = None) -> bytes:
        whole = {**LOCAL, **(env or {})}
        return run([*DURABLE, *args], self._common, input=given, timeout=_TIMEOUT, env=whole, gently=True).out


class _Settings(NamedTuple):
    """What the repository's configuration says about tidying."""

    auto: str
    is_delicate: bool


def _settings(place: Place) -> _Settings:
    said = run(["config", "--null", "--get-regexp", _ASKED], place.common_dir, check=False, plain=True).out
    auto, is_delicate = "", False
    for item in said.decode("utf-8", "replace").split("\0")[:-1]:
        key, has_value, value = item.partition("\n")
        if key == "gc.auto":
            auto = value
        elif not has_value or value.lower() not in _NO:
            is_delicate = True
    return _Settings(auto, is_delicate)


def _limit(settings: _Settings) -> int:
    """How many loose objects git puts up with. Where it never tidies by itself: as many as elsewhere."""
    return int(settings.auto) if settings.auto.isdecimal() and int(settings.auto) else LIMIT


def _is_safe(place: Place) -> bool:
    if _settings(place).is_delicate:
        return False  # others' rights to the files, objects that are elsewhere, or files nobody may remove
    return not gc_is_running(place)


@contextlib.contextmanager
def _turn(place: Place) -> Iterator[bool]:
    """Whether nobody else packs in this clone; they will not until the end either."""
    path = os.path.join(place.sync_dir, "packing.lock")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(file)


def _quoted(path: str) -> str:
    """A path as an entry of git's list of paths, whatever is in it."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _objects(place: Place) -> str:
    return os.path.join(place.common_dir, "objects")


def _count(folder: str) -> int:
    """Names in a folder of loose objects, without those half written."""
    try:
        return sum(1 for name in os.listdir(folder) if len(name) in (38, 62))
    except OSError:
        return 0


def _flush(path: str) -> None:
    """A file's or a folder's content is on the disk afterwards."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
