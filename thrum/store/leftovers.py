"""Files that a killed process left half-made: told by names only we give, and by an age that no living process needs."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator

from thrum.store import disk

AGE = 60.0
"""Seconds after which a temporary file belongs to nobody who lives."""
_TEMPORARY = re.compile(
    r"\.[^/]+\.[0-9a-f]{12}\Z"  # what `disk.replace` writes before it renames
    r"|thrum-\d+\.db\.\d+\.new(?:-wal|-shm|-journal)?\Z"  # a read model that was being built
    r"|thrum-proof-[^/]+\Z"  # a fold that was being compared
    r"|(?:post-[a-z]+|hooks\.json|HEAD|commondir|gitdir|locked|\.git)\.\d+\.tmp\Z"  # hooks, and the worktree's pointers
)


def find(sync_dir: str, thrum_dir: str, git_dir: str, common_dir: str) -> list[str]:
    """Paths of what was left below the logs, in thrum's own folders, and where git keeps hooks and worktrees."""
    places = [*_everything(sync_dir), *_everything(thrum_dir)]
    for folder in (f"{common_dir}/hooks", f"{git_dir}/hooks", *_folders(f"{common_dir}/worktrees")):
        places += [f"{folder}/{name}" for name in disk.names(folder)]
    locks = [f"{common_dir}/refs/heads/a-sync.lock"]
    found = {path for path in places if _TEMPORARY.search(os.path.basename(path))} | set(locks)
    return sorted(path for path in found if _is_old(path))


def remove(paths: list[str]) -> list[str]:
    """Removes them; a sentence for each."""
    done = []
    for path in paths:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        done.append(f"removed {path}")
    return done


def _everything(top: str) -> Iterator[str]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != ".git"]
        yield from (f"{folder}/{name}" for name in (*names, *folders))


def _folders(top: str) -> list[str]:
    return [f"{top}/{name}" for name in disk.names(top)]


def _is_old(path: str) -> bool:
    try:
        return time.time() - os.stat(path, follow_symlinks=False).st_mtime > AGE
    except OSError:
        return False
