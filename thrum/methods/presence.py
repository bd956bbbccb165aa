"""How an agent appears to others: online or not, last seen, in which session. One description, used everywhere."""

from __future__ import annotations

from typing import Any

from thrum.core import clock, routing
from thrum.methods.context import Context

Json = dict[str, Any]


def last_sign(ctx: Context, agent_id: str, claimed: int, now: int) -> int:
    """When an agent was last seen: when it says, or when that came in here if it says so out of the future."""
    return claimed if claimed <= now else min(ctx.roster.heard(agent_id), now)


def describe(ctx: Context, agent: Json, session: Json | None) -> Json:
    """An agent as lists show it; `session` is its newest open one."""
    now = ctx.now()
    seen = last_sign(ctx, agent["agent_id"], max(agent["seen"], session["seen"] if session else 0), now)
    online = routing.is_online(session is not None, seen, now, ctx.online_window)
    described = {
        "agent_id": agent["agent_id"],
        "kind": agent["kind"],
        "role": agent["role"],
        "module": agent["module"],
        "display": agent["display"],
        "registered_at": agent["registered_at"],
        "last_seen_at": clock.text(seen) if seen else None,
        "status": "online" if online else "offline",
        "worktree": agent["worktree"] or None,
        "here": agent["origin"] == ctx.origin,
        "session_id": session["session_id"] if session else None,
        "intent": (session or {}).get("intent") or None,
        "current_task": (session or {}).get("current_task") or None,
    }
    return {name: value for name, value in described.items() if value is not None}


def everyone(ctx: Context) -> list[Json]:
    """Every agent, described, newest registration first."""
    sessions: dict[str, Json] = {}
    for session in reversed(ctx.roster.sessions(active_only=True)):
        sessions[session["agent_id"]] = session
    return [describe(ctx, agent, sessions.get(agent["agent_id"])) for agent in ctx.roster.agents()]


def contexts(ctx: Context) -> list[Json]:
    """What every agent works on, freshly read: v0.1.0's work contexts, with intent and task of the open session."""
    ctx.refresh_contexts()
    described: list[Json] = []
    retired = ctx.roster.retired()
    stated = [context for context in ctx.roster.contexts() if context["agent_id"] not in retired]
    sessions = _sessions(ctx, stated)
    paths = ctx.home.worktrees() if stated else {}
    for context in stated:
        if context["origin"] == ctx.origin and paths.get(context.get("worktree") or ""):
            context["worktree_path"] = paths[context["worktree"]]
        session = sessions.get(context.get("session_id") or "")
        if context["origin"] or not (session and session["ended_at"]):
            described.append(_merge(context, session))
    told = {context.get("session_id") for context in described}
    untold = [s for s in sessions.values() if s["status"] == "active" and s["session_id"] not in told and _has_words(s)]
    return described + [_merge({"agent_id": s["agent_id"], "session_id": s["session_id"]}, s) for s in untold]


def _sessions(ctx: Context, stated: list[Json]) -> dict[str, Json]:
    """By id, the open sessions and those that contexts were stated in."""
    found = {session["session_id"]: session for session in ctx.roster.sessions(active_only=True)}
    for session_id in {context.get("session_id") or "" for context in stated} - found.keys():
        session = ctx.roster.session(session_id)
        if session is not None:
            found[session_id] = session
    return found


def _has_words(session: Json) -> bool:
    return bool(session.get("intent") or session.get("current_task"))


def _merge(context: Json, session: Json | None) -> Json:
    merged = {name: value for name, value in context.items() if name != "origin"}
    for name in ("intent", "intent_updated_at", "current_task", "task_updated_at"):
        if session and session.get(name):
            merged[name] = session[name]
    merged.setdefault("session_id", "")
    return {
        name: value for name, value in merged.items() if value not in (None, []) and (value or name == "session_id")
    }
