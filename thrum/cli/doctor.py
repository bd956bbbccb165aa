"""Looking closely, and building anew."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from thrum import __version__
from thrum.cli.checks import Check
from thrum.cli.console import here, settings_of, style, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local, Style
from thrum.cli.text import color, count, lasting, line, pad
from thrum.errors import NotInitialised
from thrum.git.place import Place


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Heal what can be healed without losing anything.")] = False,
) -> Local:
    """Repository, branch, logs, read model, hooks, daemon, identities, remote: one line each."""
    return Local(lambda options: _doctor(options, fix))


def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only compare it with the logs; 1 if it differs.")] = False,
) -> Local:
    """It is only a cache: the logs are what counts."""
    return Local(lambda options: _check(options) if check else _rebuild(options))


def version() -> Local:
    """git thrum version"""
    return Local(_version)


def _doctor(options: Options, fix: bool) -> int:
    from thrum.cli import checks

    place = _ready(options)
    found = checks.examine(place, settings_of(place), fix)
    healthy = all(check.ok for check in found)
    result = {"healthy": healthy, "checks": [check._asdict() for check in found]}
    return tell(options, result, shown(found, style(options)), code=0 if healthy else 1, asked=True)


def shown(found: Sequence[Check], style: Style) -> str:
    """A line a check, and below it what would help."""
    wide = max(len(check.name) for check in found)
    lines = []
    for check in found:
        mark = color("ok", "green", style) if check.ok else color("!!", "red", style)
        lines.append(f"{mark}  {pad(check.name, wide)}  {line(check.detail)}")
        if check.fix and (not check.ok or style.verbose):
            lines.append(f"{' ' * (wide + 6)}try: {line(check.fix)}")
    wrong = sum(not check.ok for check in found)
    return "\n".join([*lines, f"{count(wrong, 'thing')} to look at" if wrong else "all is well"]) + "\n"


def _check(options: Options) -> int:
    from thrum.engine import database_path
    from thrum.store import origin, proof

    place = _ready(options)
    differences = proof.check(place.log_root, database_path(place), origin.load(place.sync_dir))
    text = "\n".join(line(sentence) for sentence in differences) or "the read model says what the logs say"
    hint = "\n  try: git thrum rebuild" if differences else ""
    result = {"equal": not differences, "differences": differences}
    return tell(options, result, f"{text}{hint}\n", code=1 if differences else 0)


def _rebuild(options: Options) -> int:
    from thrum.engine import Engine

    place = _ready(options)
    began = time.monotonic()
    engine = Engine(place, settings_of(place))
    try:
        engine.projection.rebuild()
    finally:
        engine.close()
    seconds = time.monotonic() - began
    return tell(options, {"rebuilt": True, "seconds": round(seconds, 3)}, f"built anew in {lasting(seconds)}\n")


def _version(options: Options) -> int:
    from thrum.git import command

    git = ".".join(map(str, command.version()))
    python = ".".join(map(str, sys.version_info[:3]))
    more = f" (Python {python}, git {git})" if options.verbose else ""
    return tell(
        options, {"version": __version__, "python": python, "git": git}, f"git thrum {__version__}{more}\n", asked=True
    )


def _ready(options: Options) -> Place:
    place = here(options)
    if not place.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    return place
