"""What is set aside because it cannot stay where it was: never deleted, in `<sync_dir>/quarantine`.

An unfinished line that nobody was promised, the remains of a damaged line whose good copy was found, a folder or a link where a
file belongs.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from thrum.core import layout
from thrum.store import disk

FOLDER, FILE = stat.S_IFDIR, stat.S_IFREG


def keep(root: str, path: str, data: bytes) -> None:
    """Writes `data`, which stood in the log file `path` below `root`. Raises OSError."""
    place = _place(root, path)
    disk.make_folder(os.path.dirname(place))
    disk.sweep(os.path.dirname(place))
    disk.replace(place, data)


def note_mending(root: str) -> None:
    """Events were taken out of a log: every read model of the logs is to be built anew. Raises OSError."""
    disk.replace(f"{os.path.dirname(root)}/mended", b"")


def last_mending(root: str) -> int:
    """When `note_mending` was last called, in nanoseconds; 0 for never."""
    try:
        return os.stat(f"{os.path.dirname(root)}/mended").st_mtime_ns
    except OSError:
        return 0


def make_way(root: str, path: str) -> None:
    """Makes it possible to write the log file `path` below `root`: sets aside what is there and is no plain file of ours.

    The same for a folder on the way. Raises OSError.
    """
    parts = path.split("/")
    for depth in range(1, len(parts) + 1):
        name = "/".join(parts[:depth])
        try:
            found = os.lstat(f"{root}/{name}")
        except (FileNotFoundError, NotADirectoryError):
            return
        wanted = FILE if depth == len(parts) else FOLDER
        if stat.S_IFMT(found.st_mode) != wanted:
            _set_aside(root, name)
            return
        _open_up(f"{root}/{name}", found, 0o600 if wanted == FILE else 0o700)


def misplaced(root: str) -> Iterator[str]:
    """A sentence for everything below `root` that is neither a folder nor a log: links, strange files, folders for files."""
    for folder, folders, names in os.walk(root):
        below = os.path.relpath(folder, root)
        for name in sorted([*folders, *names]):
            path = name if below == "." else f"{below}/{name}"
            if path == ".git" or name.startswith("."):
                continue
            kind = stat.S_IFMT(os.lstat(f"{root}/{path}").st_mode)
            is_log = layout.parse_path(path) is not None
            if is_log and kind != FILE:
                yield f"{path} is no plain file"
            elif not is_log and kind != FOLDER:
                yield f"{path} is no log"


def _set_aside(root: str, path: str) -> None:
    place = _place(root, path)
    disk.make_folder(os.path.dirname(place))
    os.rename(f"{root}/{path}", place)
    disk.sync_folder(os.path.dirname(f"{root}/{path}"))


def _open_up(path: str, found: os.stat_result, needed: int) -> None:
    """What is ours and closed to us is opened: no mode of a log means that its owner is not to write it."""
    if found.st_uid == os.geteuid() and found.st_mode & needed != needed:
        os.chmod(path, needed)


def _place(root: str, path: str) -> str:
    name = path.removeprefix("messages/").replace("/", ".")
    return f"{os.path.dirname(root)}/quarantine/{name}.{time.time_ns()}"
