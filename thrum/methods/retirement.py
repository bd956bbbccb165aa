"""When agents go: one that is deleted, and those that were left behind by worktrees that are gone."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock, events, ids
from thrum.core.codec import Event
from thrum.errors import BadParams, Forbidden, NotFound
from thrum.methods import presence
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]
_DAY = 86400 * clock.SECOND


@method("agent.delete")
def delete(ctx: Context, name: Annotated[str, "the agent's name"]) -> Json:
    """Delete an agent of this clone: it cannot be written to any more, its sessions end, its identity file goes.

    What it said stays, and so does mail that waits for it: whoever registers by that name again finds it. Gives `{agent_id,
    deleted, message}`. Nobody by that name: NotFound. An agent that works in another clone is deleted there (Forbidden), or
    taken over first, with `agent.register` and `force`. Users are not deleted.
    """
    name = name.removeprefix("@")
    if not ids.is_agent_name(name):
        raise BadParams(f"name {name[:80]!r} is no agent's name", "git thrum agent list")
    known = ctx.roster.agent(name)
    if known is None:
        raise NotFound(f"there is no agent {name}", "git thrum agent list")
    if not _lives_here(ctx, known):
        raise Forbidden(
            f"{name} works in another clone of this repository",
            f"delete it there, or take it over first: git thrum agent register --name {name} --force …",
        )
    _retire(ctx, name, "manual deletion")
    return {"agent_id": name, "deleted": True, "message": f"Agent {name} deleted successfully"}


@method("agent.cleanup")
def cleanup(
    ctx: Context,
    dry_run: Annotated[bool, "only say what would go; wins over force"] = False,
    force: Annotated[bool, "delete them"] = False,
    threshold: Annotated[int, "days without a sign of life; 0: however long"] = 30,
) -> Json:
    """List, and with `force` delete, agents that were left behind.

    Left behind is an agent of this clone that no worktree has an identity file of, and whose worktree is gone or which was
    not seen for longer than `threshold` days. Agents of other clones, agents whose worktree exists and knows them, users and
    the caller never are. A worktree that git was told to keep (`git worktree lock`) exists.

    Gives `{orphans, deleted, dry_run, message}`; an orphan is `{agent_id, role, module, worktree, branch, last_seen_at,
    worktree_missing, branch_missing, days_since_last_seen, message_count}`. With neither `dry_run` nor `force` nothing changes.
    """
    if threshold < 0:
        raise BadParams("threshold cannot be negative", "give a number of days")
    orphans = _orphans(ctx, threshold)
    deleted = [orphan["agent_id"] for orphan in orphans] if force and not dry_run else []
    for agent_id in deleted:
        _retire(ctx, agent_id, "left behind")
    if dry_run:
        message = f"Found {len(orphans)} orphaned agent(s)"
    elif force:
        message = f"Deleted {len(deleted)} orphaned agent(s)"
    else:
        message = "Use --force to delete all orphans without prompting" if orphans else "Found 0 orphaned agent(s)"
    return {"orphans": orphans, "deleted": deleted, "dry_run": dry_run, "message": message}


def _lives_here(ctx: Context, agent: Json) -> bool:
    """Whether an agent is this clone's to delete; v0.1.0 does not say where its agents live."""
    return agent["origin"] in ("", ctx.origin)


def _retire(ctx: Context, agent_id: str, reason: str) -> None:
    """Ends an agent's sessions in its own log, states in the caller's that it is gone, takes its identity files away.

    A caller who is nobody has no log; then the agent's says it.
    """
    instant, me = ctx.now(), ctx.me_or_nobody()
    by = me if me and ctx.roster.agent(me) else agent_id
    endings = [
        ctx.event(events.SESSION_END, instant, session_id=s["session_id"], agent_id=agent_id, reason="agent deleted")
        for s in ctx.roster.sessions(agent_id, active_only=True)
        if s["origin"] == ctx.origin
    ]
    version = ctx.roster.last_version(agent_id) + 1
    gone = ctx.event(events.AGENT_CLEANUP, instant, agent_id=agent_id, reason=reason, method="manual", version=version)
    _state(ctx, agent_id, endings if by != agent_id else [*endings, gone])
    _state(ctx, by, [gone] if by != agent_id else [])
    ctx.home.forget(agent_id)


def _state(ctx: Context, agent_id: str, stated: list[Event]) -> None:
    if stated:
        ctx.append(agent_id, stated)


def _orphans(ctx: Context, threshold: int) -> list[Json]:
    agents = [a for a in ctx.roster.agents() if a["kind"] == "agent" and a["origin"] == ctx.origin]
    known, kept = ctx.home.settled() | {ctx.me_or_nobody()}, ctx.home.worktrees()
    suspects = [(agent, _days_unseen(ctx, agent)) for agent in agents if agent["agent_id"] not in known]
    branches = ctx.home.branches() if suspects else set()
    return [
        _describe(ctx, agent, days, kept, branches)
        for agent, days in suspects
        if (agent["worktree"] and agent["worktree"] not in kept) or 0 < threshold < days
    ]


def _days_unseen(ctx: Context, agent: Json) -> int:
    now = ctx.now()
    return int((now - presence.last_sign(ctx, agent["agent_id"], agent["seen"], now)) // _DAY)


def _describe(ctx: Context, agent: Json, days: int, kept: dict[str, str], branches: set[str]) -> Json:
    agent_id = agent["agent_id"]
    stated = ctx.roster.stated_context(agent_id, ctx.origin) or {}
    branch = stated.get("branch") or ""
    return {
        "agent_id": agent_id,
        "role": agent["role"],
        "module": agent["module"],
        "worktree": agent["worktree"],
        "branch": branch,
        "last_seen_at": clock.text(agent["seen"]) if agent["seen"] else "",
        "worktree_missing": bool(agent["worktree"]) and agent["worktree"] not in kept,
        "branch_missing": bool(branch) and branch not in branches,
        "days_since_last_seen": days,
        "message_count": ctx.mail.sent(agent_id, 1, 1).total,
    }
