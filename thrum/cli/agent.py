"""Agents: who there is, who I am, who works on what."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from thrum.cli import candidates
from thrum.cli import render_agents as show
from thrum.cli.arguments import Display, Module, Name, Role, calling, given
from thrum.cli.plan import Next, Plan
from thrum.cli.render import confirmation
from thrum.errors import UsageError

Json = dict[str, Any]
File = Annotated[str, typer.Argument(metavar="FILE", help="A file or folder, as seen from here or from the top.")]


def quickstart(
    context: typer.Context,
    role: Role = "",
    module: Module = "",
    name: Name = "",
    display: Display = "",
    intent: Annotated[str, typer.Option("--intent", metavar="TEXT", help="What you are about to do.")] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Take the name although another worktree or clone uses it.")
    ] = False,
) -> Plan:
    """A second time it starts a new session for the same agent.

    git thrum quickstart --role reviewer --module auth --name furiosa --intent "review the token refresh"
    """
    params = _registration(context, role, module, name, display)
    return Plan("quickstart", {**params, **given(intent=intent, force=force)}, confirmation(show.started))


def register(
    context: typer.Context,
    role: Role = "",
    module: Module = "",
    name: Name = "",
    display: Display = "",
    force: Annotated[
        bool, typer.Option("--force", help="Take the name although another worktree or clone uses it.")
    ] = False,
    re_register: Annotated[
        bool, typer.Option("--re-register", help="State the registration anew though nothing changed.")
    ] = False,
) -> Plan:
    """No session is started; `git thrum quickstart` does both."""
    params = _registration(context, role, module, name, display)
    return Plan(
        "agent.register", {**params, **given(force=force, re_register=re_register)}, confirmation(show.registered)
    )


def _registration(context: typer.Context, role: str, module: str, name: str, display: str) -> Json:
    """What was said on the line, else in the environment."""
    said = {"role": role, "module": module, "name": name, "display": display}
    environ = calling(context).environ
    found = {word: value or environ.get(f"THRUM_{word.upper()}", "") for word, value in said.items()}
    missing = [f"--{word}" for word in ("role", "module") if not found[word]]
    if missing:
        raise UsageError(f"missing {' and '.join(missing)}", f"{context.command_path} --role reviewer --module auth")
    return given(**found)


def whoami() -> Plan:
    """Flags decide, then THRUM_NAME, THRUM_ROLE and THRUM_MODULE, then the identity file of this worktree."""
    return Plan("agent.whoami", {}, show.whoami)


def list_(
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="Only agents with this role.")] = "",
    module: Annotated[str, typer.Option("--module", metavar="MODULE", help="Only agents that work on this.")] = "",
    context: Annotated[
        bool, typer.Option("--context", help="Show what they work on: branches, commits, files.")
    ] = False,
) -> Plan:
    """Online is who has an open session and was seen within half an hour."""
    params = given(role=role, module=module)
    if not context:
        return Plan("agent.list", params, show.some_agents if params else show.agents)
    if not params:
        return Plan("agent.listContext", {}, show.contexts)
    return Plan("agent.list", params, show.contexts, then=_ask_for_contexts, merge=_only_theirs)


def _ask_for_contexts(result: Any) -> Next | None:
    return None if "contexts" in result else ("agent.listContext", {})


def _only_theirs(result: Any, answer: Any) -> Json:
    those = {agent["agent_id"] for agent in result["agents"]}
    return {"contexts": [context for context in answer["contexts"] if context["agent_id"] in those]}


def context(
    context: typer.Context,
    who: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="An agent or a role; all if not given.", autocompletion=candidates.recipients
        ),
    ] = "",
    agent: Annotated[
        str, typer.Option("--agent", metavar="AGENT", help="The same.", autocompletion=candidates.recipients)
    ] = "",
    branch: Annotated[str, typer.Option("--branch", metavar="BRANCH", help="Only on this branch.")] = "",
    file: Annotated[str, typer.Option("--file", metavar="FILE", help="Only who touches this file or folder.")] = "",
) -> Plan:
    """Read from git when you ask."""
    path = calling(context).path(file) if file else ""
    params = given(agent_id=who or agent, branch=branch, file=path)
    return Plan("agent.listContext", params, show.context if who or agent else show.contexts)


def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The agent's name.", autocompletion=candidates.agents)],
) -> Plan:
    """What it said stays, and so does its mail: whoever registers by that name again finds it.

    git thrum agent delete furiosa
    """
    return Plan("agent.delete", {"name": name}, confirmation(show.retired))


def who_has(context: typer.Context, file: File) -> Plan:
    """git thrum who-has src/auth.py"""
    return Plan("agent.whoHas", {"file": calling(context).path(file)}, show.holders)


def ping(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="An agent, or a role that only one has.", autocompletion=candidates.agents
        ),
    ],
) -> Plan:
    """git thrum ping @reviewer"""
    return Plan("agent.ping", {"agent": agent}, show.pinged)
