"""The seam to git's object store: two implementations behind one protocol, and the tree format both share."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, Protocol

from thrum.errors import GitError

TREE = 0o40000
BLOB = 0o100644
COMMIT = 0o160000
TREE_LIMIT = 16 << 20  # bytes of one tree object; beyond it somebody built a bomb
AUTHOR = ("git thrum", "thrum@localhost")
LOCK_AGE = 60.0  # seconds after which a lock file belongs to a process that was killed
PATIENCE = 2.0  # seconds of trying when somebody else holds a lock


class Entry(NamedTuple):
    """One name in a tree: its mode (0o40000 a folder, 0o100644 a plain file) and its object's hex id."""

    mode: int
    oid: str

    @property
    def is_tree(self) -> bool:
        """Whether it is a folder."""
        return self.mode == TREE


class Objects(Protocol):
    """Commits, trees, blobs and references of one repository. Every oid is hex. Missing objects raise GitError."""

    def head(self, ref: str) -> str | None:
        """The commit that `ref` names; None when the ref is absent or its commit or tree is missing or corrupt."""

    def tree_of(self, commit: str) -> str:
        """The commit's root tree."""

    def entries(self, tree: str) -> dict[str, Entry]:
        """The tree's names, one level; bytes that are not UTF-8 come as surrogate escapes."""

    def rows(self, tree: str) -> frozenset[bytes]:
        """The same as `split_tree` gives it, faster to compare. Raises NamedTwiceError."""

    def blob_size(self, oid: str) -> int:
        """The blob's size in bytes, from its header alone."""

    def blob(self, oid: str) -> bytes:
        """The blob's content."""

    def write_blob(self, data: bytes) -> str:
        """Store a blob, durably."""

    def write_tree(self, entries: dict[str, Entry]) -> str:
        """Store a tree of one level, durably."""

    def commit(self, tree: str, parents: list[str], message: str) -> str:
        """Store a commit by `git thrum <thrum@localhost>`: no signature, no hook, no branch moved."""

    def move(self, ref: str, new: str, old: str | None) -> bool:
        """Compare and swap: False when `ref` is not at `old` (None: absent, or broken beyond reading)."""

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Whether `descendant` contains `ancestor` (or is it)."""

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor; None for unrelated histories."""

    def empty_tree(self) -> str:
        """The tree without entries, stored."""

    def close(self) -> None:
        """Let go of processes and files."""


def open_objects(common_dir: str) -> Objects:
    """The repository through libgit2, or through the git program where libgit2 refuses. Raises GitError."""
    from thrum.git.libgit import LibgitObjects, accepts

    if accepts(common_dir):
        return LibgitObjects(common_dir)
    from thrum.git.plumbing import PlumbingObjects

    return PlumbingObjects(common_dir)


def blob_id(data: bytes, digits: int) -> str:
    """The id git gives a blob, in a repository whose ids have `digits` hex digits."""
    make = hashlib.sha256 if digits == 64 else hashlib.sha1
    return make(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def encode_tree(entries: dict[str, Entry]) -> bytes:
    """git's tree format. Names other tools refuse (`.git`, `..`) pass: what came in a tree stays in it."""
    named = [(encode_name(name), entry) for name, entry in entries.items()]
    named.sort(key=lambda item: item[0] + b"/" if item[1].is_tree else item[0])
    return b"".join(b"%o %s\0%s" % (entry.mode, name, bytes.fromhex(entry.oid)) for name, entry in named)


def check_size(tree: str, size: int) -> None:
    """Raises GitError for a tree of more bytes than anybody's."""
    if size > TREE_LIMIT:
        raise GitError(f"git tree {tree[:12]} is larger than {TREE_LIMIT} bytes", "somebody pushed a bomb")


def decode_tree(data: bytes, oid_size: int) -> dict[str, Entry]:
    """The inverse of encode_tree; `oid_size` is 20 or 32 bytes. Raises GitError for what is no tree.

    An entry without a name, or with a path for one, is passed over: git itself can neither write nor check out such a thing.
    """
    entries, at, rows = {}, 0, _ROWS[oid_size]
    while row := rows.match(data, at):
        at = row.end()
        mode, name, oid = row.groups()
        if name and b"/" not in name:
            entries[name.decode("utf-8", "surrogateescape")] = Entry(int(mode, 8), oid.hex())
    if at != len(data):
        raise GitError("a tree object is damaged", "run `git fsck`")
    return entries


class NamedTwiceError(Exception):
    """A name stands twice in a tree; to git, and to `decode_tree`, the last one counts."""


def split_tree(data: bytes, oid_size: int) -> frozenset[bytes]:
    """The rows of a tree as they stand there, to be compared, then decoded. Raises GitError, NamedTwiceError."""
    rows = _WHOLE_ROWS[oid_size].findall(data)
    if sum(map(len, rows)) != len(data):
        raise GitError("a tree object is damaged", "run `git fsck`")
    if len({row[row.index(b" ") : -oid_size] for row in rows}) != len(rows):
        raise NamedTwiceError
    return frozenset(rows)


_ROWS = {size: re.compile(rb"([0-7]{1,7}) ([^\0]*)\0(.{%d})" % size, re.DOTALL) for size in (20, 32)}
_WHOLE_ROWS = {size: re.compile(rb"[0-7]{1,7} [^\0]*\0.{%d}" % size, re.DOTALL) for size in (20, 32)}


def encode_name(name: str) -> bytes:
    """A tree entry's name as bytes. Raises GitError for a name no tree can hold."""
    if not name or "/" in name or "\0" in name:
        raise GitError(f"{name!r} cannot be a name in a git tree", "this is a fault of thrum's: please report it")
    return name.encode("utf-8", "surrogateescape")


def missing(oid: str) -> GitError:
    """The refusal for an object that is not there or cannot be read."""
    return GitError(f"git object {oid[:12]} is missing or damaged", "run `git fsck`, then `git thrum doctor`")
