"""Repositories for the fault suites, where flushing costs nothing, and questions about what a fault left behind."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests import kit

_MEMORY = Path("/dev/shm")
_LITTER = re.compile(r"\..+\.[0-9a-f]{12}|.+\.\d+\.(tmp|new)|.+\.lock")
_LOCKS = ("daemon.lock", "sync.lock", "subscriptions.json.lock", "thrum.lock")
"""Files that are locked, not made and unmade."""
STRETCH = 20
"""Faults in one repository, where each leaves an agent or some messages more."""
_OURS = (".thrum", ".git/thrum-sync", ".git/worktrees")


@contextlib.contextmanager
def folder(fast: bool = True) -> Iterator[Path]:
    """A folder that goes in the end, in memory where the system has that."""
    where = _MEMORY if fast and os.access(_MEMORY, os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="thrum-faults-", dir=where))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def with_people(path: Path, remote: Path | None = None) -> str:
    """A repository at `path` with Ann and Bob in it, and with a bare remote if one is named."""
    kit.make_repository(path)
    if remote is not None:
        if not remote.exists():
            kit.git(path, "init", "-q", "--bare", str(remote))
        kit.git(path, "remote", "add", "origin", str(remote))
    engine = kit.set_up(path)
    for name in ("ann", "bob"):
        kit.hire(engine, path, name)
    engine.close()
    return str(path)


def litter(repo: str) -> list[str]:
    """Temporary files and locks of ours that are lying about."""
    found = []
    for top in _OURS:
        for where, _, names in os.walk(os.path.join(repo, top)):
            found += [f"{where}/{name}" for name in names if _LITTER.fullmatch(name) and not _is_lock(name)]
    return found


def locks(folder: str) -> list[str]:
    """Every lock file below a folder."""
    return glob.glob(f"{glob.escape(folder)}/**/*.lock", recursive=True)


def _is_lock(name: str) -> bool:
    return name in _LOCKS or name.endswith(".db.lock")


def age(paths: list[str], seconds: float = 120) -> None:
    """Makes files look as if they had been left long ago."""
    for path in paths:
        os.utime(path, times=(time.time() - seconds,) * 2)
