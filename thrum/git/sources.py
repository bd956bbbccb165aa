"""Which files git's configuration of a place comes from, so that what it says need not be asked while they stay as they are."""

from __future__ import annotations

import functools
import os
from typing import NamedTuple

from thrum.git.command import run
from thrum.git.place import Place

_KNOWN_CONDITIONS = ("gitdir:", "gitdir/i:", "onbranch:", "hasconfig:")


class Sources(NamedTuple):
    """`files`: absolute paths, those that are not there included; `values`: what they say last, by key as git writes it."""

    files: list[str]
    values: dict[str, str]


def find(place: Place) -> Sources | None:
    """Asks git; None when a file may count that we cannot name. Raises GitError."""
    cwd = place.worktree or place.common_dir
    listed = run(["config", "--list", "--show-origin", "--includes", "-z"], cwd, plain=True).out
    fields = listed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    files, values = dict.fromkeys(_usual(place)), {}
    for origin, entry in zip(fields[::2], fields[1::2], strict=False):
        if not origin.startswith("file:"):
            return None
        file = os.path.normpath(os.path.join(cwd, origin[len("file:") :]))
        key, _, values[key] = entry.partition("\n")
        files[file] = None
        if key == "include.path" or key.startswith("includeif."):
            included = _included(key, values[key], file)
            if included is None:
                return None
            files[included] = None
    return Sources(list(files), values)


def expand(path: str) -> str | None:
    """An absolute path as git's configuration writes it, with `~/` for the home; None for what only git understands."""
    if path.startswith("~/") and os.environ.get("HOME"):
        path = os.path.join(os.environ["HOME"], path[2:])
    return path if path.startswith("/") else None


@functools.cache
def system_folders() -> tuple[str, ...]:
    """Where the system's own configuration may lie. Raises GitError."""
    programs = run(["--exec-path"], os.path.sep, plain=True).out.decode("utf-8", "surrogateescape").strip()
    prefix = os.path.dirname(os.path.dirname(programs))
    return tuple(dict.fromkeys(("/etc", os.path.join(prefix, "etc"))))


def user_folder() -> str:
    """Where the user's configuration lies that is not `~/.gitconfig`; "" without a home."""
    home = os.environ.get("HOME", "")
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "git") if home else ""


def _usual(place: Place) -> list[str]:
    """Those that count as soon as somebody makes them."""
    own = [os.path.join(place.common_dir, "config"), os.path.join(place.git_dir, "config.worktree")]
    system = os.environ.get("GIT_CONFIG_SYSTEM")
    systems = [system] if system else [os.path.join(folder, "gitconfig") for folder in system_folders()]
    return own + systems + _users()


def _users() -> list[str]:
    named = os.environ.get("GIT_CONFIG_GLOBAL")
    if named is not None:
        return [named] if named else []
    home = os.environ.get("HOME")
    folder = user_folder()
    found = [os.path.join(home, ".gitconfig")] if home else []
    return [*found, os.path.join(folder, "config")] if folder else found


def _included(key: str, path: str, by: str) -> str | None:
    """The file that an entry of the file `by` includes, under whatever condition; None when that cannot be told."""
    condition = key[len("includeif.") : -len(".path")]
    if key != "include.path" and not condition.startswith(_KNOWN_CONDITIONS):
        return None
    if path.startswith(("~", "%", "/")):
        return expand(path)
    return os.path.join(os.path.dirname(by), path)
