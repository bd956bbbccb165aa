"""The git hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from thrum.cli.console import here, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local
from thrum.cli.text import fields, line
from thrum.git import hooks
from thrum.git.hooks import HookState

_HOW = {
    "config": "installed, in git's configuration",
    "stub": "installed",
    "chained": "installed, in front of the hook that was there",
    "line": "installed",
    "missing": "not installed",
    "foreign": "not ours",
}


def install(
    shared: Annotated[
        bool, typer.Option("--shared", help="Also where others get them: in the project's own hook files.")
    ] = False,
) -> Local:
    """They leave a mark, start no process and print nothing; a hook that was there goes on working."""
    return Local(lambda options: _told(options, hooks.install(here(options), shared=shared)))


def uninstall() -> Local:
    """A stub that somebody changed is left where it is."""
    return Local(lambda options: _told(options, [_gone(state) for state in hooks.uninstall(here(options))]))


def status() -> Local:
    """git thrum hooks status"""
    return Local(lambda options: _told(options, hooks.status(here(options)), asked=True))


def _gone(state: HookState) -> HookState:
    """Who takes hooks away needs no advice on how to put them back."""
    return state._replace(note="", fix="") if state.how == "missing" else state


def _told(options: Options, states: Sequence[HookState], asked: bool = False) -> int:
    return tell(options, {"hooks": [state._asdict() for state in states]}, shown(states, options.verbose), asked=asked)


def shown(states: Sequence[HookState], verbose: bool = False) -> str:
    """A line a hook."""
    rows = []
    for state in states:
        note = f": {line(state.note)}" if state.note else ""
        rows.append((state.event, _HOW[state.how] + note + (f" ({line(state.path)})" if verbose else "")))
    fixes = dict.fromkeys(state.fix for state in states if state.fix)
    return "".join([fields(rows), "\n", *(f"  try: {line(fix)}\n" for fix in fixes)])
