"""git's index at a glance: whether it is a commit's tree, and what it says of a few files. Never the whole of it.

What is read is proved by its surroundings, and anything unusual (other formats, split or sparse indexes) is refused.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from typing import NamedTuple

from thrum.git.evidence import CannotTellError
from thrum.git.objects import blob_id

_HEAD = struct.Struct(">4sII")
_ENTRY = struct.Struct(">10I20sH")
_TAIL = 4 << 20  # bytes at the end in which git's note of its trees has to begin
_HASH = 20
_LARGEST = 1 << 20
_MODES = (0o100644, 0o100755, 0o120000)
_ODD = 0xF000  # assumed unchanged, extended, or in conflict
_LONG = 0xFFF


class Row(NamedTuple):
    """What the index says of a file: ten numbers of its state in git's order, its mode among them, and its contents' id."""

    state: tuple[int, ...]
    oid: str


class Index:
    """An open index. Raises CannotTellError for one that is not plain."""

    def __init__(self, path: str) -> None:
        self._folder = os.path.dirname(path)
        try:
            with open(path, "rb") as file:
                self._written = int(os.fstat(file.fileno()).st_mtime)
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CannotTellError(str(error)) from None
        magic, version, self._count = _HEAD.unpack_from(self._data) if len(self._data) > _HEAD.size else (b"", 0, 0)
        if magic != b"DIRC" or version not in (2, 3):
            raise CannotTellError(f"index version {version}")

    def close(self) -> None:
        """Lets go of the file."""
        self._data.close()

    def tree(self) -> str:
        """The id of the tree that a commit of this index would have, where git has noted it. Raises CannotTellError."""
        end = len(self._data) - _HASH
        at = self._data.rfind(b"TREE", max(_HEAD.size, end - _TAIL), end)
        if at < 0 or not self._leads_to_end(at, end) or self._is_split(at):
            raise CannotTellError("git has not noted its trees")
        path, _, rest = self._data[at + 8 : at + 8 + 64].partition(b"\0")
        count, _, rest = rest.partition(b" ")
        _, _, rest = rest.partition(b"\n")
        if path or count != b"%d" % self._count or len(rest) < _HASH:
            raise CannotTellError("something is staged")
        return rest[:_HASH].hex()

    def row(self, path: str) -> Row | None:
        """What it says of a file; None when it does not know it. Raises CannotTellError."""
        name = os.fsencode(path)
        at = _HEAD.size - 1
        while (at := self._data.find(name + b"\0", at + 1)) >= 0:
            begin = at - _ENTRY.size
            if begin >= _HEAD.size and (begin - _HEAD.size) % 8 == 0:
                *state, oid, flags = _ENTRY.unpack_from(self._data, begin)
                if state[6] in _MODES and flags & _LONG == min(len(name), _LONG):
                    if flags & _ODD:
                        raise CannotTellError(f"{path} is marked")
                    return Row(tuple(state), oid.hex())
        return None

    def is_unchanged(self, top: str, path: str, row: Row, *, is_plain: bool) -> bool:
        """Whether the file in the worktree is the one in the index. Raises CannotTellError.

        `is_plain`: no rule says that contents in the worktree differ from those that git keeps.
        """
        try:
            found = os.lstat(os.path.join(top, path))
        except (FileNotFoundError, NotADirectoryError):
            return False
        if stat.S_IFMT(found.st_mode) != stat.S_IFMT(row.state[6]):
            return False
        if _state(found) == row.state and row.state[2] < self._written:
            return True
        if not is_plain or found.st_size > _LARGEST:
            raise CannotTellError(f"{path} may have been changed")
        return _mode(found) == row.state[6] and _oid(os.path.join(top, path), found) == row.oid

    def _leads_to_end(self, at: int, end: int) -> bool:
        while at < end:
            name, size = self._data[at : at + 4], int.from_bytes(self._data[at + 4 : at + 8], "big")
            if name == b"sdir":
                return False
            at += 8 + size
        return at == end

    def _is_split(self, end: int) -> bool:
        """Whether a note that ends there says that most of the index is in another file, which git keeps beside it."""
        if not self._has_other_half():
            return False
        at = end
        while (at := self._data.rfind(b"link", max(_HEAD.size, end - _TAIL), at)) >= 0:
            if at + 8 + int.from_bytes(self._data[at + 4 : at + 8], "big") == end:
                return True
        return False

    def _has_other_half(self) -> bool:
        try:
            return any(name.startswith("sharedindex.") for name in os.listdir(self._folder))
        except OSError as error:
            raise CannotTellError(str(error)) from None


def _state(found: os.stat_result) -> tuple[int, ...]:
    numbers = (
        *divmod(found.st_ctime_ns, 10**9), *divmod(found.st_mtime_ns, 10**9),
        found.st_dev, found.st_ino, _mode(found), found.st_uid, found.st_gid, found.st_size,
    )  # fmt: skip
    return tuple(number & 0xFFFFFFFF for number in numbers)


def _mode(found: os.stat_result) -> int:
    if stat.S_ISLNK(found.st_mode):
        return 0o120000
    return 0o100755 if found.st_mode & stat.S_IXUSR else 0o100644


def _oid(path: str, found: os.stat_result) -> str:
    try:
        if stat.S_ISLNK(found.st_mode):
            data = os.fsencode(os.readlink(path))
        else:
            with open(path, "rb") as file:
                data = file.read(_LARGEST + 1)
    except OSError as error:
        raise CannotTellError(str(error)) from None
    return blob_id(data, 2 * _HASH)
