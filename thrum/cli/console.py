"""What commands that run in this very process share: where they are, and the one way they say something."""

from __future__ import annotations

import os
from typing import Any

from thrum import door
from thrum.cli.answer import document, style_for
from thrum.cli.options import Options
from thrum.cli.plan import Style
from thrum.config import Settings
from thrum.errors import NotARepository
from thrum.git import place as places
from thrum.git.place import Place


def directory(options: Options) -> str:
    """Where the command works: `--repo`, else the current directory. Raises NotARepository when that is gone."""
    try:
        return os.path.join(os.getcwd(), options.repo)
    except OSError:
        raise NotARepository("the current directory is gone", "cd into a git repository") from None


def here(options: Options) -> Place:
    """The place the command works on. Raises NotARepository, GitError, Refused."""
    return places.find(directory(options))


def settings_of(place: Place) -> Settings:
    """The settings of a place. Raises UsageError, GitError."""
    return Settings.load(place.common_dir, place.worktree, os.environ)


def style(options: Options) -> Style:
    """How to write."""
    return style_for(options, os.environ, *door.terminal())


def tell(options: Options, result: Any, text: str, *, code: int = 0, asked: bool = False) -> int:
    """Writes `result` as JSON or `text` for people; the exit code. What nobody asked for is silent under `--quiet`."""
    if options.json:
        said = document(result)
    else:
        said = "" if options.quiet and not asked and code == 0 else text
    return code if door.write(said) else 1
