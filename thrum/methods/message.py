"""Messages: send, reply, list, read, wait."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from thrum.core import events, ids, routing
from thrum.core.codec import Event
from thrum.core.selection import Filter
from thrum.errors import BadParams, NotFound, UnknownRecipient
from thrum.methods import paging
from thrum.methods.context import Context
from thrum.methods.registry import Pair, method

Json = dict[str, Any]
LARGEST_BODY = 1024 * 1024
FORMATS = ("markdown", "plain", "json")
PRIORITIES = ("low", "normal", "high", "critical")
_READ_AT_ONCE = 500


@method("message.send")
def send(
    ctx: Context,
    content: str,
    to: list[str] | None = None,
    mentions: list[str] | None = None,
    scopes: list[Pair] | None = None,
    refs: list[Pair] | None = None,
    thread_id: str = "",
    format: str = "markdown",
    structured: dict[str, Any] | None = None,
    priority: str = "normal",
    request_id: str = "",
) -> Json:
    """Send a message: to agents, to everyone of a role, or to everyone.

    Durable on this machine when it returns. The same `request_id` twice is one message.
    """
    me = ctx.me()
    _check_body(content, format, priority, structured)
    wanted = [word for word in [*(to or []), *(mentions or [])] if word not in ("", "@")]
    if thread_id:
        _check_thread(ctx, thread_id)
    recipients = _recipients(ctx, me, wanted, thread_id)
    named = [Pair("mention", word.removeprefix("@")) for word in wanted]
    event = _creation(ctx, me, content, format, structured, priority, [*(refs or []), *named], scopes, request_id)
    event.update({"thread_id": thread_id} if thread_id else {})
    return _post(ctx, me, event, recipients)


@method("message.reply")
def reply(
    ctx: Context,
    message_id: str,
    content: str,
    scopes: list[Pair] | None = None,
    refs: list[Pair] | None = None,
    format: str = "markdown",
    structured: dict[str, Any] | None = None,
    priority: str = "normal",
    request_id: str = "",
) -> Json:
    """Answer a message: in its thread, to its author and its recipients."""
    me = ctx.me()
    _check_body(content, format, priority, structured)
    original = ctx.mail.get(ctx.message_id(message_id)) or {}
    thread_id = original.get("thread_id") or "thr_" + original["message_id"].removeprefix("msg_")
    linked = [Pair("reply_to", original["message_id"])]
    if original["agent_id"] != me:
        linked.append(Pair("mention", original["agent_id"].removeprefix("@")))
    event = _creation(ctx, me, content, format, structured, priority, [*(refs or []), *linked], scopes, request_id)
    event["thread_id"] = thread_id
    before: list[Event] = []
    if ctx.mail.thread(thread_id) is None:
        before.append(_thread(ctx, me, thread_id, original))
    unread = ctx.mail.unmarked(me, [original["message_id"]])
    if unread:
        before.append(ctx.event(events.MESSAGE_READ, ctx.now(), agent_id=me, message_ids=unread))
    return _post(ctx, me, event, _reply_recipients(ctx, me, original), before)


@method("message.get")
def get(ctx: Context, message_id: str) -> Json:
    """Show one message with all it has; a unique beginning of its id is enough."""
    return {"message": ctx.mail.get(ctx.message_id(message_id))}


@method("message.list")
def list_(
    ctx: Context,
    scope: Pair | None = None,
    ref: Pair | None = None,
    thread_id: str = "",
    author_id: str = "",
    mention_role: str = "",
    mentions: bool = False,
    priority: str = "",
    unread: bool = False,
    unread_for_agent: str = "",
    exclude_self: bool = False,
    all: bool = False,
    page_size: int = 10,
    page: int = 1,
    sort_by: str = "created_at",
    sort_order: str = "desc",
) -> Json:
    """List the caller's mail, newest first; `all` lists everybody's.

    Mail is what is addressed to the agent, its role or everyone, and what is said in threads it takes part in. Nothing is
    marked read by looking.
    """
    me = ctx.me_or_nobody()
    if unread_for_agent and unread_for_agent != me:
        raise BadParams("unread_for_agent must be the caller itself")
    if (unread or mentions or unread_for_agent) and not me:
        ctx.me()
    if sort_by not in ("created_at", "updated_at") or sort_order not in ("asc", "desc"):
        raise BadParams("sort_by is created_at or updated_at, sort_order asc or desc")
    size, number = paging.bounds(page_size, page)
    wanted = Filter(
        scope=_tuple(scope),
        ref=_tuple(ref),
        thread_id=thread_id or None,
        author=author_id.removeprefix("@") or None,
        priority=priority or None,
        mention=_mention_words(ctx, me, mentions, mention_role),
        unread=unread or bool(unread_for_agent),
        everything=all or not me,
        with_own=not exclude_self and not unread and not mentions,
    )
    by_change = sort_by == "updated_at"
    found = ctx.mail.page(me, wanted, size, number, ascending=sort_order == "asc", by_change=by_change)
    return {
        "messages": found.messages,
        "unread": ctx.mail.unread_count(me) if me else 0,
        **paging.described(found.total, size, number),
    }


@method("message.markRead")
def mark_read(ctx: Context, message_ids: list[str]) -> Json:
    """Mark messages as read by the caller; unknown ids and the caller's own are passed over."""
    if not message_ids:
        raise BadParams("message_ids is required and must not be empty")
    me = ctx.me()
    unmarked = ctx.mail.unmarked(me, message_ids)
    marked = [
        ctx.event(events.MESSAGE_READ, ctx.now(), agent_id=me, message_ids=unmarked[start : start + _READ_AT_ONCE])
        for start in range(0, len(unmarked), _READ_AT_ONCE)
    ]
    if marked:
        ctx.append(me, marked)
    others = {m: [who for who in ctx.mail.readers(m) if who != me] for m in dict.fromkeys(message_ids)}
    also = {message_id: readers for message_id, readers in others.items() if readers}
    return {"marked_count": len(unmarked), **({"also_read_by": also} if also else {})}


@method("message.sent")
def sent(ctx: Context, page_size: int = 10, page: int = 1) -> Json:
    """List what the caller sent: who has read it, and whether the remote has it.

    `state` is `remote` once the remote was seen to contain the message, else `local`.
    """
    me = ctx.me()
    size, number = paging.bounds(page_size, page)
    found = ctx.mail.sent(me, size, number)
    places = [ctx.mail.place_of(message["message_id"]) or ("", 0) for message in found.messages]
    for message, reached in zip(found.messages, ctx.sync.reached(places), strict=True):
        message["state"] = "remote" if reached else "local"
        message.pop("is_read", None)
    return {"messages": found.messages, **paging.described(found.total, size, number)}


@method("message.wait", waits=True)
def wait(
    ctx: Context, scope: Pair | None = None, mention: str = "", timeout: float = 30.0, priority: str = ""
) -> Json | None:
    """Wait for mail: the oldest unread message the inbox would show, as soon as there is one.

    `timeout` in seconds. Unread mail that is already there is given at once. Nothing is marked read.
    """
    me = ctx.me()
    words = (mention.removeprefix("@"),) if mention.removeprefix("@") else ()
    wanted = Filter(scope=_tuple(scope), mention=words, priority=priority or None, unread=True)
    found = ctx.mail.page(me, wanted, 1, 1, ascending=True)
    if not found.messages:
        return None
    return {"status": "received", "message": found.messages[0], "more": found.total - 1}


def _check_body(content: str, format: str, priority: str, structured: dict[str, Any] | None) -> None:
    if not content.strip():
        raise BadParams("content is required", "give the message's text, or `-` to read it from standard input")
    if len(content.encode("utf-8", "replace")) > LARGEST_BODY:
        raise BadParams(
            f"content has {len(content.encode('utf-8', 'replace'))} bytes, {LARGEST_BODY} are allowed",
            "commit the text to the repository and send its path",
        )
    if format not in FORMATS:
        raise BadParams(f"format must be one of {', '.join(FORMATS)}, not {format}")
    if priority not in PRIORITIES:
        raise BadParams(f"priority must be one of {', '.join(PRIORITIES)}, not {priority}")
    if format == "json":
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            raise BadParams("content is not JSON, though format says so") from None
    if structured is not None:
        _check_structured(structured)


def _check_structured(structured: dict[str, Any]) -> None:
    try:
        written = json.dumps(structured, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadParams("structured holds what JSON cannot") from None
    if len(written) > LARGEST_BODY:
        raise BadParams(f"structured is larger than {LARGEST_BODY} bytes")


def _check_thread(ctx: Context, thread_id: str) -> None:
    if ctx.mail.thread(thread_id) is None and not ctx.mail.participants(thread_id):
        raise NotFound(f"there is no thread {thread_id}", "git thrum reply MESSAGE TEXT starts one")


def _recipients(ctx: Context, me: str, wanted: list[str], thread_id: str) -> routing.Recipients:
    if not wanted and thread_id:
        others = tuple(who for who in ctx.mail.participants(thread_id) if who != me)
        if others:
            return routing.Recipients(others, False, (), ())
    recipients = routing.resolve(wanted, ctx.roster.known())
    if recipients.unknown:
        near = f"did you mean {' or '.join('@' + name for name in recipients.near)}? " if recipients.near else ""
        raise UnknownRecipient(
            f"nobody is called {', '.join(recipients.unknown)}; nothing was sent",
            f"{near}git thrum agent list shows who is there",
        )
    return recipients


def _reply_recipients(ctx: Context, me: str, original: Json) -> routing.Recipients:
    to = original["to"]
    if routing.EVERYONE in to:
        return routing.Recipients((), True, (), ())
    words = [address.removeprefix("@") for address in to]
    resolved = routing.resolve(words, ctx.roster.known()).agents if words else ()
    reached = dict.fromkeys((original["agent_id"], *resolved))
    return routing.Recipients(tuple(who for who in reached if who != me), False, (), ())


def _creation(
    ctx: Context,
    me: str,
    content: str,
    format: str,
    structured: dict[str, Any] | None,
    priority: str,
    refs: Iterable[Pair],
    scopes: Iterable[Pair] | None,
    request_id: str,
) -> Event:
    instant = ctx.now()
    session = ctx.roster.open_session(me, ctx.origin) or ctx.roster.open_session(me)
    body = {"format": format, "content": content}
    if structured is not None:
        body["structured"] = json.dumps(structured, separators=(",", ":"), ensure_ascii=False)
    return ctx.event(
        events.MESSAGE_CREATE,
        instant,
        message_id=ids.requested_message_id(me, request_id) if request_id else ctx.new_id("msg", instant),
        agent_id=me,
        session_id=session["session_id"] if session else None,
        body=body,
        scopes=[pair.as_json() for pair in dict.fromkeys(scopes or ())],
        refs=[pair.as_json() for pair in dict.fromkeys(refs)],
        priority=priority if priority != "normal" else None,
        request_id=request_id,
    )


def _thread(ctx: Context, me: str, thread_id: str, original: Json) -> Event:
    first_line = (original["body"]["content"].strip().splitlines() or ["(deleted)"])[0]
    return ctx.event(events.THREAD_CREATE, ctx.now(), thread_id=thread_id, title=first_line[:80], created_by=me)


def _post(
    ctx: Context, me: str, event: Event, recipients: routing.Recipients, before: list[Event] | None = None
) -> Json:
    known = ctx.mail.get(event["message_id"]) if event.get("request_id") else None
    if known is None:
        event.update({"everyone": True} if recipients.everyone else {"to": list(recipients.agents)})
        ctx.append(me, [*(before or []), event])
        known = ctx.mail.get(event["message_id"]) or {}
    everyone = routing.EVERYONE in known["to"]
    others = [a.agent_id for a in ctx.roster.known() if a.agent_id != me]
    reached = others if everyone else [who for who in known["to"] if who != me]
    result = {name: known[name] for name in ("message_id", "thread_id", "created_at") if known.get(name)}
    return {**result, "from": me, "everyone": everyone, "recipients": reached, "recipient_count": len(reached)}


def _mention_words(ctx: Context, me: str, mentions: bool, mention_role: str) -> tuple[str, ...]:
    words = [mention_role.removeprefix("@")] if mention_role else []
    if mentions:
        agent = ctx.roster.agent(me)
        words += [me, agent["role"] if agent else me]
    return tuple(dict.fromkeys(words))


def _tuple(pair: Pair | None) -> tuple[str, str] | None:
    return (pair.type, pair.value) if pair else None
