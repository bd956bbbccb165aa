"""Power cuts: an ext4 of our own on a loop device, which is told to throw away everything that was not flushed.

Needs root and a loop device. Whoever uses it gives the folder; whoever gave it calls `clear` in the end, whatever happened.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_PATIENCE = 60.0


def is_possible() -> str:
    """Why not; "" when it is."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a file system is mounted by root on Linux only"
    missing = [program for program in ("mkfs.ext4", "mount", "umount") if shutil.which(program) is None]
    if missing:
        return f"there is no {missing[0]}"
    return "" if os.path.exists("/dev/loop-control") else "there is no loop device"


class Disk:
    """A disk in the folder `path`, mounted at `path`/mounted."""

    def __init__(self, path: str, megabytes: int = 96) -> None:
        """Makes and mounts it."""
        self.image, self.mounted = f"{path}/image", f"{path}/mounted"
        os.makedirs(self.mounted)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        _run("mkfs.ext4", "-q", "-F", self.image)
        self.mount()

    def path(self, name: str) -> Path:
        """Where something lies on it."""
        return Path(self.mounted, name)

    def mount(self) -> None:
        """Mounts it; what its journal holds is replayed. Nothing is flushed by itself for minutes."""
        _run("mount", "-o", "loop,commit=300", self.image, self.mounted)

    def settle(self) -> None:
        """What is on it by now is not at stake."""
        descriptor = os.open(self.mounted, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
                raise OSError(ctypes.get_errno(), "syncfs")
        finally:
            os.close(descriptor)

    def cut(self) -> None:
        """From now on nothing is written, and what was not flushed is lost."""
        descriptor = os.open(self.mounted, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def restart(self) -> None:
        """After a cut, with nobody left who uses it: mounted again."""
        os.chdir("/")
        _patiently(lambda: subprocess.run(["umount", self.mounted], capture_output=True, check=False).returncode == 0)
        _patiently(self._is_let_go)
        self.mount()

    def _is_let_go(self) -> bool:
        """Whether nobody has it mounted in a namespace of his own: it would come back as it was, cut off."""
        return all(name != self.image for name in _backing_files())


def _patiently(is_done: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE
    while not is_done():
        if time.monotonic() > end:
            raise OSError("the disk stays busy")
        time.sleep(0.02)


def _backing_files() -> Iterator[str]:
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError), open(path) as file:
            yield file.read().strip()


def clear(path: str) -> None:
    """Unmounts whatever is mounted below `path`, and removes it."""
    with open("/proc/self/mounts") as file:
        there = [line.split(" ")[1] for line in file]
    for mounted in there:
        if mounted.startswith(path + "/"):
            subprocess.run(["umount", "-l", mounted], capture_output=True, check=False)
    with contextlib.suppress(OSError):
        shutil.rmtree(path)


def _run(*line: str) -> None:
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(line)}: {done.stderr.strip()}")
