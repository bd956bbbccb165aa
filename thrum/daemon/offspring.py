"""Our child processes: git and what it starts, each in a session of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable


def end(children: Iterable[int] | None = None) -> None:
    """Kills these children, or all, with their process groups; those the system does not list end by their deadline."""
    for pid in _children() if children is None else children:
        with contextlib.suppress(OSError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)


def _children() -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found
