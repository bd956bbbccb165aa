"""Forgetting on purpose: everything older than a day of one's choice goes, everywhere, and does not come back."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock, events
from thrum.errors import BadParams
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]


@method("purge")
def purge(
    ctx: Context,
    before: Annotated[str, "a date, a time (RFC 3339) or an age such as 90d: what was said before goes"],
    confirm: Annotated[bool, "really do it; otherwise only say what would go"] = False,
) -> Json:
    """Take everything older than `before` out of the logs, in every clone, for good.

    Messages go with their edits and read marks, ended sessions, and what agents worked on long ago; who is registered stays. A
    purge takes what this clone knows now: mail that was written earlier and has not arrived yet is delivered when it comes.
    Other clones follow with their next sync, a clone that still has the old lines cannot bring them back, and the branch's
    history begins anew, so that new clones do not fetch them. git keeps the old commits of a clone for a while (its reflog).

    Gives `{before, messages, unread, events, bytes, purged}`: how many messages, how many of them the caller has not read, how
    many lines in all and their size. Without `confirm` nothing changes. Nobody is the caller: only looking is allowed.
    """
    now = ctx.now()
    horizon = clock.moment(before, now)
    if horizon is None:
        raise BadParams(f"before {before[:80]!r} is no time", "give a date (2026-01-31), a time, or an age such as 90d")
    if horizon > now:
        raise BadParams("before is in the future", "give a time that has passed")
    me = ctx.me() if confirm else ctx.me_or_nobody()
    found = ctx.past.survey(horizon)
    unread = set(ctx.mail.unread_ids(me)).intersection(found.messages) if me else ()
    if confirm and found.events:
        roots = ctx.past.roots()
        ctx.append(me, [_event(ctx, now, me, horizon, lines, roots) for lines in found.lines])
    told = {"messages": len(found.messages), "unread": len(unread), "events": found.events, "bytes": found.bytes}
    return {"before": clock.text(horizon), **told, "purged": confirm and found.events > 0}


def _event(ctx: Context, now: int, me: str, horizon: int, lines: dict[str, str], roots: list[str]) -> Json:
    said = ctx.event(events.PURGE, now, agent_id=me, before=clock.text(horizon), roots=roots)
    return {**said, "lines": lines}
