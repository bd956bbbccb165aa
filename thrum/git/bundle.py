"""The branch a-sync as one file, a git bundle: made of the branch, and taken apart again into objects of ours."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from thrum.errors import GitError, Refused, StorageError
from thrum.git.branch import BRANCH, REF
from thrum.git.command import run
from thrum.git.place import Place
from thrum.git.remote import FETCH

INBOX = "refs/thrum/import"
"""Where a bundle's branch is kept while it is taken in."""
_PATIENCE = 3600.0
_PLAIN = re.compile(rf"refs/[A-Za-z0-9._/-]+/{BRANCH}")
_BROKEN = "it is damaged, cut short, or no bundle of a-sync"


def write(place: Place, path: str, *, force: bool = False) -> int:
    """Writes the branch to the file `path` (0600), whole or not at all; its size in bytes.

    Raises Refused when there is something already and not `force`, GitError, StorageError.
    """
    if not force and os.path.lexists(path):
        raise is_there(path)
    with _explained(path, "write"), tempfile.TemporaryDirectory(prefix=".thrum-", dir=os.path.dirname(path)) as folder:
        made = f"{folder}/{BRANCH}.bundle"
        _create(place, made)
        size = _settle(made)
        _put(made, path, force)
        _sync_folder(os.path.dirname(path))
    return size


def pour(place: Place, out: BinaryIO) -> int:
    """Writes the branch into a stream; its size in bytes. Raises GitError, OSError."""
    with tempfile.TemporaryDirectory(prefix="thrum-") as folder:
        _create(place, f"{folder}/{BRANCH}.bundle")
        with open(f"{folder}/{BRANCH}.bundle", "rb") as file:
            shutil.copyfileobj(file, out, 1 << 20)
            out.flush()
            return file.tell()


@contextlib.contextmanager
def unpacked(place: Place, path: str) -> Iterator[str]:
    """The commit of a-sync in the bundle `path`, its objects with ours; what is not used of them git throws away some day.

    Raises Refused, GitError with one sentence about what is wrong with the file.
    """
    name = _branch_in(place, path)
    _verify(place, path)
    cwd = place.main_worktree or place.common_dir
    fetched = run(
        ["-c", "protocol.file.allow=always", *FETCH, "--force", "--", path, f"+{name}:{INBOX}"],
        cwd,
        timeout=_PATIENCE,
        check=False,
    )
    try:
        if fetched.code:
            raise GitError(f"{path} could not be read: {_BROKEN}", "nothing was changed; take another copy of the file")
        yield run(["rev-parse", "--verify", f"{INBOX}^{{commit}}"], place.common_dir).out.decode("ascii").strip()
    finally:
        run(["update-ref", "-d", INBOX], place.common_dir, check=False)


def _create(place: Place, path: str) -> None:
    run(["bundle", "create", "--quiet", path, REF], place.common_dir, timeout=_PATIENCE)


def _settle(path: str) -> int:
    """Makes the file private and durable; its size."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _put(made: str, path: str, force: bool) -> None:
    if force:
        os.replace(made, path)
        return
    try:
        os.link(made, path)
    except FileExistsError:
        raise is_there(path) from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise is_there(path) from None
        os.replace(made, path)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _branch_in(place: Place, path: str) -> str:
    """The reference in the bundle that is a-sync. Raises Refused, GitError."""
    with _explained(path, "read"), open(path, "rb") as file:
        head = file.read(4096)
    if not head.startswith(b"# v"):
        raise Refused(f"{path} is no git bundle", "`git thrum export FILE` makes one")
    theirs = "sha256" if b"\n@object-format=sha256\n" in head else "sha1"
    ours = run(["rev-parse", "--show-object-format"], place.common_dir).out.decode("ascii").strip()
    if theirs != ours:
        raise Refused(f"{path} is a bundle of a {theirs} repository, and this is a {ours} one", "git cannot mix them")
    listed = run(["bundle", "list-heads", path], place.common_dir, check=False)
    if listed.code:
        raise GitError(f"{path} could not be read: {_BROKEN}", "nothing was changed; take another copy of the file")
    names = [line.partition(" ")[2] for line in listed.out.decode("utf-8", "replace").splitlines()]
    fitting = [name for name in names if name == REF] or [name for name in names if _PLAIN.fullmatch(name)]
    if len(fitting) != 1:
        there = f"only {', '.join(names[:3])}" if names and not fitting else f"{len(fitting)} of them"
        raise Refused(
            f"{path} does not hold one branch {BRANCH}, but {there}", f"git bundle create FILE {BRANCH} makes one"
        )
    return fitting[0]


def _verify(place: Place, path: str) -> None:
    checked = run(["bundle", "verify", path], place.common_dir, check=False, timeout=_PATIENCE)
    if checked.code == 0:
        return
    if "prerequisite" in checked.err:
        raise Refused(
            f"{path} holds only what came after commits that are not here",
            "import the bundle before it first, or a whole one",
        )
    raise GitError(f"{path} could not be read: {_BROKEN}", "nothing was changed; take another copy of the file")


def is_there(path: str) -> Refused:
    """The refusal to write over a file."""
    return Refused(f"{path} is there already, and was left as it is", "choose another name, or say --force")


@contextlib.contextmanager
def _explained(path: str, doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot {doing} {path}: {error.strerror or error}", "check the path, who owns it, and the room on the disk"
        ) from error
