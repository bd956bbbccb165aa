"""The small JSON files of ours: read with care, since anybody may have put anything in their place."""

from __future__ import annotations

import json
import os
import stat

from thrum.store import disk

LARGEST = 16 * 1024 * 1024


def load(path: str, largest: int = LARGEST) -> object:
    """The JSON document in the file `path`; None when there is none, or none that can be read: see `trouble`."""
    return _read(path, largest)[0]


def trouble(path: str, largest: int = LARGEST) -> str:
    """Why the file `path` cannot be read as JSON, in a few words; "" when it can, or when it is not there."""
    return _read(path, largest)[1]


def insist(path: str, largest: int = LARGEST) -> object:
    """The JSON document in the file `path`; None when there is none. Raises StorageError when the disk does not give it."""
    with disk.explained(f"read {path}"):
        try:
            return _document(path, largest)[0]
        except FileNotFoundError:
            return None


def _read(path: str, largest: int) -> tuple[object, str]:
    try:
        return _document(path, largest)
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, error.strerror or str(error)


def _document(path: str, largest: int) -> tuple[object, str]:
    found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode):
        return None, "no plain file"
    if found.st_size > largest:
        return None, f"larger than {largest} bytes"
    try:
        return json.loads(disk.read(path)), ""
    except RecursionError:
        return None, "nested too deeply"
    except ValueError:
        return None, "no JSON"
