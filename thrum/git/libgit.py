"""The object store through libgit2: fast, in-process, durable, and deaf to git's environment and hooks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pygit2
from pygit2.enums import ObjectType

from thrum.errors import GitError
from thrum.git.locks import ContendedError, remove_unreadable, with_patience
from thrum.git.objects import AUTHOR, TREE_LIMIT, Entry, decode_tree, encode_tree, missing, split_tree

pygit2.settings.enable_fsync_gitdir(True)  # off by default: a power cut would take the branch

_TROUBLE = (pygit2.GitError, KeyError, ValueError, OSError)


class Trees:
    """Trees that were read, as long as they are few entries in all. A tree's name says what is in it, wherever it is."""

    def __init__(self, most: int) -> None:
        """`most`: entries that are kept; when there would be more, all are forgotten."""
        self._most, self._size = most, 0
        self._known: dict[str, dict[str, Entry]] = {}

    def recall(self, tree: str, read: Callable[[], dict[str, Entry]]) -> dict[str, Entry]:
        """The tree's entries; a copy, as callers may change them."""
        known = self._known.get(tree)
        if known is None:
            known = read()
            if self._size + len(known) > self._most:
                self._known, self._size = {}, 0
            self._known[tree] = known
            self._size += len(known)
        return dict(known)


class Rows:
    """Trees as the rows they consist of; those that the last comparisons needed are kept in mind."""

    def __init__(self) -> None:
        self._kept: dict[str, frozenset[bytes]] = {}
        self._needed: dict[str, frozenset[bytes]] = {}

    def recall(self, tree: str, read: Callable[[], frozenset[bytes]]) -> frozenset[bytes]:
        """The tree's rows."""
        if tree not in self._needed:
            self._needed[tree] = self._kept[tree] if tree in self._kept else read()
        return self._needed[tree]

    def forget(self) -> None:
        """Keeps what was needed since the last call, and nothing else."""
        self._kept, self._needed = self._needed, {}


_TREES = Trees(50_000)


def accepts(common_dir: str) -> bool:
    """Whether libgit2 can do our whole work here: not in sha256, reftable, foreign-owned or partial repositories."""
    try:
        config = pygit2.Repository(common_dir).config
        return not any(item.name.endswith(".promisor") and item.value != "false" for item in config)
    except _TROUBLE:
        return False


class LibgitObjects:
    """`Objects` over one libgit2 repository; use one per thread, it opens in 0.1 ms. Raises GitError."""

    def __init__(self, common_dir: str) -> None:
        self.common_dir = common_dir
        try:
            self.repository = pygit2.Repository(common_dir)
        except _TROUBLE as error:
            raise GitError(f"libgit2 cannot open {common_dir}: {error}", "use the git program instead") from error
        self.repository.set_ident(*AUTHOR)

    def close(self) -> None:
        self.repository.free()

    def head(self, ref: str) -> str | None:
        oid = self._target(ref)
        if oid is None:
            return None
        try:
            self._expect(self.tree_of(oid), ObjectType.TREE)
        except GitError:
            return None
        return oid

    def tree_of(self, commit: str) -> str:
        data = self._read(commit, ObjectType.COMMIT)
        if not data.startswith(b"tree "):
            raise missing(commit)
        return data[5:45].decode("ascii", "replace")

    def commit_data(self, commit: str) -> bytes:
        """A commit as git keeps it: its headers, an empty line, its message."""
        return self._read(commit, ObjectType.COMMIT)

    def entries(self, tree: str) -> dict[str, Entry]:
        self._check_size(tree)
        return _TREES.recall(tree, lambda: decode_tree(self._read(tree, ObjectType.TREE), 20))

    def differences(self, old: str, new: str, known: Rows) -> dict[str, tuple[int, int]]:
        """The paths of files that differ between two trees, and their modes in each; 0 where they are not.

        `known`: the trees that need not be read again.
        """
        found: dict[str, tuple[int, int]] = {}
        waiting: list[tuple[str, str | None, str | None]] = [("", old, new)]
        while waiting:
            prefix, *trees = waiting.pop()
            rows = [self._rows(tree, known) if tree else frozenset[bytes]() for tree in trees]
            before, after = (decode_tree(b"".join(some), 20) for some in (rows[0] - rows[1], rows[1] - rows[0]))
            for name in before.keys() | after.keys():
                was, now = before.get(name), after.get(name)
                modes = _file_mode(was), _file_mode(now)
                if any(modes):
                    found[prefix + name] = modes
                if _subtree(was) or _subtree(now):
                    waiting.append((f"{prefix}{name}/", _subtree(was), _subtree(now)))
        return found

    def blob_size(self, oid: str) -> int:
        return self._expect(oid, ObjectType.BLOB)

    def blob(self, oid: str) -> bytes:
        return self._read(oid, ObjectType.BLOB)

    def write_blob(self, data: bytes) -> str:
        return self._write(ObjectType.BLOB, data)

    def write_tree(self, entries: dict[str, Entry]) -> str:
        return self._write(ObjectType.TREE, encode_tree(entries))  # libgit2's own builder refuses names it dislikes

    def empty_tree(self) -> str:
        return self.write_tree({})

    def commit(self, tree: str, parents: list[str], message: str) -> str:
        who = pygit2.Signature(*AUTHOR, int(time.time()), 0)
        try:
            return str(self.repository.create_commit(None, who, who, message, pygit2.Oid(hex=tree), list(parents)))
        except _TROUBLE as error:
            raise GitError(f"git commit object could not be written: {error}", "check the disk") from error

    def move(self, ref: str, new: str, old: str | None) -> bool:
        return with_patience(self.common_dir, ref, lambda: self._swap(ref, new, old))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        with _reading(descendant):
            return ancestor == descendant or bool(self.repository.descendant_of(descendant, ancestor))

    def merge_base(self, one: str, other: str) -> str | None:
        with _reading(one):
            base = self.repository.merge_base(one, other)
        return None if base is None else str(base)

    def _swap(self, ref: str, new: str, old: str | None) -> bool:
        broken = old is None and self.head(ref) is None
        if broken:
            remove_unreadable(self.common_dir, ref)
        try:
            with self.repository.transaction() as transaction:
                transaction.lock_ref(ref)
                if self._target(ref) != old and not (broken and self.head(ref) is None):
                    return False
                transaction.set_target(ref, pygit2.Oid(hex=new), None, "git thrum")
        except (pygit2.GitError, OSError) as error:
            raise ContendedError(str(error)) from error
        return True

    def _target(self, ref: str) -> str | None:
        with contextlib.suppress(*_TROUBLE):
            return str(self.repository.lookup_reference(ref).resolve().target)
        return None

    def _rows(self, tree: str, known: Rows) -> frozenset[bytes]:
        self._check_size(tree)
        return known.recall(tree, lambda: frozenset(split_tree(self._read(tree, ObjectType.TREE), 20)))

    def _check_size(self, tree: str) -> None:
        if self._expect(tree, ObjectType.TREE) > TREE_LIMIT:
            raise GitError(f"git tree {tree[:12]} is larger than {TREE_LIMIT} bytes", "somebody pushed a bomb")

    def _expect(self, oid: str, kind: ObjectType) -> int:
        """The object's size; raises GitError when it is not there or of another kind."""
        with _reading(oid):
            found, size = self.repository.odb.read_header(pygit2.Oid(hex=oid))
        if found != kind:
            raise missing(oid)
        return int(size)

    def _read(self, oid: str, kind: ObjectType) -> bytes:
        with _reading(oid):
            found, data = self.repository.odb.read(pygit2.Oid(hex=oid))
        if found != kind:
            raise missing(oid)
        return bytes(data)

    def _write(self, kind: ObjectType, data: bytes) -> str:
        try:
            return str(self.repository.odb.write(kind, data))
        except _TROUBLE as error:
            raise GitError(f"git object could not be written: {error}", "check the disk: full or read-only?") from error


def _file_mode(entry: Entry | None) -> int:
    return 0 if entry is None or entry.is_tree else entry.mode


def _subtree(entry: Entry | None) -> str | None:
    return entry.oid if entry is not None and entry.is_tree else None


@contextlib.contextmanager
def _reading(oid: str):  # type: ignore[no-untyped-def]
    try:
        yield
    except _TROUBLE as error:
        raise missing(oid) from error
