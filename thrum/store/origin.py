"""The clone's origin: a random id made by `init`, part of the path of every log this clone writes.

A copy of the whole repository (`cp -r`) must not write into the logs of the original, so the file remembers which
directory it was made for; where both path and inode differ, it is a copy, and gets an origin of its own.
"""

from __future__ import annotations

import json
import os
from typing import Any

from thrum.core import layout
from thrum.core.ids import encode_bits
from thrum.errors import NotInitialised
from thrum.store import disk, records


def ensure(sync_dir: str) -> str:
    """This clone's origin (12 characters), made on first use."""
    disk.make_folder(sync_dir)
    with disk.locked(sync_dir):
        return _load(sync_dir) or _create(sync_dir)


def load(sync_dir: str) -> str:
    """This clone's origin. Raises NotInitialised before `init`."""
    origin = _load(sync_dir)
    if origin:
        return origin
    if not os.path.exists(_path(sync_dir)):
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    return ensure(sync_dir)


def _path(sync_dir: str) -> str:
    return sync_dir + "/origin"


def _load(sync_dir: str) -> str | None:
    try:
        record: Any = records.load(_path(sync_dir))
        origin, path, inode = record["origin"], record["path"], record["inode"]
    except (LookupError, TypeError):
        return None
    if path != sync_dir and inode != os.stat(sync_dir).st_ino:
        return None
    return origin if isinstance(origin, str) and layout.is_part(1, origin) else None


def _create(sync_dir: str) -> str:
    origin = encode_bits(int.from_bytes(os.urandom(8), "big") >> 4, 12).lower()
    record = {"origin": origin, "path": sync_dir, "inode": os.stat(sync_dir).st_ino}
    disk.replace(_path(sync_dir), json.dumps(record).encode() + b"\n")
    return origin
