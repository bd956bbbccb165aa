"""Sessions: work periods of an agent, with an intent, a task, scopes and refs."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock, events, ids
from thrum.errors import BadParams, Forbidden, NoSession, NotFound
from thrum.methods import parameters
from thrum.methods.context import Context
from thrum.methods.registry import Pair, method

Json = dict[str, Any]
_LONGEST_WORDS = 2000
_SEEN_EVERY = 60 * clock.SECOND


@method("session.start")
def start(
    ctx: Context,
    agent_id: Annotated[str, "whose; must be the caller itself, if it says who it is"] = "",
    scopes: parameters.Scopes = None,
    refs: parameters.Refs = None,
) -> Json:
    """Start a session; what the agent left open in this clone is ended first, as `crash_recovered`.

    Gives `{session_id, agent_id, started_at}`. Somebody who is not registered: NotFound; for somebody else: Forbidden.
    """
    me = _whose(ctx, agent_id)
    instant = ctx.now()
    stale = [s for s in ctx.roster.sessions(me, active_only=True) if s["origin"] == ctx.origin]
    ended = [_ending(ctx, instant, session, me, "crash_recovered") for session in stale]
    started = ctx.event(
        events.SESSION_START,
        instant,
        agent_id=me,
        worktree=ctx.home.worktree,
        scopes=_listed(scopes),
        refs=_listed(refs),
    )
    started["session_id"] = session_id = ids.bound_id("ses", me, started["event_id"])
    ctx.append(me, [*ended, started])
    return {"session_id": session_id, "agent_id": me, "started_at": clock.text(instant)}


@method("session.end")
def end(
    ctx: Context,
    session_id: parameters.SessionId = "",
    reason: Annotated[str, "why, at most 200 characters"] = "normal",
) -> Json:
    """End a session, the caller's open one if none is named.

    Its subscriptions end with it. One that has ended already stays as it is. Gives `{session_id, ended_at, duration_ms}`.
    """
    session = _session(ctx, session_id)
    instant = ctx.now()
    if session["ended_at"] is None:
        ctx.append(session["agent_id"], [_ending(ctx, instant, session, session["agent_id"], reason[:200] or "normal")])
        ended = instant
    else:
        ended = clock.instant(session["ended_at"]) or instant
    lasted = max(ended - session["at"], 0) // 1_000_000
    return {"session_id": session["session_id"], "ended_at": clock.text(ended), "duration_ms": lasted}


@method("session.list")
def list_(
    ctx: Context,
    agent_id: Annotated[str, "only this agent's"] = "",
    active_only: Annotated[bool, "only those that have not ended"] = False,
) -> Json:
    """List sessions, newest first.

    Gives `{sessions}`, each `{session_id, agent_id, started_at, ended_at?, end_reason?, last_seen_at, intent?, current_task?,
    status}`; `status` is active or ended.
    """
    word = agent_id.removeprefix("@")
    found = ctx.roster.sessions(ctx.agent_id(word) if word else "", active_only=active_only)
    names = (
        "session_id",
        "agent_id",
        "started_at",
        "ended_at",
        "end_reason",
        "last_seen_at",
        "intent",
        "current_task",
        "status",
    )
    return {"sessions": [{name: s[name] for name in names if s.get(name)} for s in found]}


@method("session.heartbeat", reads_git=True)
def heartbeat(
    ctx: Context,
    session_id: parameters.SessionId = "",
    add_scopes: Annotated[list[Pair] | None, "scopes the session has from now on"] = None,
    remove_scopes: Annotated[list[Pair] | None, "scopes it has no longer; before what is added"] = None,
    add_refs: Annotated[list[Pair] | None, "refs the session has from now on"] = None,
    remove_refs: Annotated[list[Pair] | None, "refs it has no longer; before what is added"] = None,
) -> Json:
    """Say that the session is alive; add and remove its scopes and refs; read its git context anew.

    Gives `{session_id, last_seen_at, scopes, refs}`. One that has ended: NoSession.
    """
    session = _open(ctx, session_id)
    instant = ctx.now()
    changes = {
        "add_scopes": _listed(add_scopes),
        "remove_scopes": _listed(remove_scopes),
        "add_refs": _listed(add_refs),
        "remove_refs": _listed(remove_refs),
    }
    if any(changes.values()) or abs(instant - session["seen"]) > _SEEN_EVERY:
        _update(ctx, instant, session, **changes)
    else:
        instant = session["seen"]
    ctx.refresh_contexts()
    pairs = {kind: ctx.roster.pairs(session["session_id"], kind) for kind in ("scopes", "refs")}
    return {"session_id": session["session_id"], "last_seen_at": clock.text(instant), **pairs}


@method("session.setIntent")
def set_intent(
    ctx: Context,
    intent: Annotated[str, "at most 2000 characters"],
    session_id: parameters.SessionId = "",
) -> Json:
    """Say what the session is for; an empty text clears it.

    Gives `{session_id, intent, intent_updated_at}`. One that has ended: NoSession.
    """
    session, instant = _open(ctx, session_id), ctx.now()
    _update(ctx, instant, session, intent=_words("intent", intent))
    return {"session_id": session["session_id"], "intent": intent, "intent_updated_at": clock.text(instant)}


@method("session.setTask")
def set_task(
    ctx: Context,
    current_task: Annotated[str, "at most 2000 characters"],
    session_id: parameters.SessionId = "",
) -> Json:
    """Say what is being worked on right now; an empty text clears it.

    Gives `{session_id, current_task, task_updated_at}`. One that has ended: NoSession.
    """
    session, instant = _open(ctx, session_id), ctx.now()
    _update(ctx, instant, session, current_task=_words("current_task", current_task))
    return {"session_id": session["session_id"], "current_task": current_task, "task_updated_at": clock.text(instant)}


def _whose(ctx: Context, agent_id: str) -> str:
    me = ctx.me_or_nobody()
    named = agent_id.removeprefix("@") or me
    if not named:
        return ctx.me()
    if ctx.roster.agent(named) is None:
        raise NotFound(f"{named} is not registered", "git thrum quickstart --role ROLE --module MODULE")
    if me and named != me:
        raise Forbidden(f"{me} cannot act for {named}", f"run it in {named}'s worktree")
    return named


def _session(ctx: Context, session_id: str) -> Json:
    if not session_id:
        return _open(ctx, "")
    session = ctx.roster.session(session_id)
    if session is None:
        raise NotFound(f"there is no session {session_id}", "git thrum session list")
    _whose(ctx, session["agent_id"])
    return session


def _open(ctx: Context, session_id: str) -> Json:
    if session_id:
        session = _session(ctx, session_id)
        if session["ended_at"]:
            raise NoSession(f"session {session_id} has already ended", "git thrum session start")
        return session
    return ctx.session()


def _ending(ctx: Context, instant: int, session: Json, agent_id: str, reason: str) -> Json:
    fields = {"session_id": session["session_id"], "agent_id": agent_id, "reason": reason}
    return ctx.event(events.SESSION_END, instant, **fields)


def _update(ctx: Context, instant: int, session: Json, **changes: Any) -> None:
    who = {"session_id": session["session_id"], "agent_id": session["agent_id"]}
    event = ctx.event(events.SESSION_UPDATE, instant, **who, version=ctx.roster.last_update(session["session_id"]) + 1)
    event.update({name: value for name, value in changes.items() if value is not None and value != []})
    ctx.append(session["agent_id"], [event])


def _words(field: str, text: str) -> str:
    if len(text) > _LONGEST_WORDS:
        raise BadParams(f"{field} has {len(text)} characters, {_LONGEST_WORDS} are allowed")
    return text


def _listed(pairs: list[Pair] | None) -> list[Json]:
    return [pair.as_json() for pair in dict.fromkeys(pairs or ())]
