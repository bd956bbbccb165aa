"""The linked worktree of a-sync, whose files are the logs: made and healed by writing git's few pointer files.

Never `git worktree add`, which checks out and runs the user's hooks; never a file touched in the logs but `.git`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from thrum.errors import GitError, Refused, StorageError
from thrum.git import index
from thrum.git.branch import BRANCH, REF, walk
from thrum.git.hookfiles import remove_abandoned
from thrum.git.locks import remove_stale
from thrum.git.objects import BLOB, Entry, Objects
from thrum.git.place import Place, worktrees

HEAD = f"ref: {REF}\n"
LOCKED = "git thrum keeps its logs here\n"
TAIL = os.path.join("thrum-sync", "a-sync", ".git")


def ensure(place: Place) -> list[str]:
    """Make the worktree at `place.log_root` whole; one sentence for each thing healed, [] when it was healthy.

    Missing logs are the caller's to refill from the branch. Raises Refused when somebody has a-sync checked out
    elsewhere, StorageError when the files cannot be written.
    """
    _refuse_checked_out(place)
    metadata = _metadata(place)
    try:
        return _heal(place, metadata)
    except OSError as error:
        raise StorageError(
            f"the worktree of {BRANCH} cannot be written: {error.strerror} ({error.filename})",
            "check free space and permissions below " + place.common_dir,
        ) from error


def follow(place: Place, objects: Objects, tree: str, changed: Mapping[str, str | None] | None) -> None:
    """Make the worktree's index equal to `tree`, so that `git status` in it is clean.

    `changed` maps the paths that differ from the index to their new oid (None: gone); without it the index is written
    from scratch. A failure is not told: the index is a convenience for people, and the next call tries again.
    """
    with contextlib.suppress(OSError, GitError):
        path = os.path.join(_metadata(place), "index")
        oid_size = len(tree) // 2
        data = None if changed is None else _amended(place, objects, path, changed, oid_size)
        if data is None:
            rows = {name: _row(place, objects, name, entry) for name, entry in walk(objects, tree)}
            data = index.render(rows, oid_size)
        _replace_index(path, data)


def _refuse_checked_out(place: Place) -> None:
    for other in worktrees(place):
        if _read(os.path.join(other.git_dir, "HEAD")).strip() == HEAD.strip():
            raise Refused(
                f"the branch {BRANCH} is checked out in {other.worktree}, and its commits would surprise you there",
                f"switch to another branch first: git -C {other.worktree} switch BRANCH",
            )


def _metadata(place: Place) -> str:
    """Our directory among `<common>/worktrees/*`, existing or not: named by `.git`, else by its gitdir, else free."""
    root = os.path.join(place.common_dir, "worktrees")
    named = os.path.basename(_read(os.path.join(place.log_root, ".git")).strip())
    others = sorted(os.listdir(root)) if os.path.isdir(root) else []
    for name in sorted(others, key=lambda name: name != named):
        if _is_ours(os.path.join(root, name)):
            return os.path.join(root, name)
    free = (name for name in (BRANCH, *(f"{BRANCH}{number}" for number in range(1, 1000))) if name not in others)
    return os.path.join(root, next(free))


def _is_ours(metadata: str) -> bool:
    """Also after the repository was moved or copied: no other worktree ends in thrum-sync/a-sync."""
    return _read(os.path.join(metadata, "gitdir")).strip().endswith(os.sep + TAIL)


def _heal(place: Place, metadata: str) -> list[str]:
    healed = []
    if not os.path.isdir(place.log_root):
        os.makedirs(place.sync_dir, mode=0o700, exist_ok=True)
        os.makedirs(place.log_root, mode=0o700, exist_ok=True)
        healed.append(f"made the folder of the logs, {place.log_root}")
    if not os.path.isdir(metadata):
        os.makedirs(metadata, exist_ok=True)
        healed.append(f"registered it with git as worktree {os.path.basename(metadata)}")
    wanted = {
        os.path.join(metadata, "HEAD"): (HEAD, f"put its HEAD back on {BRANCH}"),
        os.path.join(metadata, "commondir"): ("../..\n", "told git where its repository is"),
        os.path.join(metadata, "gitdir"): (os.path.join(place.log_root, ".git") + "\n", "told git where it is now"),
        os.path.join(metadata, "locked"): (LOCKED, "locked it against `git worktree prune`"),
        os.path.join(place.log_root, ".git"): (f"gitdir: {metadata}\n", "wrote its .git pointer anew"),
    }
    for path, (content, sentence) in wanted.items():
        if not _says(path, content):
            _write(metadata, path, content)
            healed.append(sentence)
    return healed


def _says(path: str, content: str) -> bool:
    """Whether the file says so already; any reason will do for the lock."""
    found = _read(path)
    return bool(found) if path.endswith("locked") else found.strip() == content.strip()


def _amended(
    place: Place, objects: Objects, path: str, changed: Mapping[str, str | None], oid_size: int
) -> bytes | None:
    """The present index with `changed` applied; None when it is not one of ours."""
    with open(path, "rb") as file:
        data = file.read()
    rows = {name: _row(place, objects, name, Entry(BLOB, oid)) if oid else None for name, oid in changed.items()}
    return index.amend(data, rows, oid_size)


def _row(place: Place, objects: Objects, name: str, entry: Entry) -> index.Row:
    size = objects.blob_size(entry.oid) if entry.mode == BLOB else 0
    return index.observe(place.log_root, name, entry, size)


def _replace_index(path: str, data: bytes) -> None:
    """Atomically, under git's own lock; FileExistsError when somebody else holds it."""
    lock = path + ".lock"
    remove_stale(lock)
    handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(lock, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(lock)
        raise


def _write(metadata: str, path: str, content: str) -> None:
    """Atomically and durably; the temporary file stays out of the logs."""
    name = os.path.join(metadata, os.path.basename(path))
    remove_abandoned(name)
    temporary = f"{name}.{os.getpid()}.tmp"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(os.fsencode(content))
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(1 << 16))
    except OSError:
        return ""
