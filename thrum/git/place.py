"""Where things are: from any path to the worktree, the git directories and thrum's own files.

Pure file reading on the hot start-up path: no process, no pygit2, nothing imported but `os`. What git's environment
says (`GIT_DIR`, `GIT_WORK_TREE`) is ignored on purpose: inside a hook it belongs to somebody else's command.
"""

from __future__ import annotations

import os

from thrum.errors import GitError, NotARepository, Refused

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Iterator

SOCKET_LIMIT = 100  # bytes; the kernel ends at 107 and we leave room for a suffix
FILE_LIMIT = 1 << 20


class Place:
    """One worktree (or bare repository) and the paths that follow from it; absolute, resolved, never changed."""

    __slots__ = ("common_dir", "git_dir", "main_worktree", "worktree")

    def __init__(self, worktree: str | None, git_dir: str, common_dir: str, main_worktree: str | None) -> None:
        self.worktree = worktree
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.main_worktree = main_worktree

    def _values(self) -> tuple[str | None, str, str, str | None]:
        return (self.worktree, self.git_dir, self.common_dir, self.main_worktree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return "Place(worktree={!r}, git_dir={!r}, common_dir={!r}, main_worktree={!r})".format(*self._values())

    @property
    def is_linked(self) -> bool:
        """Whether this is a linked worktree (`git worktree add`), not the main one."""
        return self.git_dir != self.common_dir

    @property
    def is_bare(self) -> bool:
        """Whether nobody works here: a bare repository."""
        return self.worktree is None

    @property
    def name(self) -> str:
        """The worktree's base name, for people."""
        return os.path.basename(self.worktree or self.common_dir).removesuffix(".git") or "repository"

    @property
    def thrum_dir(self) -> str:
        """`<main worktree>/.thrum`; `<common dir>/thrum` where no main worktree is known."""
        if self.main_worktree is None:
            return os.path.join(self.common_dir, "thrum")
        return os.path.join(self.main_worktree, ".thrum")

    @property
    def var_dir(self) -> str:
        """Where this clone's database, socket and notes lie."""
        return os.path.join(self.thrum_dir, "var")

    @property
    def identities_dir(self) -> str | None:
        """This worktree's identity files; None in a bare repository."""
        return None if self.worktree is None else os.path.join(self.worktree, ".thrum", "identities")

    @property
    def sync_dir(self) -> str:
        """`<common dir>/thrum-sync`: what must survive a `git clean -fdx`."""
        return os.path.join(self.common_dir, "thrum-sync")

    @property
    def log_root(self) -> str:
        """The worktree of the a-sync branch, where the logs are."""
        return os.path.join(self.common_dir, "thrum-sync", "a-sync")

    @property
    def mark(self) -> str:
        """The file our git hooks touch."""
        return os.path.join(self.git_dir, "thrum-mark")

    @property
    def database(self) -> str:
        """The SQLite read model."""
        return os.path.join(self.var_dir, "thrum.db")

    @property
    def socket(self) -> str:
        """The daemon's socket; in the user's runtime directory when the path is too long for the kernel."""
        path = os.path.join(self.var_dir, "thrum.sock")
        return path if len(os.fsencode(path)) <= SOCKET_LIMIT else _short_socket(self.common_dir)

    @property
    def is_initialised(self) -> bool:
        """Whether `git thrum init` was here: the clone has its origin."""
        return os.path.isfile(os.path.join(self.sync_dir, "origin"))


def find(start: str) -> Place:
    """The place that holds `start` (a directory or a file). Raises NotARepository, GitError for a bad redirect."""
    path = os.path.realpath(start.replace("\0", ""))
    if not os.path.exists(path):
        raise NotARepository(f"{start} does not exist", "cd into a git repository, or name one with --repo PATH")
    for folder in _upwards(path):
        place = _place_at(folder)
        if place is not None:
            _refuse_log_root(place, path)
            _check_redirect(place)
            return place
    raise NotARepository(f"no git repository holds {path}", "cd into a git repository, or name one with --repo PATH")


def worktrees(place: Place) -> list[Place]:
    """The main worktree and every linked one that exists, by path, without thrum's own."""
    found = []
    if place.main_worktree is not None and os.path.isdir(place.main_worktree):
        found.append(Place(place.main_worktree, place.common_dir, place.common_dir, place.main_worktree))
    elif not place.is_linked and not place.is_bare:
        found.append(place)
    return found + sorted(_linked(place), key=lambda linked: linked.worktree or "")


def top_of(path: str, worktrees: list[Place]) -> str | None:
    """The top folder of that one of some worktrees which holds `path`: one may lie within another."""
    tops = [found.worktree for found in worktrees if found.worktree]
    return max((top for top in tops if path == top or path.startswith(top + os.sep)), key=len, default=None)


def locked_away(place: Place) -> set[str]:
    """The names of linked worktrees that `git worktree lock` keeps though their folder is not there now."""
    return {
        os.path.basename(os.path.dirname(pointer))
        for metadata, pointer in _pointers(place)
        if _top(metadata, pointer) is None and os.path.lexists(os.path.join(metadata, "locked"))
    }


def worktree_of(metadata: str) -> str | None:
    """The top folder that the linked worktree's git directory `metadata` belongs to; None when it is gone."""
    pointer = _read_line(os.path.join(metadata, "gitdir"))
    return None if pointer is None else _top(metadata, pointer)


def common_dir_at(folder: str) -> str | None:
    """The common directory of the repository whose top (or git directory) is exactly `folder`, or None."""
    try:
        place = _place_at(os.path.realpath(folder))
    except (NotARepository, OSError):
        return None
    return None if place is None else place.common_dir


def _upwards(path: str) -> list[str]:
    folders = [path]
    while (parent := os.path.dirname(path)) != path:
        folders.append(parent)
        path = parent
    return folders


def _place_at(folder: str) -> Place | None:
    """The place whose top folder or git directory is `folder` itself."""
    dot_git = os.path.join(folder, ".git")
    if os.path.isdir(dot_git):
        git_dir = os.path.realpath(dot_git)
        if _is_git_dir(git_dir):
            return _main_place(git_dir, folder)
    elif os.path.isfile(dot_git):
        return _pointed_place(folder, dot_git)
    if os.path.isfile(os.path.join(folder, "commondir")):
        return _metadata_place(folder)
    return _main_place(folder, None) if _is_git_dir(folder) else None


def _pointed_place(folder: str, dot_git: str) -> Place:
    """A `.git` file: a linked worktree, a submodule, or a git directory kept elsewhere."""
    git_dir = _pointed_at(dot_git)
    if git_dir is None or not os.path.isdir(git_dir):
        raise NotARepository(
            f"{dot_git} points to a git directory that is not there",
            "if the repository was moved, run `git worktree repair` in its main worktree",
        )
    common_dir = _common_dir(git_dir)
    if common_dir == git_dir:
        return _main_place(git_dir, folder)
    return Place(folder, git_dir, common_dir, _main_worktree(common_dir))


def _metadata_place(folder: str) -> Place | None:
    """Inside `.git/worktrees/<id>`: the worktree it belongs to."""
    worktree = worktree_of(folder)
    common_dir = _common_dir(folder)
    if worktree is None or not _is_git_dir(common_dir):
        return None
    return Place(worktree, folder, common_dir, _main_worktree(common_dir))


def _main_place(git_dir: str, folder: str | None) -> Place:
    """The place of a git directory that is its own common directory, seen from `folder` or from inside itself."""
    main = _main_worktree(git_dir)
    if main is None and folder is not None and not _settings(git_dir)[0]:
        return Place(folder, git_dir, git_dir, None)
    return Place(main, git_dir, git_dir, main)


def _main_worktree(common_dir: str) -> str | None:
    """A function of the common directory alone, so that every worktree agrees on it."""
    bare, elsewhere = _settings(common_dir)
    if elsewhere:
        return os.path.realpath(os.path.join(common_dir, elsewhere))
    if bare or os.path.basename(common_dir) != ".git":
        return None
    return os.path.dirname(common_dir)


def _settings(common_dir: str) -> tuple[bool, str]:
    """`core.bare` and `core.worktree` of the main worktree, read without starting git."""
    found = {"bare": "false", "worktree": ""}
    for name in ("config", "config.worktree"):
        section = ""
        for line in _read(os.path.join(common_dir, name)).split("\n"):
            text = line.strip("\0\r\t ")
            if text.startswith("["):
                section, _, text = text[1:].partition("]")
                text = text.strip()
            key, _, value = text.partition("=")
            if section.strip().lower() == "core" and key.strip().lower() in found:
                found[key.strip().lower()] = value.strip().strip('"') if "=" in text else "true"
    return found["bare"].lower() in ("true", "yes", "on", "1"), found["worktree"]


def _is_git_dir(folder: str) -> bool:
    """git's own test: a HEAD, objects and refs."""
    return (
        os.path.lexists(os.path.join(folder, "HEAD"))
        and os.path.isdir(os.path.join(folder, "objects"))
        and os.path.isdir(os.path.join(folder, "refs"))
    )


def _common_dir(git_dir: str) -> str:
    pointer = _read_line(os.path.join(git_dir, "commondir"))
    return git_dir if pointer is None else os.path.realpath(os.path.join(git_dir, pointer))


def _pointed_at(dot_git: str) -> str | None:
    """The git directory a `.git` file names, resolved; None when it names none."""
    named = _named_by(dot_git)
    return None if named is None else os.path.realpath(named)


def _leads_to(dot_git: str, metadata: str) -> bool:
    """Whether a `.git` file names the git directory `metadata`, which is there."""
    named = _named_by(dot_git)
    try:
        return named is not None and os.path.samefile(named, metadata)
    except (OSError, ValueError):
        return False


def _named_by(dot_git: str) -> str | None:
    line = _read_line(dot_git)
    if line is None or not line.startswith("gitdir:"):
        return None
    return os.path.join(os.path.dirname(dot_git), line[len("gitdir:") :].strip())


def _linked(place: Place) -> list[Place]:
    found = []
    for metadata, pointer in _pointers(place):
        worktree = _top(metadata, pointer)
        if worktree is not None and worktree != place.log_root:
            found.append(Place(worktree, os.path.realpath(metadata), place.common_dir, place.main_worktree))
    return found


def _pointers(place: Place) -> Iterator[tuple[str, str]]:
    """The git directories of linked worktrees, thrum's own left out, and what each says of where its worktree is."""
    folder, own = os.path.join(place.common_dir, "worktrees"), os.path.join(place.log_root, ".git")
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        metadata = os.path.join(folder, name)
        pointer = _read_line(os.path.join(metadata, "gitdir"))
        if pointer is not None and pointer != own:
            yield metadata, pointer


def _top(metadata: str, pointer: str) -> str | None:
    """The top folder that `pointer` leads to, if that leads back to `metadata`."""
    top = os.path.realpath(os.path.dirname(os.path.join(metadata, pointer)))
    return top if _leads_to(os.path.join(top, ".git"), metadata) else None


def _refuse_log_root(place: Place, path: str) -> None:
    if path == place.log_root or path.startswith(place.log_root + os.sep):
        raise Refused(
            f"{path} belongs to thrum: its logs are kept there",
            "work in your own worktree, for instance: cd " + (place.main_worktree or place.common_dir),
        )


def _check_redirect(place: Place) -> None:
    """A `.thrum/redirect` may name this repository's own `.thrum` and nothing else."""
    if place.worktree is None:
        return
    path = os.path.join(place.worktree, ".thrum", "redirect")
    if not os.path.lexists(path):
        return
    content = _read(path)
    target = content[:-1] if content.endswith("\n") else content
    if not os.path.isabs(target) or "\n" in target or "\0" in target or not _is_same(target, place.thrum_dir):
        raise GitError(
            f"{path} does not name this repository's own {place.thrum_dir}",
            "run `git thrum setup` to write it anew, or delete it: thrum works without",
        )


def _is_same(target: str, thrum_dir: str) -> bool:
    try:
        return os.path.realpath(target) == thrum_dir
    except (OSError, ValueError):
        return False


def _read_line(path: str) -> str | None:
    """A small file's one line, without its line end; None when the file is not there, empty or damaged."""
    line = _read(path).rstrip("\r\n")
    return line if line and "\0" not in line else None


def _read(path: str) -> str:
    """A regular file's text; "" when it is not there, unreadable, or no regular file (a FIFO would block us)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        found = os.fstat(descriptor)
        is_regular = found.st_mode & 0o170000 == 0o100000
        return os.fsdecode(os.read(descriptor, min(found.st_size, FILE_LIMIT))) if is_regular else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _short_socket(common_dir: str) -> str:
    from hashlib import blake2b  # rare: only for very long paths

    from thrum.config import runtime_dir, short_runtime_dir

    name = blake2b(os.fsencode(common_dir), digest_size=8).hexdigest() + ".sock"
    path = os.path.join(runtime_dir(), name)
    return path if len(os.fsencode(path)) <= SOCKET_LIMIT else os.path.join(short_runtime_dir(), name)
