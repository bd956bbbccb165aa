"""Sees what other processes do: lines in the logs, marks of git hooks, moved references. Nobody has to tell the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from thrum.git.branch import BRANCH, REF, tracking_ref
from thrum.git.place import Place, worktree_of

SETTLE = 0.05
"""Seconds of quiet before marks and references are told: a rebase of a hundred commits is one change."""
LONGEST_SETTLE = 1.0
POLL = 1.0
"""Seconds between two looks where the system cannot tell us."""

_WRITTEN: list[type[FileSystemEvent]] = [FileModifiedEvent, FileCreatedEvent, FileMovedEvent, DirCreatedEvent]
_TOUCHED: list[type[FileSystemEvent]] = [*_WRITTEN, FileAttribEvent]
_IS_LINUX = sys.platform.startswith("linux")
# Where the system tells of it, a log has grown when whoever wrote it closes it: what we write ourselves stays open.
_GROWN: list[type[FileSystemEvent]] = [FileClosedEvent if _IS_LINUX else FileModifiedEvent, *_WRITTEN[1:]]
_RENAMED: list[type[FileSystemEvent]] = [FileCreatedEvent, FileMovedEvent]  # how every reference is written
_SIGNS = ("thrum-mark", "HEAD")

log = logging.getLogger("thrum.daemon")


class Callbacks(NamedTuple):
    """Who is told what, on the event loop's thread."""

    logs_changed: Callable[[], None]
    """At once."""
    marks_changed: Callable[[frozenset[str]], None]
    """The git directories in which something was committed, checked out or marked."""
    refs_changed: Callable[[], None]
    """The remote's a-sync, or what we know of it, moved."""


class Watch:
    """The eyes of the daemon, open from construction until `close`."""

    def __init__(self, place: Place, remote: str | None, remote_dir: str | None, callbacks: Callbacks) -> None:
        """On the event loop. `remote_dir`: the git directory of a remote on this machine."""
        self._map = _Map(place, remote, remote_dir)
        self._bell = _Bell(asyncio.get_running_loop(), callbacks)
        self._source = self._open()

    @property
    def is_polling(self) -> bool:
        """Whether the system could not tell us of changes, so that we look ourselves."""
        return isinstance(self._source, _Poller)

    def renew(self) -> None:
        """Watches anew when the folder of the logs is another one than before: somebody removed it, and it was healed."""
        if self._inode != _inode(self._map.messages):
            self._source.stop()
            self._source = self._open()
            self._bell.ring_logs()

    def close(self) -> None:
        """Stops watching; waits for the threads."""
        self._bell.close()
        self._source.stop()
        self._source.join(2.0)

    def _open(self) -> _Seen | _Poller:
        if os.path.isdir(self._map.log_root):
            os.makedirs(self._map.messages, mode=0o700, exist_ok=True)
        self._inode = _inode(self._map.messages)
        return _observe(self._map, self._bell) or _Poller(self._map, self._bell)


class _Map:
    """Which path means what."""

    def __init__(self, place: Place, remote: str | None, remote_dir: str | None) -> None:
        self.common_dir = place.common_dir
        self.log_root = place.log_root
        self.messages = os.path.join(place.log_root, "messages")
        self.events = os.path.join(place.log_root, "events.jsonl")
        self.worktrees = os.path.join(place.common_dir, "worktrees")
        self.remote_heads = os.path.join(remote_dir, "refs", "heads") if remote_dir else None
        self.refs = set()
        if remote:
            self.refs.add(os.path.join(place.common_dir, tracking_ref(remote)))
        if remote_dir:
            self.refs.add(os.path.join(remote_dir, REF))

    def is_log(self, path: str) -> bool:
        """Whether lines of events are in it."""
        return path == self.events or (path.startswith(self.messages + os.sep) and path.endswith(".jsonl"))

    def marked(self, path: str) -> str | None:
        """The git directory that `path` is a sign of life of; None for anything else, our own worktree included."""
        folder, name = os.path.split(path)
        if name not in _SIGNS:
            return None
        if os.path.basename(folder) == "logs":
            folder = os.path.dirname(folder)
        if folder == self.common_dir:
            return folder
        is_linked = os.path.dirname(folder) == self.worktrees
        return folder if is_linked and worktree_of(folder) not in (None, self.log_root) else None

    def git_dirs(self) -> Iterator[str]:
        """The git directories of all worktrees."""
        yield self.common_dir
        with contextlib.suppress(OSError):
            for name in os.listdir(self.worktrees):
                yield os.path.join(self.worktrees, name)


class _Bell(FileSystemEventHandler):
    """Carries what was seen from the watching threads to the event loop, and lets it settle there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callbacks: Callbacks) -> None:
        self._loop, self._callbacks = loop, callbacks
        self._is_log_due = False
        self._marks = _Settling(loop, self._tell_marks)
        self._refs = _Settling(loop, self._tell_refs)
        self._seen: set[str] = set()
        self._is_closed = False

    def ring_logs(self, again: float = 0.0) -> None:
        """Lines were written; `again` seconds later one more look is due. From any thread."""
        if not self._is_log_due:
            self._is_log_due = True
            self._call(self._tell_logs)
        if again:
            self._call(self._loop.call_later, again, self._tell_logs)

    def ring_mark(self, git_dir: str) -> None:
        """Something happened in a worktree. From any thread."""
        self._call(self._note_mark, git_dir)

    def ring_refs(self) -> None:
        """A reference moved. From any thread."""
        self._call(self._refs.poke)

    def close(self) -> None:
        """Nothing is told any more."""
        self._is_closed = True
        self._marks.close()
        self._refs.close()

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(function, *args)

    def _tell_logs(self) -> None:
        self._is_log_due = False
        if not self._is_closed:
            self._callbacks.logs_changed()

    def _note_mark(self, git_dir: str) -> None:
        self._seen.add(git_dir)
        self._marks.poke()

    def _tell_marks(self) -> None:
        seen, self._seen = frozenset(self._seen), set()
        self._callbacks.marks_changed(seen)

    def _tell_refs(self) -> None:
        self._callbacks.refs_changed()


class _Settling:
    """Calls `action` when pokes have stopped for a moment, or have gone on for too long. On the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop, self._action = loop, action
        self._timer: asyncio.TimerHandle | None = None
        self._last_call = 0.0
        self._is_closed = False

    def poke(self) -> None:
        """Something happened."""
        if self._is_closed:
            return
        now = self._loop.time()
        if self._timer is None:
            self._last_call = now + LONGEST_SETTLE
        else:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(now + SETTLE, self._last_call), self._fire)

    def close(self) -> None:
        """No call any more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def _fire(self) -> None:
        self._timer = None
        self._action()


class _Handler(FileSystemEventHandler):
    """Tells what concerns us from what does not. Called on watchdog's thread."""

    def __init__(self, known: _Map, bell: _Bell) -> None:
        self._map, self._bell = known, bell
        self.found_worktrees: Callable[[], None] = lambda: None

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Sorts one event."""
        if isinstance(event, DirCreatedEvent):
            self._sort_folder(os.fsdecode(event.src_path))
            return
        for raw in (event.src_path, event.dest_path):
            path = os.fsdecode(raw) if raw else ""
            if path and not path.endswith(".lock"):
                self._sort(path)

    def _sort(self, path: str) -> None:
        if self._map.is_log(path):
            self._bell.ring_logs()
        elif path in self._map.refs:
            self._bell.ring_refs()
        elif git_dir := self._map.marked(path):
            self._bell.ring_mark(git_dir)

    def _sort_folder(self, path: str) -> None:
        if path.startswith(self._map.messages):
            self._bell.ring_logs(again=SETTLE)  # a file in it may have come before the watch on it
        elif path == self._map.worktrees:
            self.found_worktrees()


class _Seen:
    """A running observer."""

    def __init__(self, known: _Map, handler: _Handler) -> None:
        self._observer, self._map, self._handler = Observer(), known, handler
        handler.found_worktrees = self._add_worktrees

    def start(self) -> None:
        """Raises OSError when the system has no watches left."""
        known = self._map
        self._observer.start()
        self._add(known.messages, _GROWN, recursive=True)
        self._add(known.log_root, _WRITTEN)
        self._add(known.common_dir, _TOUCHED)
        self._add(os.path.join(known.common_dir, "logs"), _TOUCHED)
        self._add(os.path.join(known.common_dir, "refs"), _RENAMED, recursive=True)
        self._add_worktrees()
        if known.remote_heads:
            self._add(known.remote_heads, _RENAMED)

    def stop(self) -> None:
        """Ends the threads."""
        self._observer.stop()

    def join(self, timeout: float) -> None:
        """Waits for them."""
        self._observer.join(timeout)

    def _add_worktrees(self) -> None:
        self._add(self._map.worktrees, _TOUCHED, recursive=True)

    def _add(self, path: str, wanted: list[type[FileSystemEvent]], *, recursive: bool = False) -> None:
        if os.path.isdir(path):
            self._observer.schedule(self._handler, path, recursive=recursive, event_filter=wanted)


def _observe(known: _Map, bell: _Bell) -> _Seen | None:
    """An observer at work, or None where the system has no watches left for us."""
    warnings.filterwarnings(
        "ignore", "Callback with id", RuntimeWarning
    )  # a new folder seen twice: no harm, much noise
    try:
        observer = _Seen(known, _Handler(known, bell))
    except OSError as error:
        log.warning("changes cannot be watched (%s): looking every second instead", error)
        return None
    try:
        observer.start()
    except OSError as error:
        log.warning("changes cannot be watched (%s): looking every second instead", error)
        observer.stop()
        return None
    return observer


class _Poller(threading.Thread):
    """Looks at the same things once a second."""

    def __init__(self, known: _Map, bell: _Bell) -> None:
        super().__init__(name="watch", daemon=True)
        self._map, self._bell = known, bell
        self._stopped = threading.Event()
        self._logs, self._marks, self._refs = self._look_at_logs(), self._look_at_marks(), self._look_at_refs()
        self.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()

    def run(self) -> None:
        """Until stopped."""
        while not self._stopped.wait(POLL):
            self._compare()

    def _compare(self) -> None:
        logs, marks, refs = self._look_at_logs(), self._look_at_marks(), self._look_at_refs()
        if logs != self._logs:
            self._bell.ring_logs()
        if refs != self._refs:
            self._bell.ring_refs()
        for path in marks.keys() | self._marks.keys():
            git_dir = self._map.marked(path) if marks.get(path) != self._marks.get(path) else None
            if git_dir:
                self._bell.ring_mark(git_dir)
        self._logs, self._marks, self._refs = logs, marks, refs

    def _look_at_logs(self) -> dict[str, tuple[int, int] | None]:
        found = {self._map.events: _stat(self._map.events)}
        for folder, _, names in os.walk(self._map.messages):
            paths = (os.path.join(folder, name) for name in names)
            found.update({path: _stat(path) for path in paths if self._map.is_log(path)})
        return found

    def _look_at_marks(self) -> dict[str, tuple[int, int] | None]:
        paths = (
            os.path.join(git_dir, *sign)
            for git_dir in self._map.git_dirs()
            for sign in (("thrum-mark",), ("HEAD",), ("logs", "HEAD"))
        )
        return {path: _stat(path) for path in paths}

    def _look_at_refs(self) -> dict[str, tuple[int, int] | None]:
        return {path: _stat(path) for path in self._map.refs}


def _inode(path: str) -> int:
    """The file's inode number, 0 when there is none."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _stat(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def read_ref(git_dir: str, ref: str) -> str:
    """A loose reference's content; "" when it is packed or missing."""
    try:
        with open(os.path.join(git_dir, ref), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def agree(place: Place, remote: str | None, remote_dir: str | None) -> bool:
    """Whether our a-sync, the remote's as last fetched, and a local remote's own are one commit: nothing to sync."""
    refs = [(place.common_dir, REF)]
    if remote:
        refs.append((place.common_dir, tracking_ref(remote)))
    if remote_dir:
        refs.append((remote_dir, f"refs/heads/{BRANCH}"))
    found = {read_ref(git_dir, ref) for git_dir, ref in refs}
    return len(found) == 1 and "" not in found
