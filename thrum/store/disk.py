"""Durable writes: a file is either as it was, or as it should be, and stays so through a power cut."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator

from thrum.errors import StorageError

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns an OSError into a StorageError that says what we were doing."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {doing}: {reason}", _cure(error)) from error


def _cure(error: OSError) -> str:
    cures = {
        errno.ENOSPC: "make room on the disk and try again; nothing was stored",
        errno.EDQUOT: "make room in your quota and try again; nothing was stored",
        errno.EROFS: "the file system is read-only; nothing was stored",
        errno.EACCES: "check who owns the repository's .git directory; nothing was stored",
        errno.EPERM: "check who owns the repository's .git directory; nothing was stored",
    }
    return cures.get(error.errno or 0, "nothing was stored; `git thrum doctor` looks closer")


@contextlib.contextmanager
def locked(path: str, *, shared: bool = False) -> Iterator[int]:
    """Holds an flock on `path` (a directory, or a file that is made if missing); gives its descriptor."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(path: str) -> int | None:
    """A descriptor that holds an flock on the file `path` until closed; None when somebody else has it."""
    descriptor = _open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_lock(path: str) -> int:
    if os.path.islink(path):
        os.unlink(path)  # no lock of ours
    if os.path.isdir(path):
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def make_folder(path: str) -> None:
    """Makes `path` and its missing parents (0700), each durable before the next."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_folder(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    sync_folder(parent)


def sync_folder(path: str) -> None:
    """Makes the entries of a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`, in one call unless the system takes less."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def append(path: str, data: bytes) -> None:
    """Appends `data` durably; after a failure the file is as long as it was before."""
    is_new = not os.path.exists(path)
    if is_new:
        make_folder(os.path.dirname(path))
    descriptor = os.open(path, APPEND, 0o600)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
            os.fdatasync(descriptor)
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync_folder(os.path.dirname(path))


def replace(path: str, data: bytes) -> None:
    """Makes `data` the whole content of `path` (0600), atomically and durably.

    A symlink there is replaced, not followed; a folder is moved aside.
    """
    folder = os.path.dirname(path)
    make_folder(folder)
    temporary = f"{folder}/.{os.path.basename(path)}.{secrets.token_hex(6)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(folder)


def _rename(temporary: str, path: str) -> None:
    try:
        os.replace(temporary, path)
    except IsADirectoryError:
        make_way(path)
        os.replace(temporary, path)


def read(path: str, start: int = 0) -> bytes:
    """The bytes of `path` from `start` on; b"" when there is no such file. Links are not followed, pipes not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no plain file", path)
        file.seek(start)
        return file.read()


def make_way(path: str) -> None:
    """Removes the file `path`; a folder there is moved aside, as it may hold what somebody needs. Raises FileNotFoundError."""
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        if not os.path.isdir(path):
            raise
        os.rename(path, f"{path}.{time.time_ns()}.aside")


def signature(path: str) -> tuple[int, int, int] | None:
    """What tells a file from the one that `replace` puts in its place: inode, size, time; None when there is none."""
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
