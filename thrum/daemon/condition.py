"""What the daemon is busy with, so that a user who finds it slow can see where."""

from __future__ import annotations

import os
import resource
import sys
from typing import Any

from thrum import eventloop
from thrum.daemon.pace import Pace
from thrum.daemon.worker import Worker

Json = dict[str, Any]


def describe(worker: Worker, pace: Pace, listeners: int, connections: int) -> Json:
    """`{queues: {calls, listeners, connections}, memory_bytes, loop, sync}`; `calls`: those that wait for the engine."""
    queues = {"calls": worker.waiting, "listeners": listeners, "connections": connections}
    return {"queues": queues, "memory_bytes": memory(), "loop": eventloop.kind(), "sync": pace.as_json()}


def memory() -> int:
    """The bytes this process keeps in memory; where the system does not tell, the most it ever kept."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
