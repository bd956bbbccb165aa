"""The MCP server: mail as tools for a model."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

from thrum import door
from thrum.cli.answer import claim_for
from thrum.cli.console import directory
from thrum.cli.options import Options
from thrum.cli.plan import Local
from thrum.errors import Refused, UsageError

_START = "claude mcp add thrum -- git-thrum mcp serve"


def serve(
    agent_id: Annotated[
        str, typer.Option("--agent-id", metavar="NAME", help="Be this agent of the worktree.", show_default=False)
    ] = "",
) -> Local:
    """Your coding agent starts it: claude mcp add thrum -- git-thrum mcp serve

    It acts as the agent of the worktree it was started in, with or without a daemon, until its input ends.
    """
    return Local(lambda options: _serve(options, agent_id.removeprefix("@")))


def _serve(options: Options, agent_id: str) -> int:
    if agent_id and options.name not in ("", agent_id):
        raise UsageError(f"--agent-id says {agent_id}, --name says {options.name}", "drop one of the two")
    claim = claim_for(options._replace(name=agent_id or options.name), directory(options), os.environ)
    try:
        from thrum.mcp import server
    except ImportError as error:
        raise Refused(
            f"the MCP server needs the package mcp 2.3 or later, which is not installed ({error})",
            "pip install 'git-thrum[mcp]', or pipx inject git-thrum mcp, or uv tool install 'git-thrum[mcp]'",
        ) from error
    from thrum.daemon import offspring

    _check_pipes()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread that reads standard input keeps an exception from ending us
    try:
        return server.run(claim)
    finally:
        offspring.end()


def _check_pipes() -> None:
    """A server without somebody to serve is a mistake; one at a terminal may be, and says so."""
    if sys.stdin is None or sys.stdout is None:
        raise Refused("an MCP server talks over standard input and output, and one of them is closed", _START)
    if sys.stdin.isatty():
        door.write("", f"this is an MCP server and waits for a client; Ctrl-C ends it\n  try: {_START}\n")
