"""What git's view of a worktree rests on, as far as files can tell: while none of them changes, git would say the same again.

git decides by the state of files, too: the index, the references, its configuration, the rules of what is ignored, every
tracked file, every folder in which a new file would be news. Their times, sizes and numbers are kept. What cannot be told in
this way, or costs more to check than to ask, is not kept: then git is asked.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator

from thrum.core import clock
from thrum.git import sources
from thrum.git.command import run
from thrum.git.context import HORIZON
from thrum.git.place import Place
from thrum.git.stamp import Look, Stamp, stamp

MOST = 4000
"""Files and folders looked at; with more, git itself is faster."""
USUAL = ("main", "master", "trunk")

_GITLINK = "160000"
RULES = (".gitignore", ".gitattributes")
_SHARED = ("refs/heads/", "refs/remotes/", "refs/tags/")
_LINE_LIMIT = 4096


class CannotTellError(Exception):
    """Files do not say whether git would answer the same."""


class Evidence:
    """The state of files at one time."""

    def __init__(self) -> None:
        self._links: dict[str, Stamp] = {}
        self._targets: dict[str, Stamp] = {}

    def see(self, *paths: str) -> None:
        """Takes in how these are now; of a link, what it leads to."""
        for path in paths:
            self._targets[path] = stamp(os.stat, path)

    def see_itself(self, path: str) -> None:
        """Takes in how this is now; of a link, the link itself. Raises CannotTellError when that makes too many."""
        self._links[path] = stamp(os.lstat, path)
        if len(self._links) > MOST:
            raise CannotTellError(f"more than {MOST} files")

    def __len__(self) -> int:
        return len(self._links) + len(self._targets)

    def holds(self) -> bool:
        """Whether all is still as it was."""
        return _are_same(os.stat, self._targets) and _are_same(os.lstat, self._links)

    def is_settled(self, since: int) -> bool:
        """Whether every change was long enough before `since` (ns) that one after it shows."""
        stamps = (*self._links.values(), *self._targets.values())
        return all(one is None or one[0] < since - clock.SETTLED for one in stamps)


def of_settings(place: Place) -> tuple[Evidence, sources.Sources]:
    """What git's configuration of a place rests on, and what it says. Raises CannotTellError, GitError."""
    found = sources.find(place)
    if found is None:
        raise CannotTellError("not every file of the configuration is known")
    seen = Evidence()
    seen.see(os.path.join(place.git_dir, "HEAD"), *found.files)  # a branch may decide what is included
    return seen, found


def of_worktree(place: Place) -> Evidence:
    """What `context.read` rests on. Raises CannotTellError, GitError."""
    if place.worktree is None or is_large(place):
        raise CannotTellError("no worktree, or a large one")
    seen, settings = of_rules(place)
    seen.see(os.path.join(place.git_dir, "index"), *references(place, settings))
    for path in (tracked := tracked_files(place.worktree)):
        seen.see_itself(os.path.join(place.worktree, path))
    see_folders(place.worktree, tracked, lambda path: seen.see_itself(os.path.join(place.worktree or "", path)))
    return seen


def of_rules(place: Place) -> tuple[Evidence, dict[str, str]]:
    """What decides how a worktree is looked at, but for the rules in it; and git's configuration.

    Raises CannotTellError, GitError.
    """
    seen, settings = of_settings(place)
    seen.see(*_rules(place, settings))
    return seen, settings.values


def system_attributes() -> list[str]:
    """Where the system's own attributes of files may lie. Raises GitError."""
    return [os.path.join(folder, "gitattributes") for folder in sources.system_folders()]


def is_large(place: Place) -> bool:
    """Whether git's index has more entries than are worth to be looked at one by one."""
    return _index_size(place) > MOST


def now() -> int:
    """The clock that the times of files are compared with, in ns."""
    return time.time_ns()


def see_folders(top: str, tracked: Iterable[str], see: Callable[[str], object]) -> None:
    """Calls `see` with every folder that is not ignored, before it is looked into, and with the rules in it.

    Paths are from `top`, as `tracked` is. Raises CannotTellError, GitError.
    """
    folders = folders_of(tracked)
    others = [path for folder in sorted(folders) for path in _look_into(see, top, folder) if path not in folders]
    for path in _not_ignored(top, others):
        _see_whole(see, top, path)


def tracked_files(top: str) -> list[str]:
    """The paths in git's index. Raises CannotTellError, GitError."""
    found = []
    for line in run(["ls-files", "-z", "--stage"], top).out.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        entry, _, path = line.partition("\t")
        if entry.startswith(_GITLINK):
            raise CannotTellError("a submodule")
        found.append(path)
    return found


def folders_of(paths: Iterable[str]) -> set[str]:
    """All folders on the way to `paths`, the top ("") included."""
    found = {""}
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _look_into(see: Callable[[str], object], top: str, folder: str) -> Iterator[str]:
    """The folders in one folder."""
    see(folder)
    if os.path.islink(os.path.join(top, folder)):
        raise CannotTellError("a folder behind a link")
    try:
        with os.scandir(os.path.join(top, folder)) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name in RULES:
                    see(path)
                elif entry.name == ".git" and folder:
                    raise CannotTellError("a repository in the worktree")
                elif path not in (".git", ".thrum") and entry.is_dir(follow_symlinks=False):
                    yield path
    except (FileNotFoundError, NotADirectoryError):
        return  # a tracked folder that somebody deleted
    except OSError as error:
        raise CannotTellError(str(error)) from None


def _see_whole(see: Callable[[str], object], top: str, folder: str) -> None:
    waiting = [folder]
    while waiting:
        waiting.extend(_look_into(see, top, waiting.pop()))


def _not_ignored(top: str, folders: list[str]) -> list[str]:
    if not folders:
        return []
    given = "\0".join(folders).encode("utf-8", "surrogateescape")
    told = run(["check-ignore", "-z", "--stdin"], top, input=given, check=False)
    if told.code not in (0, 1):
        raise CannotTellError(told.err)
    ignored = set(told.out.decode("utf-8", "surrogateescape").split("\0"))
    return [folder for folder in folders if folder not in ignored]


def _index_size(place: Place) -> int:
    """How many entries git's index has; 0 without one."""
    try:
        with open(os.path.join(place.git_dir, "index"), "rb") as file:
            head = file.read(12)
    except OSError:
        return 0
    return int(struct.unpack(">I", head[8:])[0]) if len(head) == 12 and head[:4] == b"DIRC" else 0


def _rules(place: Place, settings: sources.Sources) -> list[str]:
    """The files outside of the worktree that say what is ignored and how contents are compared."""
    info = os.path.join(place.common_dir, "info")
    found = [os.path.join(info, "exclude"), os.path.join(info, "attributes")]
    found.append(os.path.join(place.git_dir, "info", "sparse-checkout"))
    found += system_attributes()
    named = settings.values.get("core.excludesfile")
    if named is None:
        folder = sources.user_folder()
        return [*found, os.path.join(folder, "ignore")] if folder else found
    path = sources.expand(named)
    if path is None:
        raise CannotTellError(f"core.excludesFile is {named}")
    return [*found, path]


def references(place: Place, values: dict[str, str]) -> list[str]:
    """Where HEAD and the branches that work is measured against are kept, under every name they have.

    Raises CannotTellError.
    """
    if values.get("extensions.refstorage", "files") not in ("files", "reftable"):
        raise CannotTellError("references are kept in a way we do not know")
    common, remotes = place.common_dir, os.path.join(place.common_dir, "refs", "remotes")
    names = [f"refs/heads/{name}" for name in (*USUAL, values.get("init.defaultbranch", "main"))]
    names += [f"refs/remotes/{name}/{end}" for name in _names(remotes) for end in ("HEAD", *USUAL[:2])]
    found = [remotes, *(os.path.join(common, name) for name in HORIZON)]
    found += [os.path.join(folder, "reftable", "tables.list") for folder in (common, place.git_dir)]
    for path in (os.path.join(place.git_dir, "HEAD"), *(os.path.join(common, name) for name in names)):
        found.extend(_followed(common, path))
    return found


def _followed(common_dir: str, path: str) -> list[str]:
    """A reference's file and those of the references it is a name of."""
    found = [path]
    while len(found) < 6:
        target = symbolic(found[-1])
        if not target:
            return found
        if not target.startswith(_SHARED):
            raise CannotTellError(f"{target} may be another in each worktree")
        found.append(os.path.join(common_dir, target))
    raise CannotTellError(f"{path} leads from name to name")


def symbolic(path: str) -> str:
    """The name of a reference that the reference in the file `path` is another name of; "" for a commit, or nothing."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            said = file.read(_LINE_LIMIT)
    except (OSError, ValueError):
        return ""
    return said[len("ref:") :].strip() if said.startswith("ref:") else ""


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _are_same(look: Look, stamps: dict[str, Stamp]) -> bool:
    return all(stamp(look, path) == known for path, known in stamps.items())
