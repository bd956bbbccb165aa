"""The half of a cycle that needs no network: disk, branch and the commit that a remote has become one, event by event.

Lines reach the disk (and the read model) before they reach a commit; a commit holds nothing the disk does not. When the united
tree is the remote's own, we move to the remote's commit.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from thrum.core import clock
from thrum.core.layout import LogPath
from thrum.core.purging import NOTHING
from thrum.errors import GitError, StorageError
from thrum.git import branch, wholeness, worktree
from thrum.git.objects import BLOB, Entry, Objects, open_objects
from thrum.git.place import Place
from thrum.store import disk, purges, schema
from thrum.sync import files, reach, state

Json = dict[str, Any]
TRIES = 12
_COARSE = 2 * clock.SECOND


class Uniting:
    """One union of disk, branch and what somebody else has; `known`, what is remembered of the sync, is kept up."""

    def __init__(self, place: Place, origin: str, ingest: Callable[[], object], known: Json) -> None:
        """`ingest` is told whenever lines reached the disk."""
        self.place, self.origin, self.ingest, self.known = place, origin, ingest, known
        self._opened: Objects | None = None
        self.received = 0
        """How many log files came or grew."""
        self.purged = NOTHING

    @property
    def objects(self) -> Objects:
        """The object store, opened when it is first asked for."""
        self._opened = self._opened or open_objects(self.place.common_dir)
        return self._opened

    def close(self) -> None:
        """Lets go of the object store; the next use opens it anew."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def settle(self, theirs: str | None) -> str:
        """Disk, branch and the commit `theirs` as one; the branch's tip."""
        worktree.ensure(self.place)
        with self.beside_gc():
            branch.ensure(self.objects, self.place, None)
            return self.unite_or_mend(theirs) or self._unite(theirs)

    def unite_or_mend(self, theirs: str | None) -> str | None:
        """Unites; None when it has to be done again: objects of our history were gone, or a gc is in the way."""
        try:
            return self._unite(theirs)
        except GitError:
            if not self.mend() and not wholeness.gc_is_running(self.place):
                raise
            return None

    def mend(self) -> bool:
        """Begins the branch anew where objects of it are gone: the files have what it had. False when all is whole."""
        is_mended = wholeness.mend(self.place, self.objects)
        self.close()
        return is_mended

    @contextlib.contextmanager
    def beside_gc(self) -> Iterator[None]:
        """Notes when somebody's gc was at work while we wrote, which may take what we wrote; mends once it has ended."""
        is_running = wholeness.gc_is_running(self.place)
        if (self.known.get("suspect") and not is_running) or self.objects.head(branch.REF) is None:
            self.mend()
            self.known["suspect"] = is_running
        try:
            yield
        finally:
            if is_running or wholeness.gc_is_running(self.place):
                self.known["suspect"] = True

    def _unite(self, theirs: str | None) -> str:
        """Unites disk, branch and `theirs`; the branch's new tip. Again from the start if somebody else moved the branch."""
        self._learn_purges()
        for _ in range(TRIES):
            ours = branch.ensure(self.objects, self.place, None)
            tree = self._gather(self.objects.tree_of(ours))
            if theirs is not None and not self.objects.is_ancestor(theirs, ours):
                tree = self._take_in(tree, self.objects.tree_of(theirs))
            if self._learn_purges():
                continue  # a purge came in: again, without what it takes
            new = self._commit(ours, theirs, tree)
            if new == ours or self.objects.move(branch.REF, new, ours):
                self.known.update(checked=tree, fresh=new if self._forgets else None)
                self._follow(tree)
                return new
        raise GitError("the branch a-sync keeps being moved by somebody else", "git thrum doctor")

    def _learn_purges(self) -> bool:
        """Looks which purges there are; whether they are others than when this clone last looked."""
        path = schema.database_in(self.place.var_dir)
        found = purges.read(path, self.purged)
        if found is None:
            self.ingest()
            found = purges.read(path, self.purged)
        if found is None and self.known.get("purges"):
            raise StorageError("the read model cannot be read, and it tells what was purged", "git thrum doctor")
        self.purged = found or NOTHING
        if self.purged.number == self.known.get("purges", 0):
            return False
        self.known.update(purges=self.purged.number, checked=None, fresh=None)
        reach.forget(self.known)
        return True

    def _gather(self, tree: str) -> str:
        """Makes disk and `tree` hold the same lines; the tree that does.

        A tree that is not the one we left behind is compared with every file, byte by byte; else those are that should have
        grown, or that somebody touched since we looked last.
        """
        root, leaves, brought = self.place.log_root, dict[str, str | Entry | None](), False
        began, look = time.time_ns(), files.Look(root, self.objects, self._looked_at(tree))
        for source, entry in files.at(look, tree):
            blob = self.objects.blob(entry.oid) if entry is not None else b""
            held = files.hold(root, source, blob, known=blob, gone=self.purged.of(source.path))
            brought = brought or held.is_changed
            if held.data != blob and len(held.data) <= files.limit(source):
                leaves[source.path] = self.objects.write_blob(held.data)
        if look.compared:
            self.known["looked_at"] = began
        if brought:
            self.ingest()
        return branch.graft(self.objects, tree, leaves) if leaves else tree

    def _looked_at(self, tree: str) -> int:
        """What changed before that was compared with `tree`; a little earlier, as a file's time is coarse. 0: nothing was."""
        at = self.known.get("looked_at") or 0
        return max(at - _COARSE, 0) if self.known.get("checked") == tree and at <= time.time_ns() else 0

    def _take_in(self, ours: str, theirs: str) -> str:
        """Brings what the tree `theirs` has to the disk; the tree that holds both."""
        leaves: dict[str, str | Entry | None] = {}
        arrived = 0
        differing = branch.changes(self.objects, ours, theirs)
        for path, (mine, other) in differing.items():
            if other is None or self._is_in_the_way(path, mine, other, ours, differing):
                continue
            source = files.is_readable(self.objects, path, other)
            if source is None:
                leaves[path] = self._choose(path, mine, other)
                continue
            blobs = [self.objects.blob(e.oid) for e in (mine, other) if e and files.is_readable(self.objects, path, e)]
            held = self._hold(source, blobs, known=blobs[0] if len(blobs) > 1 else b"")
            arrived += held.is_changed
            fits = len(held.data) <= files.limit(source)
            leaves[path] = self.objects.write_blob(held.data) if fits else _greater(mine, other)
        if arrived:
            self.received += arrived
            self.ingest()
        return branch.graft(self.objects, ours, leaves) if leaves else ours

    def _hold(self, source: LogPath, blobs: list[bytes], known: bytes) -> files.Held:
        """The copies and the file united: on disk, unless a forger put it beyond a gap in its log."""
        gone = self.purged.of(source.path)
        if files.is_out_of_reach(self.place.log_root, source):
            return files.Held(files.united(b"", *blobs, gone=gone), False)
        self._doubt()
        return files.hold(self.place.log_root, source, *blobs, known=known, gone=gone)

    def _choose(self, path: str, mine: Entry | None, other: Entry) -> Entry:
        """Of two things at one path, theirs no log: ours if it is one, else the same one on every machine."""
        is_log = mine is not None and files.is_readable(self.objects, path, mine)
        return mine if mine is not None and is_log else _greater(mine, other)

    def _is_in_the_way(
        self, path: str, mine: Entry | None, other: Entry, ours: str, differing: dict[str, branch.Change]
    ) -> bool:
        """Whether a file here and a folder there have one name, and ours wins: a log does, else the folder."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            file = differing.get(above, (None, None))[0]
            if file is not None and files.is_readable(self.objects, above, file):
                return True
        there = branch.lookup(self.objects, ours, path) if mine is None else None
        return there is not None and there.is_tree and not files.is_readable(self.objects, path, other)

    def _doubt(self) -> None:
        """From now until the commit, files that count as sealed may hold what the branch does not."""
        if self.known.get("checked"):
            self.known["checked"] = None
            state.save(self.place.sync_dir, self.known)

    def _commit(self, ours: str, theirs: str | None, tree: str) -> str:
        """The commit of `tree` behind both; behind neither whose history holds what was purged."""
        mine, other = self.unless_past(ours), self.unless_past(theirs)
        if mine is None or other is None or self.objects.is_ancestor(other, mine):
            newest = mine or other
            if newest is not None and self.objects.tree_of(newest) == tree:
                return newest
            return self._write(tree, [newest] if newest else [])
        if self.objects.tree_of(other) == tree:
            return other
        return self._write(tree, [other] if self.objects.is_ancestor(mine, other) else [other, mine])

    def unless_past(self, commit: str | None) -> str | None:
        """The commit, unless its history begins with one that a purge has ended."""
        fresh = self.known.get("fresh")
        if commit is None or not self._forgets or commit == fresh:
            return commit
        first = branch.roots(self.place, commit, fresh if isinstance(fresh, str) and self._is_there(fresh) else None)
        return None if first & self.purged.roots else commit

    @property
    def _forgets(self) -> bool:
        """Whether history is to begin anew after a purge: unless the remote was seen to forbid that."""
        return bool(self.purged.roots) and self.known.get("keeps_past") != self.purged.number

    def _is_there(self, commit: str) -> bool:
        try:
            return bool(self.objects.tree_of(commit))
        except GitError:
            return False

    def _write(self, tree: str, parents: list[str]) -> str:
        if not parents:
            return self.objects.commit(tree, [], branch.BEGIN_ANEW)
        what = "merge" if len(parents) > 1 else "log"
        return self.objects.commit(tree, parents, f"thrum: {what} {self.origin}\n\n[skip ci]\n")

    def _follow(self, tree: str) -> None:
        """Makes the worktree's index agree with the branch: from what we last wrote to it, else from scratch."""
        found = _index(self.place)
        before = self.known.get("index_tree") if found and found == self.known.get("index") else None
        if before == tree:
            return
        worktree.follow(self.place, self.objects, tree, self._since(before, tree))
        written = _index(self.place)
        self.known.update(index_tree=tree if written != found else None, index=written)

    def _since(self, before: str | None, tree: str) -> dict[str, str | None] | None:
        """What changed in the tree, if it is known and nothing but plain files."""
        try:
            differing = branch.changes(self.objects, before, tree) if before else None
        except GitError:
            return None
        if differing is None or any(new is not None and new.mode != BLOB for _, new in differing.values()):
            return None
        return {path: new.oid if new else None for path, (_, new) in differing.items()}


def _greater(mine: Entry | None, other: Entry) -> Entry:
    return other if mine is None else max(mine, other, key=lambda entry: (entry.oid, entry.mode))


def _index(place: Place) -> list[int] | None:
    """What tells one version of the worktree's index from another; None when there is none."""
    pointer = os.fsdecode(disk.read(place.log_root + "/.git")).strip()
    with contextlib.suppress(OSError):
        found = os.stat(pointer.removeprefix("gitdir: ") + "/index")
        return [found.st_ino, found.st_size, found.st_mtime_ns]
    return None
