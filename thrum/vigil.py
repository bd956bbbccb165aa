"""Which files in folders were touched since we last asked: Linux tells at once, and we need not look at them all.

Whoever asks is told of everything that happened before. What cannot be seen (file systems of other machines, folders that
come and go, more than the system keeps in mind) is told as having lost sight.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import threading

MOST_FOLDERS = 8192
MOST_TOUCHED = 500
_SHARE = 4  # of the user's watches we take at most one in so many
_LIMIT = "/proc/sys/fs/inotify/max_user_watches"

_MODIFY, _ATTRIB, _CLOSE_WRITE, _MOVED_FROM, _MOVED_TO = 0x2, 0x4, 0x8, 0x40, 0x80
_CREATE, _DELETE, _DELETE_SELF, _MOVE_SELF = 0x100, 0x200, 0x400, 0x800
_UNMOUNT, _OVERFLOW, _IGNORED, _ISDIR = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLYDIR, _DONT_FOLLOW = 0x1000000, 0x2000000
_WANTED = _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
_LOST = _UNMOUNT | _OVERFLOW | _IGNORED | _DELETE_SELF | _MOVE_SELF
_COMES_AND_GOES = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 16
_LOCAL = frozenset((0xEF53, 0x58465342, 0x9123683E, 0x01021994, 0x2FC12FC1, 0xF2F52010, 0xCA451A4E, 0x794C7630))
"""ext4, xfs, btrfs, tmpfs, zfs, f2fs, bcachefs, overlayfs: nobody changes their files without this kernel."""


class LostSightError(Exception):
    """Folders cannot be watched, or not any more."""


class Vigil:
    """Watches folders, each by itself, from `watch` until `close`. One thread at a time."""

    def __init__(self, top: str) -> None:
        """`top`: a folder above all others. Raises LostSightError where nothing can be watched."""
        if not sys.platform.startswith("linux") or _kind_of_file_system(top) not in _LOCAL:
            raise LostSightError("changes are not told here")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise LostSightError(os.strerror(ctypes.get_errno()))
        self._top, self._folders, self._touched = top, {0: ""}, set[str]()
        self._watched = set[str]()
        self._lock = threading.Lock()
        self._device = _disk(top)
        self._most = min(MOST_FOLDERS, _allowed() // _SHARE)
        self._is_lost = False

    def watch(self, folder: str) -> None:
        """One more folder, by its path from the top. Raises LostSightError."""
        path = os.path.join(self._top, folder)
        if _disk(path) != self._device:
            raise LostSightError("on several disks")
        number = self._libc.inotify_add_watch(self._file, os.fsencode(path), _WANTED | _ONLYDIR | _DONT_FOLLOW)
        if number < 0:
            raise LostSightError(os.strerror(ctypes.get_errno()))
        if number not in self._folders and len(self._folders) > self._most:
            raise LostSightError("too many folders")
        self._folders[number] = folder
        self._watched.add(folder)

    def watches(self, folder: str) -> bool:
        """Whether what happens to the files in that folder is told."""
        return folder in self._watched

    def touched(self) -> frozenset[str]:
        """The paths of the files touched since the beginning, or the last `forget`. Raises LostSightError."""
        with self._lock:
            while not self._is_lost and (data := self._read()):
                self._note(data)
            if self._is_lost or len(self._touched) > MOST_TOUCHED:
                self._is_lost = True
                raise LostSightError("too much happened, or a folder came or went")
            return frozenset(self._touched)

    def forget(self, paths: frozenset[str]) -> None:
        """These were seen to."""
        with self._lock:
            self._touched -= paths

    def close(self) -> None:
        """Watches nothing any more."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file, self._is_lost = -1, True

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            self.close()

    def _read(self) -> bytes:
        try:
            return os.read(self._file, _BUFFER)
        except BlockingIOError:
            return b""
        except OSError as error:
            if error.errno != errno.EINTR:
                self._is_lost = True
            return b""

    def _note(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, mask, _, length = _EVENT.unpack_from(data, at)
            name = data[at + _EVENT.size : at + _EVENT.size + length].rstrip(b"\0")
            at += _EVENT.size + length
            if mask & _LOST or number not in self._folders or (mask & _ISDIR and mask & _COMES_AND_GOES):
                self._is_lost = not self._is_ours(number, name) or self._is_lost
            elif name and not mask & _ISDIR:
                folder = self._folders[number]
                self._touched.add(os.path.join(folder, os.fsdecode(name)))

    def _is_ours(self, number: int, name: bytes) -> bool:
        """Whether it is thrum's own folder, or git's, that came: they are nobody's work."""
        return self._folders.get(number) == "" and number != 0 and name in (b".thrum", b".git")


def _disk(path: str) -> int:
    """The number of the disk a folder is on. Raises LostSightError when it is gone."""
    try:
        return os.lstat(path).st_dev
    except OSError as error:
        raise LostSightError(str(error)) from None


def _allowed() -> int:
    try:
        with open(_LIMIT, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def _kind_of_file_system(path: str) -> int:
    """The kernel's number of it, 0 where it does not say."""
    found = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), found):
        return 0
    return int(ctypes.c_long.from_buffer(found).value)
