"""Durable writes: a file is either as it was, or as it should be, and stays so through a power cut."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator

from thrum.errors import StorageError

APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}")
_ABANDONED = 60.0
"""Seconds after which a temporary file that nobody holds a lock on was left by a process that was killed."""


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns an OSError into a StorageError that says what we were doing."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"cannot {doing}: {reason}", _cure(error)) from error


def _cure(error: OSError) -> str:
    cure = CURES.get(error.errno or 0)
    return f"{cure}; nothing was stored" if cure else "nothing was stored; `git thrum doctor` looks closer"


@contextlib.contextmanager
def blamed() -> Iterator[None]:
    """Turns an OSError that only the machine can be blamed for, wherever it came up, into a StorageError. Others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in CURES or isinstance(error, PermissionError):
            raise
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(f"the machine refuses: {error.strerror}{where}", f"{CURES[error.errno]}") from error


CURES = {
    errno.ENOSPC: "make room on the disk and try again",
    errno.EDQUOT: "make room in your quota and try again",
    errno.EROFS: "the file system is read-only: make it writable",
    errno.EIO: "the disk fails: look at the system's log, and make a copy of the repository",
    errno.EFBIG: "raise the limit on the size of files: ulimit -f",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "the whole system has too many open files: close some programs",
    errno.ENOMEM: "the system is out of memory: close some programs",
    errno.EACCES: "check who owns the repository's .git directory",
    errno.EPERM: "check who owns the repository's .git directory",
}
"""What helps, by what the system says."""


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


_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EMLINK)


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _NO_FOLDER:
            raise
    if os.path.islink(path):
        os.unlink(path)  # no lock of ours
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


def sync_folders(path: str, top: str) -> None:
    """Makes the way to `path` durable: its entries and those of every folder above it, up to those of `top`.

    That a folder exists does not say that it outlives a power cut: whoever made it may have been killed before its fsync.
    """
    sync_folder(path)
    while path != top and path != os.path.dirname(path):
        path = os.path.dirname(path)
        sync_folder(path)


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


class Pen:
    """A file that is open to be appended to, so that the next append need not open it; closed again by `drop`."""

    def __init__(self) -> None:
        self._path = ""
        self._descriptor = -1

    def put_on(self, path: str) -> int:
        """A descriptor to append to `path` with, which is made if missing."""
        if not self.is_on(path):
            self.drop()
            self._descriptor = _open_to_append(path, os.path.dirname(path))
            self._path = path
        return self._descriptor

    def drop(self) -> None:
        """Closes the file."""
        if self._path:
            self._path = ""
            os.close(self._descriptor)

    def is_on(self, path: str) -> bool:
        """Whether the file that is open is the one at `path`: somebody may have put another one there."""
        try:
            return path == self._path and os.path.samestat(os.lstat(path), os.fstat(self._descriptor))
        except OSError:
            return False


def append(path: str, data: bytes, top: str = "", pen: Pen | None = None) -> None:
    """Appends `data` durably; after a failure the file is as long as it was before.

    The way to a new file is made durable with it, from `top` down (its own folder, if none is named). A file without content
    counts as new: whoever made it may have been killed before it went on. `pen` has the file open afterwards.
    """
    folder, own = os.path.dirname(path), pen or Pen()
    descriptor = own.put_on(path)
    try:
        size = os.fstat(descriptor).st_size
        try:
            write_all(descriptor, data)
            os.fdatasync(descriptor)
            if not size:
                sync_folders(folder, top or folder)
        except BaseException:
            os.ftruncate(descriptor, size)
            raise
    finally:
        if pen is None:
            own.drop()


def _open_to_append(path: str, folder: str) -> int:
    try:
        return os.open(path, APPEND, 0o600)
    except FileNotFoundError:
        make_folder(folder)
        return os.open(path, APPEND, 0o600)


def flush(path: str, top: str) -> None:
    """Makes what a file holds, and the way to it from `top` down, durable; nothing when there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    sync_folders(os.path.dirname(path), top)


def replace(path: str, data: bytes) -> None:
    """Makes `data` the whole content of `path` (0600), atomically and durably.

    A symlink there is replaced, not followed; a folder is moved aside.
    """
    folder, name = os.path.split(path)
    make_folder(folder)
    sweep(folder, name)
    temporary = f"{folder}/.{name}.{os.urandom(6).hex()}"
    descriptor = os.open(temporary, _MAKE, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        write_all(descriptor, data)
        os.fsync(descriptor)
        _rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    sync_folder(folder)


def sweep(folder: str, name: str = "") -> None:
    """Removes the temporary files of `replace` (of the file `name` only, if one is named) whose writer was killed."""
    for found in os.listdir(folder):
        parsed = _TEMPORARY.fullmatch(found)
        if parsed and name in ("", parsed[1]):
            with contextlib.suppress(OSError):
                _remove_abandoned(f"{folder}/{found}")


def _remove_abandoned(path: str) -> None:
    """Removes a file that is old and that nobody alive holds the lock on. Raises OSError otherwise, BlockingIOError too."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(descriptor).st_mtime > _ABANDONED:
            os.unlink(path)
    finally:
        os.close(descriptor)


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
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "no plain file", path)
        return _read_from(descriptor, start)
    finally:
        os.close(descriptor)


def _read_from(descriptor: int, start: int) -> bytes:
    """All bytes from `start` on. The size is asked for once more: it may have grown since."""
    pieces = []
    while piece := os.pread(descriptor, max(os.fstat(descriptor).st_size - start, _LEAST), start):
        pieces.append(piece)
        start += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_LEAST = 4096
"""Bytes that are asked for at least: some systems tell no size."""


def names(folder: str) -> list[str]:
    """What is in a folder, in order; nothing for one that cannot be listed."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


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
