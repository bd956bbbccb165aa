"""Who owns the repository's daemon: a lock that dies with its process. The pid file only describes, it decides nothing."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

from thrum.errors import NotInitialised, Refused
from thrum.git.place import Place
from thrum.store import disk, records

Json = dict[str, Any]

_TRIES = 20
_PAUSE = 0.01
"""Whoever asks `owner` holds the lock for a moment: a fifth of a second of patience tells that from a daemon."""


class Running(NamedTuple):
    """The daemon that owns a repository. `pid` 0 and empty texts: the lock is held, but nobody said by whom."""

    pid: int
    repo_path: str = ""
    started_at: str = ""
    socket_path: str = ""
    log: str = ""


class Ownership:
    """The right to be the daemon of a repository, for as long as this object is not closed and the process lives."""

    def __init__(self, place: Place) -> None:
        """Takes the lock, and v0.1.0's. Raises Refused naming the other daemon, NotInitialised, StorageError."""
        if not place.is_initialised:
            raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
        self._place = place
        self._locks: list[int] = []
        try:
            with disk.explained(f"lock {place.sync_dir}"):
                self._locks.append(_take(place, lock_path(place)))
            with disk.explained(f"lock {place.var_dir}"):
                disk.make_folder(place.var_dir)
                self._locks.append(_take(place, _old_lock_path(place)))
        except BaseException:
            self.close()
            raise

    def announce(self, log: str) -> None:
        """Writes the pid file, as v0.1.0 does, for people and for old clients. Raises StorageError."""
        started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        pid = os.getpid()
        record: Json = {
            "pid": pid,
            "repo_path": self._place.worktree or self._place.common_dir,
            "started_at": started,
            "socket_path": self._place.socket,
            "log": log,
            "birth": birth(pid),
        }
        with disk.explained(f"write {pid_path(self._place)}"):
            disk.replace(pid_path(self._place), json.dumps(record, indent=2).encode())

    @property
    def is_valid(self) -> bool:
        """Whether the lock we hold is still the one that others ask for: nobody removed its file."""
        return _is_same(self._locks[0], lock_path(self._place))

    def restore(self, log: str) -> None:
        """Makes v0.1.0's lock and the pid file anew after somebody removed them (`git clean -fdx`). Raises StorageError."""
        with disk.explained(f"lock {self._place.var_dir}"):
            disk.make_folder(self._place.var_dir)
            if not _is_same(self._locks[1], _old_lock_path(self._place)):
                fresh = _take(self._place, _old_lock_path(self._place))
                os.close(self._locks.pop())
                self._locks.append(fresh)
        self.announce(log)

    def close(self) -> None:
        """Removes the pid file if it is ours and lets go of the locks; their files stay."""
        if len(self._locks) == 2 and _read_pid_file(self._place).get("pid") == os.getpid():
            with contextlib.suppress(OSError):
                os.unlink(pid_path(self._place))
        while self._locks:
            os.close(self._locks.pop())


def lock_path(place: Place) -> str:
    """The file whose lock decides; in the git directory, where no `git clean` comes, and never removed."""
    return os.path.join(place.sync_dir, "daemon.lock")


def _old_lock_path(place: Place) -> str:
    return os.path.join(place.var_dir, "thrum.lock")


def pid_path(place: Place) -> str:
    """v0.1.0's pid file."""
    return os.path.join(place.var_dir, "thrum.pid")


def owner(place: Place) -> Running | None:
    """The daemon of `place`'s repository, None when there is none. The lock tells; the pid file adds the details."""
    if not _is_held(lock_path(place)):
        return None
    pid = _lock_holder(lock_path(place))
    record = _read_pid_file(place)
    if pid and record.get("pid") != pid:
        return Running(pid)
    if not pid and not _is_alive(record):
        return Running(0)
    texts = {key: str(record.get(key) or "") for key in ("repo_path", "started_at", "socket_path", "log")}
    return Running(record["pid"], **texts)


def birth(pid: int) -> str:
    """When the process began, in the kernel's own words, so that a reused pid is told apart; "" when it is not known.

    A process that has ended has none, even while nobody took note of its end.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (OSError, IndexError):
        return ""


def _take(place: Place, path: str) -> int:
    for _ in range(_TRIES):
        descriptor = disk.try_lock(path)
        if descriptor is not None:
            if _is_same(descriptor, path):
                return descriptor
            os.close(descriptor)  # somebody removed or replaced the file between our open and our lock
        time.sleep(_PAUSE)
    running = owner(place)
    pid = running.pid if running else _lock_holder(path)
    who = f" (pid {pid})" if pid else ""
    raise Refused(f"the daemon is already running{who}", "stop it with `git thrum daemon stop`, or use it as it is")


def _is_same(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def _is_held(path: str) -> bool:
    """Whether a process holds the lock on `path`. Makes no file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _lock_holder(path: str) -> int:
    """The pid of the process that holds the lock on `path`, from /proc/locks; 0 when that does not tell."""
    try:
        found = os.stat(path)
        with open("/proc/locks", encoding="ascii") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        fields = line.split()
        if len(fields) > 5 and fields[1:4:2] == ["FLOCK", "WRITE"] and fields[5] == wanted:
            return max(0, int(fields[4]))
    return 0


def _is_alive(record: Json) -> bool:
    """Whether the process of the pid file is there and is the one that wrote it."""
    pid = record.get("pid")
    return isinstance(pid, int) and bool(record.get("birth")) and birth(pid) == record["birth"]


def _read_pid_file(place: Place) -> Json:
    """What the pid file says; nothing when it is missing or garbage. A bare number is an old form of it."""
    record = records.load(pid_path(place))
    if isinstance(record, int):
        return {"pid": record}
    return record if isinstance(record, dict) else {}
