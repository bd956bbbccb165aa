"""One cycle: fetch the remote's branch, unite it with ours event by event, commit with both as parents, push.

1. Lines reach the disk (and the read model) before they reach a commit; a commit holds nothing the disk does not.
2. Nothing is ever taken away: a remote, a branch or a disk that lost lines gets them back.
3. A push is fast-forward only, and counts only when the remote's tip was seen to contain it.
   A purge alone replaces history: by one that holds the same lines but those purged, and only from the very tip we united.
4. When the united tree is the remote's own, we move to the remote's commit, so clones that are quiet stay identical.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from thrum.config import Settings
from thrum.core import clock
from thrum.core.layout import LogPath
from thrum.core.purging import NOTHING
from thrum.errors import GitError, Refused, RemoteError, StorageError, ThrumError
from thrum.git import branch, remote, wholeness, worktree
from thrum.git.objects import BLOB, Entry, Objects, open_objects
from thrum.git.place import Place
from thrum.store import disk, purges, schema
from thrum.sync import files, permission, reach, state

Json = dict[str, Any]
TRIES = 12
PATIENCE = 60.0
"""Seconds one git command may talk to the remote without a sign of progress; as long one waits for another's cycle."""
_COARSE = 2 * clock.SECOND
LONGEST = 300.0
"""Seconds after which a cycle does not try once more."""


class Report(NamedTuple):
    """How a cycle went; `received`: log files that came or grew; `pushed`: the remote was seen to contain our tip."""

    ok: bool
    error: str = ""
    hint: str = ""
    received: int = 0
    pushed: bool = False
    remote: str | None = None

    def as_json(self) -> Json:
        """The report as methods return it."""
        return {name: value for name, value in self._asdict().items() if value not in ("", None)}


class Cycle:
    """The cycle of one clone; one at a time, whoever runs it."""

    def __init__(self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object]) -> None:
        """`ingest` is told whenever lines reached the disk: it catches the read model up."""
        self.place, self.settings, self.origin, self._ingest = place, settings, origin, ingest

    def run(self, *, push: bool = True) -> Report:
        """Runs one cycle. Trouble with the remote is told in the report and kept in the state, never raised."""
        try:
            with disk.explained("sync the logs"), self._turn():
                return self._run(push)
        except ThrumError as error:
            return Report(False, str(error), error.hint)

    def settle(self, theirs: str | None = None) -> int:
        """The half that needs no network: unites disk, branch and the commit `theirs`, and commits; a look at everything.

        How many log files came or grew. What is known of the remote stays. Raises ThrumError.
        """
        with disk.explained("unite the logs"), self._turn():
            known = state.load(self.place.sync_dir)
            known.update(checked=None, suspect=True)
            work = _Work(self.place, self.settings, self.origin, self._ingest, known)
            try:
                work.settle(theirs)
            finally:
                work.close()
                state.save(self.place.sync_dir, known)
            return work.received

    def _run(self, push: bool) -> Report:
        known = state.load(self.place.sync_dir)
        work = _Work(self.place, self.settings, self.origin, self._ingest, known)
        try:
            with disk.explained("sync the logs"):
                report = work.run(self._remote(), push)
        except ThrumError as error:
            report = Report(False, str(error), error.hint, work.received, False, work.remote)
        finally:
            work.close()
        self._remember(known, report)
        return report

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Waits for another cycle of this clone to end. Raises Refused after a while."""
        disk.make_folder(self.place.sync_dir)
        end = time.monotonic() + PATIENCE
        while (held := disk.try_lock(self.place.sync_dir + "/sync.lock")) is None:
            if time.monotonic() > end:
                raise Refused("another sync of this clone is still busy with the remote", "git thrum sync status")
            time.sleep(0.01)
        try:
            yield
        finally:
            os.close(held)

    def _remote(self) -> str | None:
        return remote.pick(self.place, self.settings.remote) if self.settings.sync else None

    def _remember(self, known: Json, report: Report) -> None:
        moment = clock.text(time.time_ns())
        changed = report.received or report.pushed or report.error or known.get("error")
        known.update(error=report.error, hint=report.hint, remote=report.remote)
        if changed or not known.get("last_attempt") or _older(known["last_attempt"], 30):
            known["last_attempt"] = moment
            if report.ok and report.remote:
                known["last_success"] = moment
        state.save(self.place.sync_dir, known)


class _Work:
    """The state of one running cycle."""

    def __init__(
        self, place: Place, settings: Settings, origin: str, ingest: Callable[[], object], known: Json
    ) -> None:
        self.place, self.settings, self.origin, self.ingest, self.known = place, settings, origin, ingest, known
        self._opened: Objects | None = None
        self.remote: str | None = None
        self.received = 0
        self.purged = NOTHING

    @property
    def objects(self) -> Objects:
        self._opened = self._opened or open_objects(self.place.common_dir)
        return self._opened

    def close(self) -> None:
        """Lets go of the object store; the next use opens it anew."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def run(self, name: str | None, push: bool) -> Report:
        self.remote = name
        if name:
            reach.note_address(self.known, remote.url(self.place, name))
        worktree.ensure(self.place)
        with self._beside_gc():
            return self._repeat(name, push)

    def _repeat(self, name: str | None, push: bool) -> Report:
        """Tries until nobody else is faster."""
        end = time.monotonic() + LONGEST
        for attempt in range(TRIES):
            branch.ensure(self.objects, self.place, name)
            report = self._try(name, push)
            if report is not None:
                return report
            if time.monotonic() > end:
                break
            time.sleep(random.uniform(0.01, 0.05) * 2 ** min(attempt, 5))  # noqa: S311 (jitter is no secret)
        raise RemoteError(
            f"the remote {name} moved on {attempt + 1} times while we pushed",
            "nothing is lost: the next cycle tries again",
        )

    def _try(self, name: str | None, push: bool) -> Report | None:
        """Looks, unites, pushes; None when all of it has to be done again."""
        tip, trouble = self._look(name)
        head = self._unite_or_mend(tip)
        if head is None:
            return None
        if trouble is not None:
            raise trouble
        if name is None or not push:
            return Report(True, received=self.received, remote=name)
        if head != tip and not self._push_or_mend(name, head, tip):
            return None
        reach.note(self.known, self.objects, head, self.origin)
        return Report(True, received=self.received, pushed=head != tip, remote=name)

    def settle(self, theirs: str | None) -> str:
        """Disk, branch and the commit `theirs` as one; the branch's tip."""
        worktree.ensure(self.place)
        with self._beside_gc():
            branch.ensure(self.objects, self.place, None)
            return self._unite_or_mend(theirs) or self._unite(theirs)

    def _look(self, name: str | None) -> tuple[str | None, RemoteError | None]:
        """The remote's tip, or why it is not known."""
        try:
            tip = self._fetch(name) if name else None
        except RemoteError as error:
            return None, error
        if name:
            reach.doubt(self.known, self.objects, tip)
        return tip, None

    def _fetch(self, name: str) -> str | None:
        """The remote's tip, fetched if we did not have it; None when it has no such branch."""
        ref = branch.tracking_ref(name)
        there = remote.tip(self.place, name, PATIENCE)
        if there != self.objects.head(ref):
            self._bring(name)
            self.close()
        return self.objects.head(ref) if there else None

    def _bring(self, name: str) -> None:
        """Fetches; once more where that failed, as git brings nothing where one of our own references has a hole.

        A gc, too, may have been in the way, and have taken a folder that an object was about to be written to.
        """
        try:
            remote.fetch(self.place, name, PATIENCE)
        except RemoteError:
            self._mend()
            remote.fetch(self.place, name, PATIENCE)

    def _unite_or_mend(self, theirs: str | None) -> str | None:
        """Unites; None when it has to be done again: objects of our history were gone, or a gc is in the way."""
        try:
            return self._unite(theirs)
        except GitError:
            if not self._mend() and not wholeness.gc_is_running(self.place):
                raise
            return None

    def _mend(self) -> bool:
        """Begins the branch anew where objects of it are gone: the files have what it had. False when all is whole."""
        is_mended = wholeness.mend(self.place, self.objects)
        self.close()
        return is_mended

    @contextlib.contextmanager
    def _beside_gc(self) -> Iterator[None]:
        """Notes when somebody's gc was at work while we wrote, which may take what we wrote; mends once it has ended."""
        is_running = wholeness.gc_is_running(self.place)
        if (self.known.get("suspect") and not is_running) or self.objects.head(branch.REF) is None:
            self._mend()
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
        mine, other = self._unless_past(ours), self._unless_past(theirs)
        if mine is None or other is None or self.objects.is_ancestor(other, mine):
            newest = mine or other
            if newest is not None and self.objects.tree_of(newest) == tree:
                return newest
            return self._write(tree, [newest] if newest else [])
        if self.objects.tree_of(other) == tree:
            return other
        return self._write(tree, [other] if self.objects.is_ancestor(mine, other) else [other, mine])

    def _unless_past(self, commit: str | None) -> str | None:
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

    def _push_or_mend(self, name: str, head: str, tip: str | None) -> bool:
        try:
            return self._push(name, head, tip)
        except RemoteError:
            if wholeness.is_offered_whole(self.place, head, tip) or not self._mend():
                raise
            return False

    def _push(self, name: str, head: str, tip: str | None) -> bool:
        permission.require(self.known, self.place, name, self.settings)
        is_past = tip is not None and self._unless_past(tip) is None
        done = self._replace(name, head, tip) if tip and is_past else remote.push(self.place, name, head, PATIENCE)
        if not done:
            return False
        if remote.tip(self.place, name, PATIENCE) == head:
            ref = branch.tracking_ref(name)
            before = self.objects.head(ref)
            return before == head or self.objects.move(ref, head, before) or True
        tip = self._fetch(name)
        return tip is not None and self.objects.is_ancestor(head, tip)

    def _replace(self, name: str, head: str, past: str) -> bool:
        """Puts the history without what was purged in the place of the old one. A remote that forbids it keeps the old one."""
        try:
            if remote.push(self.place, name, head, PATIENCE, instead_of=past):
                return True
        except RemoteError:
            if remote.tip(self.place, name, PATIENCE) != past:
                raise
        if remote.tip(self.place, name, PATIENCE) == past:
            self.known["keeps_past"] = self.purged.number
        return False


def _greater(mine: Entry | None, other: Entry) -> Entry:
    return other if mine is None else max(mine, other, key=lambda entry: (entry.oid, entry.mode))


def _index(place: Place) -> list[int] | None:
    """What tells one version of the worktree's index from another; None when there is none."""
    pointer = os.fsdecode(disk.read(place.log_root + "/.git")).strip()
    with contextlib.suppress(OSError):
        found = os.stat(pointer.removeprefix("gitdir: ") + "/index")
        return [found.st_ino, found.st_size, found.st_mtime_ns]
    return None


def _older(written: str, seconds: float) -> bool:
    instant = clock.instant(written)
    return instant is None or abs(time.time_ns() - instant) > seconds * clock.SECOND
