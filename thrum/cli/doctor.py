"""Looking closely, and building anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer

from thrum.cli.checks import Check, examine
from thrum.cli.checks.patient import UNSEEN
from thrum.cli.console import here, settings_of, style, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local, Style
from thrum.cli.text import color, count, lasting, line, pad
from thrum.config import Settings
from thrum.errors import NotInitialised, ThrumError
from thrum.git.place import Place


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Heal what can be healed without losing anything.")] = False,
) -> Local:
    """One line a check: repository, branch, logs, read model, hooks, daemon, port, identities, remote and more. Below what
    is wrong stands what --fix does about it, and the command that helps. Without --fix nothing is changed.
    """
    return Local(lambda options: _doctor(options, fix))


def rebuild(
    check: Annotated[bool, typer.Option("--check", help="Only compare it with the logs; 1 if it differs.")] = False,
) -> Local:
    """It is only a cache: the logs are what counts."""
    return Local(lambda options: _check(options) if check else _rebuild(options))


def _doctor(options: Options, fix: bool) -> int:
    try:
        place = here(options)
    except ThrumError as error:
        found = [Check("repository", False, f"{error}; {error.hint}" if error.hint else str(error))]
    else:
        found = examine(place, _settings(place), fix)
    healthy = all(check.ok for check in found)
    result = {"healthy": healthy, "checks": [check.as_json() for check in found]}
    return tell(options, result, shown(found, style(options)), code=0 if healthy else 1, asked=True)


def _settings(place: Place) -> Settings:
    """The settings; where they make no sense, which is told of by a check of its own, the defaults."""
    try:
        return settings_of(place)
    except ThrumError:
        return Settings()


def shown(found: Sequence[Check], style: Style) -> str:
    """A line a check; below it what was healed, what `--fix` would do, and what would help."""
    wide = max(len(check.name) for check in found)
    indent = " " * (wide + 6)
    lines = []
    for check in found:
        mark = _mark(check, style)
        lines.append(f"{mark}  {pad(check.name, wide)}  {line(check.detail)}")
        lines += [f"{indent}{color('healed', 'green', style)}: {line(sentence)}" for sentence in check.healed]
        if check.heals:
            lines.append(f"{indent}--fix {line(check.heals)}")
        if check.fix and (not check.ok or style.verbose):
            lines.append(f"{indent}try: {line(check.fix)}")
    wrong = sum(not check.ok for check in found)
    return "\n".join([*lines, f"{count(wrong, 'thing')} to look at" if wrong else "all is well"]) + "\n"


def _mark(check: Check, style: Style) -> str:
    if check.ok and check.detail.startswith(UNSEEN):
        return color("--", "dim", style)
    return color("ok", "green", style) if check.ok else color("!!", "red", style)


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


def _ready(options: Options) -> Place:
    place = here(options)
    if not place.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    return place
