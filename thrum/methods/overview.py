"""The one-command ways in and around: quickstart, status, overview."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core.selection import Filter
from thrum.errors import ThrumError
from thrum.methods import agent, parameters, presence, session
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]


@method("quickstart")
def quickstart(
    ctx: Context,
    role: parameters.Role,
    module: parameters.Module,
    name: parameters.AgentName = "",
    display: parameters.Display = "",
    intent: Annotated[str, "what the session is for"] = "",
    force: Annotated[bool, "the agent has moved here from the worktree or clone that has its name"] = False,
) -> Json:
    """Register an agent in this worktree and start its session, with an intent if one is given.

    Gives `{register, session, intent?, worktree}`: what `agent.register`, `session.start` and `session.setIntent` give.
    """
    registered = agent.register(ctx, role, module, name, display, force)
    started = session.start(ctx, registered["agent_id"]) if _speaks(ctx, registered["agent_id"]) else {}
    result: Json = {"register": registered, "session": started, "worktree": ctx.home.worktree}
    if intent and started:
        result["intent"] = session.set_intent(ctx, intent, started["session_id"])
    return result


@method("status", reads_git=True)
def status(ctx: Context) -> Json:
    """Show who you are, what you work on, your mail and the sync.

    Gives `{agent, work_context, inbox: {total, unread}, sync, version, repo_id}`. When nobody can be told to be you, `agent` is
    null, and `why` and `hint` say what to do.
    """
    result: Json = {"sync": ctx.sync.status(), "version": ctx.version, "repo_id": ctx.home.repository_id}
    try:
        me = agent.whoami(ctx)
    except ThrumError as refusal:
        return {**result, "agent": None, "why": str(refusal), "hint": refusal.hint}
    agent_id = me["agent_id"]
    found = [context for context in presence.contexts(ctx) if context["agent_id"] == agent_id]
    inbox = {"total": ctx.mail.page(agent_id, Filter(), 1, 1).total, "unread": ctx.mail.unread_count(agent_id)}
    return {**result, "agent": me, "work_context": found[0] if found else None, "inbox": inbox}


@method("overview", reads_git=True)
def overview(ctx: Context) -> Json:
    """Show everything at a glance: you, your team and its work, your mail, the sync.

    Gives `{agent, work_context, inbox, sync, version, repo_id, team}`: what `status` gives, and the other agents as in
    `agent.list`, each with its `context`.
    """
    result = status(ctx)
    me = (result.get("agent") or {}).get("agent_id")
    by_agent: dict[str, Json] = {}
    for context in presence.contexts(ctx):
        by_agent.setdefault(context["agent_id"], context)
    team = [{**described, "context": by_agent.get(described["agent_id"])} for described in presence.everyone(ctx)]
    return {**result, "team": [member for member in team if member["agent_id"] != me]}


def _speaks(ctx: Context, agent_id: str) -> bool:
    """Whether the caller now is that agent: without a worktree only its word says so."""
    return ctx.me_or_nobody() in ("", agent_id)
