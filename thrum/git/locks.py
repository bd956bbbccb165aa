"""Reference locks: what to do about one that is held, and about a reference a power cut left unreadable."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import re
import time
from collections.abc import Callable, Iterator

from thrum.errors import GitError
from thrum.git.objects import LOCK_AGE, PATIENCE

_READABLE = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\s*|ref: \S+\s*")
_ENDLESS = float("inf")
_OURS = re.compile(r"refs/(?:heads|remotes/[^/]+(?:/[^/]+)*)/a-sync")


class ContendedError(Exception):
    """Somebody else holds the lock just now; `args[0]` is the underlying error's text."""


def with_patience(common_dir: str, ref: str, swap: Callable[[], bool]) -> bool:
    """Call `swap` until it does not raise ContendedError, at most about two seconds. Raises GitError then.

    A lock that was left by one of our own processes, killed while it moved a reference, is removed first.
    """
    with _announced(common_dir, ref, "moving", PATIENCE + 1):
        return _insist(common_dir, ref, swap)


@contextlib.contextmanager
def transferring(common_dir: str, ref: str) -> Iterator[None]:
    """To be held while the git program talks to a remote and moves `ref` at some moment of that, however late.

    A lock that was left by such a program, killed by then, is removed first; an old one is, too, whoever left it.
    """
    with _announced(common_dir, ref, "transferring", _ENDLESS):
        remove_stale(os.path.join(common_dir, ref + ".lock"))
        yield


def _insist(common_dir: str, ref: str, swap: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    pause = 0.005
    while True:
        try:
            return swap()
        except ContendedError as error:
            remove_stale(os.path.join(common_dir, ref + ".lock"))
            if time.monotonic() > end:
                raise GitError(
                    f"{ref} could not be moved: {error.args[0]}",
                    f"if no git command is running, remove {os.path.join(common_dir, ref)}.lock",
                ) from error
        time.sleep(random.uniform(0, pause))  # noqa: S311  # jitter, no secret
        pause = min(pause * 2, 0.2)


@contextlib.contextmanager
def _announced(common_dir: str, ref: str, note: str, longest: float) -> Iterator[None]:
    """Holds the file `note`, which names the reference: whoever finds a name in it knows that its writer was killed.

    `longest`: seconds within which the writer takes the reference's lock.
    """
    folder = os.path.join(common_dir, "thrum-sync")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    file = os.open(os.path.join(folder, note), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        _tidy_after_the_dead(common_dir, file, longest)
        os.pwrite(file, ref.encode(), 0)
        os.fsync(file)  # or a power cut keeps the lock and loses whose it was
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _tidy_after_the_dead(common_dir: str, file: int, longest: float) -> None:
    """Removes the lock of the reference named in `file`, if it was made while its writer was at work."""
    ref = os.pread(file, 1024, 0).decode("utf-8", "replace")
    if not _OURS.fullmatch(ref):
        return
    lock = os.path.join(common_dir, ref + ".lock")
    with contextlib.suppress(OSError):
        made = os.lstat(lock).st_mtime
        if -0.1 < made - os.fstat(file).st_mtime < longest:
            if longest == _ENDLESS:
                _let_the_living_finish(lock, made)
            os.unlink(lock)
    os.ftruncate(file, 0)


def _let_the_living_finish(lock: str, made: float) -> None:
    """Waits: the lock may be somebody else's, who is at work just now. Raises OSError when it goes, or becomes another."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and abs(time.time() - made) < PATIENCE:
        time.sleep(0.05)
        if os.lstat(lock).st_mtime != made:
            raise FileExistsError(lock)


def remove_stale(lock: str) -> bool:
    """Remove a lock file that a killed process left more than a minute ago; True when it did."""
    with contextlib.suppress(OSError):
        if time.time() - os.lstat(lock).st_mtime > LOCK_AGE:
            os.unlink(lock)
            return True
    return False


def remove_unreadable(common_dir: str, ref: str) -> None:
    """Remove a loose reference that holds neither an id nor a name: what a power cut leaves is empty or zeros."""
    path = os.path.join(common_dir, ref)
    with contextlib.suppress(OSError):
        with open(path, "rb") as file:
            content = file.read(1024)
        if not _READABLE.fullmatch(content):
            os.unlink(path)
