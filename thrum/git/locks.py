"""Reference locks: what to do about one that is held, and about a reference a power cut left unreadable."""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Callable

from thrum.errors import GitError
from thrum.git.objects import LOCK_AGE, PATIENCE

_READABLE = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?\s*|ref: \S+\s*")


class ContendedError(Exception):
    """Somebody else holds the lock just now; `args[0]` is the underlying error's text."""


def with_patience(common_dir: str, ref: str, swap: Callable[[], bool]) -> bool:
    """Call `swap` until it does not raise ContendedError, at most about two seconds. Raises GitError then."""
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
