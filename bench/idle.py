"""What a daemon costs that has nothing to do: watched for as long as everything else is measured."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import playground
from bench.goals import row
from bench.measure import Row
from bench.scale import Scale

CALM = 3.0
"""Seconds after which what was begun is done."""


class _Seen(NamedTuple):
    at: float
    cpu: float
    commits: int


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row | None]:
    """First gives None: the daemon idles from then on. Taken up again, it gives the rows."""
    path = playground.repository(root, "idle", env)
    with playground.daemon(path, env) as pid:
        playground.run(path, env, "git", "thrum", "send", "hello", "--quiet")
        playground.run(path, env, "git", "thrum", "sync", "force")
        time.sleep(min(CALM, scale.idle))
        before = _look(path, env, pid)
        yield None
        time.sleep(max(scale.idle - (time.monotonic() - before.at), 0))
        after = _look(path, env, pid)
        resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmRSS" in line)
        yield row("idle.commits", after.commits - before.commits)
        yield row("idle.cpu", (after.cpu - before.cpu) / (after.at - before.at) * 100)
        yield row("idle.memory", int(resident.split()[1]) / 1024)


def _look(path: str, env: dict[str, str], pid: int) -> _Seen:
    commits = int(playground.run(path, env, "git", "rev-list", "--all", "--count"))
    return _Seen(time.monotonic(), _cpu(pid), commits)


def _cpu(pid: int) -> float:
    """Seconds of CPU of the process, all its threads, and its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
