"""The object store through libgit2: fast, in-process, durable, and deaf to git's environment and hooks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sized
from typing import Generic, TypeVar

import pygit2
from pygit2.enums import ObjectType

from thrum.errors import GitError
from thrum.git.locks import ContendedError, remove_unreadable, with_patience
from thrum.git.objects import AUTHOR, Entry, check_size, decode_tree, encode_tree, missing, split_tree

pygit2.settings.enable_fsync_gitdir(True)  # off by default: a power cut would take the branch

T = TypeVar("T", bound=Sized)
_TROUBLE = (pygit2.GitError, KeyError, ValueError, OSError)


class Trees(Generic[T]):
    """Trees that were read, as long as they are few entries in all. A tree's name says what is in it, wherever it is."""

    def __init__(self, most: int) -> None:
        """`most`: entries that are kept; when there would be more, all are forgotten."""
        self._most, self._size = most, 0
        self._known: dict[str, T] = {}

    def recall(self, tree: str, read: Callable[[], T]) -> T:
        """What `read` gives of the tree, which nobody may change."""
        known = self._known.get(tree)
        if known is None:
            known = read()
            if self._size + len(known) > self._most:
                self._known, self._size = {}, 0
            self._known[tree] = known
            self._size += len(known)
        return known


_ENTRIES: Trees[dict[str, Entry]] = Trees(50_000)
_ROWS: Trees[frozenset[bytes]] = Trees(50_000)


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
        check_size(tree, self._expect(tree, ObjectType.TREE))  # one that we know may be gone
        return dict(_ENTRIES.recall(tree, lambda: decode_tree(self._read(tree, ObjectType.TREE), 20)))

    def rows(self, tree: str) -> frozenset[bytes]:
        check_size(tree, self._expect(tree, ObjectType.TREE))
        return _ROWS.recall(tree, lambda: split_tree(self._read(tree, ObjectType.TREE), 20))

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


@contextlib.contextmanager
def _reading(oid: str):  # type: ignore[no-untyped-def]
    try:
        yield
    except _TROUBLE as error:
        raise missing(oid) from error
