"""What somebody is working on, seen through git: branch, commits not yet in the base, files changed and uncommitted."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypedDict

from thrum.errors import GitError
from thrum.git.branch import BRANCH
from thrum.git.command import run
from thrum.git.place import Place
from thrum.git.stamp import Stamp, stamp

STATUS = [
    *("status", "--porcelain=v2", "-z", "--branch", "--no-ahead-behind"),
    *("--untracked-files=normal", "--no-renames", "--ignore-submodules=dirty"),
]
LOG = [
    *(
        "log",
        "-z",
        "--name-only",
        "--no-renames",
        "--no-relative",
        "--no-show-signature",
        "--no-color",
        "--no-ext-diff",
    ),
    *("--encoding=UTF-8", "--no-notes", "--no-decorate", "--format=%x01%H%x02%s"),
]
DIFF = ["diff", "--name-only", "-z", "--no-renames", "--no-relative", "--no-ext-diff", "--no-color"]
REFS = ["for-each-ref", "--format=%(refname)%00%(objectname)%00%(symref)"]
USUAL = ("main", "master", "trunk")
LIMIT_FILES, LIMIT_COMMITS = 500, 50


class Commit(TypedDict):
    """One unmerged commit; `message` is its subject."""

    sha: str
    message: str
    files: list[str]


class Context(TypedDict):
    """v0.1.0's fields, and `head`: the commit's hex id, "" before the first commit."""

    branch: str
    head: str
    unmerged_commits: list[Commit]
    changed_files: list[str]
    uncommitted_files: list[str]


def read(place: Place, limit_files: int = LIMIT_FILES, limit_commits: int = LIMIT_COMMITS) -> Context:
    """Look at the worktree now; at most `limit_files` names a list, the newest `limit_commits` commits.

    A renamed file counts under both its names. An untracked folder is told by the files in it when they are few, else by its
    name and a `/`. `branch` is "" when HEAD is detached. Raises GitError.
    """
    context = Context(branch="", head="", unmerged_commits=[], changed_files=[], uncommitted_files=[])
    if place.worktree is None:
        return context
    guess = _Guess(place, limit_files, limit_commits)
    try:
        context["branch"], context["head"], files = _status(place.worktree)
    finally:
        guess.settle()
    context["uncommitted_files"] = files[:limit_files]
    base = guess.base(context["branch"], context["head"]) if context["head"] else None
    if base is not None and base != context["head"]:
        commits, changed = history(place, base, context["head"], limit_files, limit_commits)
        context["unmerged_commits"] = [Commit(sha=c[0], message=c[1], files=list(c[2])) for c in commits]
        context["changed_files"] = list(changed)
    return context


class _Guess:
    """The history that will be asked for most likely, looked up while git looks through the worktree, which takes longer."""

    def __init__(self, place: Place, *limits: int) -> None:
        self._place, self._worktree, self._limits = place, place.worktree or "", limits
        self._head_file = os.path.join(place.git_dir, "HEAD")
        self._found: tuple[str, str, str | None] | None = None
        self._thread = threading.Thread(target=self._look, name="history", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Waits for the end of it."""
        self._thread.join()

    def base(self, branch: str, head: str) -> str | None:
        """What this branch and commit are measured against; looked up now if others were guessed. Raises GitError."""
        if self._found is not None and self._found[:2] == (branch, head):
            return self._found[2]
        return _base(self._worktree, branch, _refs(self._worktree, branch))

    def _look(self) -> None:
        with contextlib.suppress(GitError, OSError, ValueError):  # what is wrong is told by whoever asks again
            with open(self._head_file, encoding="utf-8", errors="surrogateescape") as file:
                said = file.read(4096).strip()
            branch = said.removeprefix("ref: refs/heads/") if said.startswith("ref: ") else ""
            refs = _refs(self._worktree, branch)
            head = refs.get(f"refs/heads/{branch}", "") if branch else said
            base = _base(self._worktree, branch, refs)
            if head and base not in (None, head):
                history(self._place, base or "", head, *self._limits)
            self._found = branch, head, base


def base_of(place: Place, branch: str) -> str | None:
    """The commit that the work on a branch is measured against, None without one. Raises GitError."""
    worktree = place.worktree or place.common_dir
    return _base(worktree, branch, _refs(worktree, branch))


def branches(place: Place) -> set[str]:
    """The names of all local branches. Raises GitError."""
    listed = run(["for-each-ref", "--format=%(refname)", "refs/heads"], place.worktree or place.common_dir).out
    return {line.removeprefix("refs/heads/") for line in listed.decode("utf-8", "surrogateescape").splitlines()}


def mark_time(place: Place) -> int:
    """When a git hook of ours last left its mark here, in ns since the epoch; 0 for never."""
    try:
        return os.stat(place.mark).st_mtime_ns
    except OSError:
        return 0


def _status(worktree: str) -> tuple[str, str, list[str]]:
    """(branch, head, uncommitted files)."""
    branch = head = ""
    files = []
    for item in _fields(run(STATUS, worktree).out):
        kind, _, rest = item.partition(" ")
        if kind == "#":
            key, _, value = rest.partition(" ")
            if key == "branch.oid" and value != "(initial)":
                head = value
            elif key == "branch.head" and value != "(detached)":
                branch = value
        elif kind in _BEFORE_PATH:
            files.append(rest.split(" ", _BEFORE_PATH[kind])[-1])
    return branch, head, _open_folders(worktree, visible(files))


def _open_folders(worktree: str, files: list[str]) -> list[str]:
    """`files` with the files of small untracked folders in place of the folders.

    `git status` could tell them itself, but would then look through every untracked folder, however large, each time.
    """
    folders = [name for name in files if name.endswith("/")][:_MOST_FOLDERS]
    small = [name for name in folders if _is_small(os.path.join(worktree, name))]
    if not small:
        return files
    literal = {"GIT_LITERAL_PATHSPECS": "1"}
    told = run(["ls-files", "-z", "--others", "--exclude-standard", "--", *small], worktree, check=False, env=literal)
    inside = {folder: [name for name in _fields(told.out) if name.startswith(folder)] for folder in small}
    return [file for name in files for file in inside.get(name) or [name]]


def _is_small(folder: str) -> bool:
    """Whether a folder holds few files and folders, ignored ones included; looks at no more than that."""
    waiting, seen = [folder], 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    seen += 1
                    if seen > _FEW:
                        return False
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except OSError:
            return False
    return True


_FEW = 200
_MOST_FOLDERS = 50
_BEFORE_PATH = {"?": 0, "1": 7, "u": 9}  # fields between the kind of a porcelain v2 line and its path


def _refs(worktree: str, branch: str) -> dict[str, str]:
    """The commits of this branch and of those that work may be measured against, by full name. Raises GitError."""
    patterns = [f"refs/remotes/*/{name}" for name in ("HEAD", *USUAL[:2])] + [f"refs/heads/{name}" for name in USUAL]
    if branch:
        patterns.append(f"refs/heads/{branch}")
    refs = {}
    for line in run([*REFS, *patterns], worktree).out.decode("utf-8", "surrogateescape").splitlines():
        name, oid, symref = line.split("\0")
        if not symref.endswith("/" + BRANCH):
            refs[name] = oid
    return refs


def _base(worktree: str, branch: str, refs: Mapping[str, str]) -> str | None:
    """The commit that work is measured against: the remote's default branch, else a usual local one, else None."""
    remotes = sorted({name.split("/")[2] for name in refs if name.startswith("refs/remotes/")})
    if remotes:
        remote = "origin" if "origin" in remotes else remotes[0]
        found = (refs.get(f"refs/remotes/{remote}/{name}") for name in ("HEAD", *USUAL[:2]))
        return next((oid for oid in found if oid), None)
    local = (refs.get(f"refs/heads/{name}") for name in USUAL if name != branch)
    return next((oid for oid in local if oid), None) or _configured_base(worktree, branch)


def _configured_base(worktree: str, branch: str) -> str | None:
    """`init.defaultBranch`, when such a branch exists and is not the one we are on."""
    name = _text(run(["config", "--get", "init.defaultBranch"], worktree, check=False).out)
    if not name or name in (branch, BRANCH):
        return None
    return _text(run(["rev-parse", "--verify", "--quiet", f"refs/heads/{name}"], worktree, check=False).out) or None


class History(NamedTuple):
    """Commits, each with its id, subject and files, the newest first, and the files they change together."""

    commits: tuple[tuple[str, str, tuple[str, ...]], ...]
    changed: tuple[str, ...]


class _NothingInCommonError(Exception):
    """Two histories without a merge base, as far as is known now: the commits of one of them."""


def history(place: Place, base: str, head: str, limit_files: int, limit_commits: int) -> History:
    """What leads from `base` to `head`; remembered, since commits never change. Raises GitError."""
    try:
        return _history(place.worktree or "", base, head, limit_files, limit_commits, _horizon(place.common_dir))
    except _NothingInCommonError as found:
        return History(found.args[0], ())


@functools.lru_cache(maxsize=64)
def _history(
    worktree: str, base: str, head: str, limit_files: int, limit_commits: int, horizon: tuple[Stamp, ...]
) -> History:
    log = run([*LOG, f"--max-count={limit_commits}", f"{base}..{head}", "--"], worktree)
    changed = run([*DIFF, f"{base}...{head}", "--"], worktree, check=False)
    commits = tuple((sha, subject, tuple(visible(files)[:limit_files])) for sha, subject, files in _commits(log.out))
    if changed.code == _NO_MERGE_BASE:
        raise _NothingInCommonError(commits)
    if changed.code:
        raise GitError(f"git diff was stopped ({changed.code})", "try again")
    return History(commits, tuple(visible(_fields(changed.out))[:limit_files]))


_NO_MERGE_BASE = 128


def _horizon(common_dir: str) -> tuple[Stamp, ...]:
    """What says, beside the commits, how a history looks: where a shallow one ends, and what stands for other commits."""
    return tuple(stamp(os.stat, os.path.join(common_dir, path)) for path in HORIZON)


HORIZON = ("shallow", "refs/replace", "info/grafts", "packed-refs")


def _commits(out: bytes) -> list[tuple[str, str, list[str]]]:
    """Parse `\\1sha\\2subject`, then, after one stray line end, the commit's files, all ended by NUL."""
    found: list[tuple[str, str, list[str]]] = []
    for item in _fields(out):
        if item.startswith("\x01") and "\x02" in item:
            sha, _, subject = item[1:].partition("\x02")
            found.append((sha, subject, []))
        elif found and item:
            files = found[-1][2]
            files.append(item if files else item.removeprefix("\n"))
    return found


def _fields(out: bytes) -> list[str]:
    return out.decode("utf-8", "surrogateescape").split("\0")[:-1]


def _text(out: bytes) -> str:
    return out.decode("utf-8", "surrogateescape").strip()


def visible(files: Iterable[str]) -> list[str]:
    """Without thrum's own files."""
    return [path for path in files if path != ".thrum" and not path.startswith(".thrum/")]
