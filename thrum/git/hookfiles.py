"""One hook file: put our stub in front of what was there, and take it away again, byte for byte."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import stat
from typing import Any

from thrum.errors import GitError
from thrum.git.locks import remove_stale

ORIGINAL = ".thrum-orig"
MARKER = b"# git thrum: "

Record = dict[str, Any]


def stub_source(event: str) -> bytes:
    """The stub for `event`, from the package, or from the checkout it runs in. Raises GitError."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for folder in (os.path.join(package, "githooks"), os.path.join(os.path.dirname(package), "githooks")):
        content = read(os.path.join(folder, event))
        if content is not None:
            return content
    raise GitError(f"the hook stub {event} is missing from this installation", "install git-thrum again")


def read(path: str) -> bytes | None:
    """The file's bytes, None when there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def is_stub(content: bytes | None) -> bool:
    """Whether it is a stub of ours, of any version, changed or not."""
    return content is not None and MARKER in content[:200]


def is_untouched(content: bytes | None, event: str, record: Record | None) -> bool:
    """Whether it is exactly a stub we wrote."""
    if content is None:
        return False
    return content == stub_source(event) or (record is not None and digest(content) == record.get("stub"))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(path: str, event: str) -> Record:
    """Install the stub at `path`, moving what is there aside in one step; the record for `hooks.json`."""
    stub = stub_source(event)
    there = read(path)
    original = None
    if there is not None and not is_stub(there):
        original = {"sha256": digest(there), "mode": stat.S_IMODE(os.stat(path).st_mode)}
        if not os.path.lexists(path + ORIGINAL):
            _set_aside(path)
    elif (kept := read(path + ORIGINAL)) is not None:
        original = {"sha256": digest(kept), "mode": stat.S_IMODE(os.stat(path + ORIGINAL).st_mode)}
    os.makedirs(os.path.dirname(path), exist_ok=True)
    replace(path, stub, 0o755)
    return {"path": path, "stub": digest(stub), "original": original}


def take_away(path: str, original: str) -> None:
    """Put the original back in the stub's place (same file, so same bytes, mode and times), or remove the stub."""
    if os.path.lexists(original):
        os.replace(original, path)
    else:
        os.unlink(path)


def _set_aside(path: str) -> None:
    """Give the hook its second name; the first is replaced in the next step, so there is always a hook."""
    try:
        os.link(path, path + ORIGINAL, follow_symlinks=False)
    except (NotImplementedError, PermissionError):
        os.rename(path, path + ORIGINAL)


def replace(path: str, content: bytes, mode: int) -> None:
    """Write a file atomically and durably."""
    remove_abandoned(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_abandoned(path: str) -> None:
    """Removes what processes that were killed while they wrote `path` left beside it."""
    for left in glob.glob(glob.escape(path) + ".*.tmp"):
        if left[len(path) + 1 : -len(".tmp")].isdecimal():
            remove_stale(left)


def load_records(path: str) -> dict[str, Record]:
    """`hooks.json`: {event: {path, stub, original: {sha256, mode} | None}}; {} when missing or damaged."""
    try:
        loaded = json.loads(read(path) or b"{}")
        return {event: record for event, record in loaded["hooks"].items() if isinstance(record.get("path"), str)}
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return {}


def save_records(path: str, records: dict[str, Record]) -> None:
    """Write `hooks.json`, or remove it when nothing is installed."""
    if records:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        text = json.dumps({"version": 1, "hooks": records}, indent=1, sort_keys=True) + "\n"
        replace(path, text.encode("utf-8", "surrogateescape"), 0o600)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
