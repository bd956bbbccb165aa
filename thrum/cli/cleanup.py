"""`agent cleanup`: what was left behind is shown, and goes when somebody says so."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any

import typer

from thrum import client, door
from thrum.cli.answer import claim_for
from thrum.cli.arguments import calling
from thrum.cli.console import directory, here, settings_of, style, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local, NeedsInputError, Plan
from thrum.cli.render_agents import left_behind
from thrum.cli.text import count
from thrum.errors import Refused, UsageError

Json = dict[str, Any]
METHOD = "agent.cleanup"


def cleanup(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say who would go.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Delete them without asking.")] = False,
    threshold: Annotated[
        int, typer.Option("--threshold", metavar="DAYS", min=0, help="Days without a sign of life; 0: however long.")
    ] = 30,
) -> Plan | Local:
    """Agents of other machines, and of worktrees that exist, are never touched. It asks before it deletes."""
    if dry_run and force:
        raise UsageError("--dry-run and --force contradict each other", "drop one of them")
    params = {"threshold": threshold}
    if dry_run or force:
        return Plan(METHOD, {**params, "dry_run": dry_run, "force": force}, left_behind)
    if calling(context).read is None:
        raise NeedsInputError("it may have to ask")
    return Local(lambda options: _ask_first(options, params))


def _ask_first(options: Options, params: Json) -> int:
    place = here(options)
    claim = claim_for(options, directory(options), os.environ)
    door = client.InProcess(place, settings_of(place), claim, time.monotonic())
    try:
        found = door.call(METHOD, {**params, "dry_run": True})
        if found["orphans"] and _is_agreed(options, found):
            found = door.call(METHOD, {**params, "force": True})
        return tell(options, found, left_behind(found, style(options)))
    finally:
        door.close()


def _is_agreed(options: Options, found: Json) -> bool:
    """Asks the person at the terminal. Raises Refused when there is none."""
    number = len(found["orphans"])
    if options.json or not (sys.stdin is not None and sys.stdin.isatty() and os.isatty(2)):
        raise Refused(
            f"{count(number, 'agent')} would be deleted, and there is nobody to ask",
            "git thrum agent cleanup --dry-run shows them, --force deletes them",
        )
    question = f"delete {'it' if number == 1 else f'these {number}'}? [y/N] "
    door.write("", left_behind(found, style(options)) + question)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
