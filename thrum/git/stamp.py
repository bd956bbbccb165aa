"""How a file is at one time, as far as its metadata tells."""

from __future__ import annotations

import os
from collections.abc import Callable

Stamp = tuple[int, int, int, int, int] | None
"""When its state and its contents changed, its size, number and mode; None for what is not there."""
Look = Callable[[str], os.stat_result]


def stamp(look: Look, path: str) -> Stamp:
    """The file at `path`, as `os.stat` or `os.lstat` sees it."""
    try:
        found = look(path)
    except (OSError, ValueError):
        return None
    return found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
