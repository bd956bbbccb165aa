"""Sessions: when an agent works, what for, and on what."""

from __future__ import annotations

from typing import Annotated

import typer

from thrum.cli import render_agents as show
from thrum.cli.arguments import SessionId, given, pairs
from thrum.cli.candidates import agents
from thrum.cli.plan import Plan
from thrum.cli.render import confirmation

_Pairs = list[str] | None


def start() -> Plan:
    """`git thrum quickstart` registers you and starts one."""
    return Plan("session.start", {}, confirmation(show.session_started))


def end(
    session_id: SessionId = "",
    reason: Annotated[str, typer.Option("--reason", metavar="WORD", help="Why, in a word.")] = "normal",
) -> Plan:
    """You are offline then, and your mail waits for you."""
    return Plan("session.end", given(session_id=session_id, reason=reason), confirmation(show.session_ended))


def list_(
    active: Annotated[bool, typer.Option("--active", help="Only open ones.")] = False,
    agent: Annotated[
        str, typer.Option("--agent", metavar="AGENT", help="Only this agent's.", autocompletion=agents)
    ] = "",
) -> Plan:
    """An ended session says how it ended."""
    return Plan("session.list", given(active_only=active, agent_id=agent), show.sessions)


def heartbeat(
    session_id: SessionId = "",
    add_scope: Annotated[_Pairs, typer.Option("--add-scope", metavar="TYPE:VALUE", help="Repeatable.")] = None,
    remove_scope: Annotated[_Pairs, typer.Option("--remove-scope", metavar="TYPE:VALUE", help="Repeatable.")] = None,
    add_ref: Annotated[_Pairs, typer.Option("--add-ref", metavar="TYPE:VALUE", help="Repeatable.")] = None,
    remove_ref: Annotated[_Pairs, typer.Option("--remove-ref", metavar="TYPE:VALUE", help="Repeatable.")] = None,
) -> Plan:
    """The git hooks do this by themselves with every commit."""
    params = given(
        session_id=session_id,
        add_scopes=pairs("--add-scope", add_scope),
        remove_scopes=pairs("--remove-scope", remove_scope),
        add_refs=pairs("--add-ref", add_ref),
        remove_refs=pairs("--remove-ref", remove_ref),
    )
    return Plan("session.heartbeat", params, confirmation(show.alive))


def set_intent(
    text: Annotated[str, typer.Argument(metavar="TEXT", help='What you are about to do; "" clears it.')],
    session_id: SessionId = "",
) -> Plan:
    """git thrum session set-intent "make the token refresh safe to repeat" """
    return Plan("session.setIntent", {"intent": text, **given(session_id=session_id)}, confirmation(show.intent_set))


def set_task(
    task: Annotated[str, typer.Argument(metavar="TASK", help='What you do now; "" clears it.')],
    session_id: SessionId = "",
) -> Plan:
    """git thrum session set-task issue-42"""
    return Plan("session.setTask", {"current_task": task, **given(session_id=session_id)}, confirmation(show.task_set))
