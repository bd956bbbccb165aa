"""Subscriptions: what a session wants to hear of as it arrives."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock
from thrum.core.subscription import Subscription
from thrum.errors import BadParams, NotFound
from thrum.methods import parameters
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]


@method("subscribe")
def subscribe(
    ctx: Context,
    scope: parameters.Scope = None,
    mention_role: Annotated[str, "what names this agent or role, and what names the caller or its role"] = "",
    all: Annotated[bool, "all of the caller's mail; the other two then mean nothing"] = False,
    since: Annotated[str, "first tell what came after this: the id of a message, or an `event_id` once told"] = "",
    push: Annotated[bool, "tell it on this connection; always so on a WebSocket"] = False,
) -> Json:
    """Subscribe the caller's session to mail as it arrives.

    At least one of `scope`, `mention_role` and `all` is needed. Only what the caller's inbox would show is told. It ends with
    the session. The same subscription again is the same one. Gives `{subscription_id, session_id, created_at}`. Without an
    open session: NoSession; a `since` that nothing has: NotFound.
    """
    session, word = ctx.session(), mention_role.removeprefix("@")
    if not (all or scope or word):
        raise BadParams("at least one of scope, mention_role and all is required", "git thrum subscribe --all")
    if since and ctx.arrivals.cursor_at(since) is None:
        raise NotFound(f"nothing here has the id {since}", "subscribe without since, then look with message.list")
    pair = (scope.type, scope.value) if scope and not all else None
    wanted = Subscription(0, session["session_id"], clock.text(ctx.now()), pair, "" if all else word, all)
    made = ctx.subscriptions.add(wanted, ctx.is_session_over)
    return {"subscription_id": made.id, "session_id": made.session_id, "created_at": made.created_at}


@method("unsubscribe")
def unsubscribe(ctx: Context, subscription_id: Annotated[int, "the number that `subscribe` gave"]) -> Json:
    """End a subscription of the caller's session.

    Gives `{removed}`: false when the session has none of that number. Without an open session: NoSession.
    """
    if subscription_id < 1:
        raise BadParams("subscription_id is required", "git thrum subscriptions")
    return {"removed": ctx.subscriptions.remove(subscription_id, ctx.session()["session_id"])}


@method("subscriptions.list")
def list_(ctx: Context) -> Json:
    """List the subscriptions of the caller's session, newest first.

    Gives `{subscriptions}`, each `{id, session_id, created_at, scope_type?, scope_value?, mention_role?, all?}`. Without an
    open session: NoSession.
    """
    known = ctx.subscriptions.of(ctx.session()["session_id"])
    return {"subscriptions": [one.as_json() for one in reversed(known)]}
