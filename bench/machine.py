"""Where a measurement was made, as far as it matters to whoever compares: no names, no paths."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def describe() -> dict[str, str | int]:
    """Commit, versions, and the machine's class."""
    return {
        "commit": _git("describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "git": _git("version").removeprefix("git version "),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} on {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
    }


def _git(*words: str) -> str:
    done = subprocess.run(("git", "-c", f"safe.directory={ROOT}", *words), cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
