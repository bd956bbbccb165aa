"""What the checks look at, and what they answer."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable
from typing import Any, NamedTuple

from thrum.config import Settings
from thrum.core.purging import NOTHING, Purged
from thrum.daemon import lifecycle
from thrum.engine import database_path
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place
from thrum.store import origin, purges

_SHOWN = 5


class Finding(NamedTuple):
    """What one look showed. With `is_well`, the rest is no fault, but worth knowing."""

    is_well: bool
    detail: str
    fix: str = ""
    """A command that helps, to be run as it is; "" when no command can."""
    heals: str = ""
    """What `--fix` does about it, as a sentence; "" when it leaves it alone."""
    heal: Callable[[], list[str]] | None = None
    """Does it; a sentence for each thing done."""


Look = Callable[["Patient"], Finding]
UNSEEN = "not looked at"
FIX = "git thrum doctor --fix"


def well(detail: str, fix: str = "") -> Finding:
    """Nothing is wrong."""
    return Finding(True, detail, fix)


def bad(detail: str, fix: str = "") -> Finding:
    """Something is, and only the person can do something about it."""
    return Finding(False, detail, fix)


def curable(detail: str, heals: str, heal: Callable[[], list[str]], fix: str = FIX) -> Finding:
    """Something is, and `--fix` heals it."""
    return Finding(False, detail, fix, heals, heal)


class Patient:
    """One clone. Nothing is opened before a check asks for it; whatever is wrong with it is raised there."""

    def __init__(self, place: Place, settings: Settings) -> None:
        self.place, self.settings = place, settings

    @functools.cached_property
    def objects(self) -> Objects:
        """The repository's objects. Raises GitError."""
        return open_objects(self.place.common_dir)

    @property
    def origin(self) -> str:
        """This clone's id. Raises NotInitialised."""
        return origin.load(self.place.sync_dir)

    @property
    def database(self) -> str:
        """The read model's file."""
        return database_path(self.place)

    @property
    def purged(self) -> Purged:
        """What nobody lacks any more."""
        return purges.read(self.database, NOTHING) or NOTHING

    @functools.cached_property
    def daemon(self) -> dict[str, Any]:
        """What the daemon says of itself, asked once: one that is silent costs seconds."""
        return lifecycle.status(self.place)

    def close(self) -> None:
        """Lets go of what was opened; the next look opens it anew."""
        opened = self.__dict__.pop("objects", None)
        if opened is not None:
            opened.close()


def some(items: list[str]) -> str:
    """The first few of them, and how many more there are."""
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more


def aside(path: str) -> str:
    """A free name beside `path` for what is in the way there."""
    number, name = 1, f"{path}.aside"
    while os.path.lexists(name):
        number += 1
        name = f"{path}.aside{number}"
    return name


def moved_away(path: str) -> str:
    """The command that moves what is at `path` out of the way."""
    return f"mv -- {shlex.quote(path)} {shlex.quote(aside(path))}"
