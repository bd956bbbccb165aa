"""Messages: send, reply, list, read, wait."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import events, routing
from thrum.core.codec import Event
from thrum.core.selection import Filter
from thrum.errors import BadParams
from thrum.methods import paging, parameters, writing
from thrum.methods.context import Context
from thrum.methods.registry import Pair, method
from thrum.methods.writing import Draft

Json = dict[str, Any]
PRIORITIES = writing.PRIORITIES
_READ_AT_ONCE = 500
_Order = Annotated[str, "desc (newest first) or asc"]


@method("message.send", joins=True)
def send(
    ctx: Context,
    content: parameters.Content,
    to: Annotated[list[str] | None, "agents or roles, with or without @; @everyone; left out: everyone"] = None,
    mentions: Annotated[list[str] | None, "the same as `to`, as v0.1.0 calls it"] = None,
    scopes: parameters.Scopes = None,
    refs: parameters.Refs = None,
    tags: Annotated[list[str] | None, "words to find it by; kept as refs of type tag"] = None,
    thread_id: Annotated[str, "the thread it belongs to; without recipients it goes to those who take part"] = "",
    format: parameters.Format = "markdown",
    structured: parameters.Structured = None,
    priority: parameters.Priority = "normal",
    request_id: parameters.RequestId = "",
    acting_as: parameters.ActingAs = "",
    disclose: parameters.Disclose = False,
) -> Json:
    """Send a message: to agents, to everyone of a role, or to everyone.

    Durable on this machine when it returns. Gives `{message_id, thread_id?, created_at, from, everyone, recipients,
    recipient_count, authored_by?, disclosed?}`. Who is reached is settled now: who joins later does not get it. A recipient
    that nobody is refuses the whole message (UnknownRecipient) and stores nothing.

    A user may write in an agent's name. The message then goes into the user's own log, belongs to the user (who alone may edit
    or delete it), and every answer that shows it says so in `authored_by`.
    """
    speaker, draft = writing.voice(ctx, acting_as, disclose), Draft(content, format, structured, priority)
    writing.check(draft)
    thread_id = ctx.thread_id(thread_id) if thread_id else ""
    wanted = writing.words(to, mentions)
    reached = writing.recipients(ctx, speaker.name, wanted, thread_id)
    labels = [Pair("tag", tag) for tag in tags or () if tag]
    named = [*(refs or []), *labels, *writing.mentioned(wanted)]
    event = writing.creation(
        ctx, speaker, draft, reached, refs=named, scopes=scopes, thread_id=thread_id, request_id=request_id
    )
    return writing.post(ctx, speaker, event)


@method("message.reply")
def reply(
    ctx: Context,
    message_id: parameters.MessageId,
    content: parameters.Content,
    scopes: parameters.Scopes = None,
    refs: parameters.Refs = None,
    format: parameters.Format = "markdown",
    structured: parameters.Structured = None,
    priority: parameters.Priority = "normal",
    request_id: parameters.RequestId = "",
    acting_as: parameters.ActingAs = "",
    disclose: parameters.Disclose = False,
) -> Json:
    """Answer a message: in its thread, to its author and its recipients.

    The first answer to a message makes a thread, with the message in it. Answering marks the message read. Gives
    `{message_id, thread_id, created_at, from, everyone, recipients, recipient_count, authored_by?, disclosed?}`.
    """
    speaker, draft = writing.voice(ctx, acting_as, disclose), Draft(content, format, structured, priority)
    writing.check(draft)
    original = ctx.mail.get(ctx.message_id(message_id)) or {}
    author = original["agent_id"]
    thread_id = original.get("thread_id") or "thr_" + original["message_id"].removeprefix("msg_")
    linked = [Pair("reply_to", original["message_id"])]
    if author != speaker.name:
        linked += writing.mentioned([author])
    before = [_thread(ctx, speaker.me, thread_id, original)] if ctx.mail.thread(thread_id) is None else []
    unread = ctx.mail.unmarked(speaker.me, [original["message_id"]])
    if unread:
        before.append(ctx.event(events.MESSAGE_READ, ctx.now(), agent_id=speaker.me, message_ids=unread))
    event = writing.creation(
        ctx,
        speaker,
        draft,
        _reply_recipients(ctx, speaker.name, original),
        refs=[*(refs or []), *linked],
        scopes=scopes,
        thread_id=thread_id,
        answers=original,
        request_id=request_id,
    )
    return writing.post(ctx, speaker, event, before)


@method("message.get")
def get(
    ctx: Context,
    message_id: parameters.MessageId,
    history: Annotated[bool, "also every text it ever had"] = False,
) -> Json:
    """Show one message with all it has, whoever it was for.

    Gives `{message}` with `{message_id, thread_id?, agent_id, author: {agent_id, session_id}, authored_by?, disclosed?, body:
    {format, content, structured?}, created_at, updated_at?, edits, deleted, metadata: {deleted_at?, deleted_by?,
    delete_reason?}, priority, scopes, refs, to}`, and with `history` a list of `{content, structured?, edited_at}`: the first
    text first, the present one last. Of a deleted message the text is gone: `content` is empty and there is no history.
    """
    found = ctx.mail.get(ctx.message_id(message_id)) or {}
    if history and not found["deleted"]:
        found["history"] = ctx.mail.history(found["message_id"])
    return {"message": found}


@method("message.list")
def list_(
    ctx: Context,
    scope: parameters.Scope = None,
    ref: Annotated[Pair | None, "only what carries this ref"] = None,
    thread_id: Annotated[str, "only this thread"] = "",
    author_id: Annotated[str, "only what this agent wrote"] = "",
    mention_role: Annotated[str, "only what names this agent or role"] = "",
    mentions: Annotated[bool, "only what names the caller or its role"] = False,
    caller_mention_role: Annotated[str, "with `mentions`: one more role that counts as the caller's"] = "",
    priority: Annotated[str, "only this priority"] = "",
    unread: Annotated[bool, "only what the caller has not read"] = False,
    unread_for_agent: Annotated[str, "the same; must be the caller itself"] = "",
    exclude_self: Annotated[bool, "without what the caller wrote"] = False,
    include_deleted: Annotated[bool, "also what was deleted, without its text"] = False,
    all: Annotated[bool, "also what is not addressed to the caller"] = False,
    page_size: parameters.PageSize = 10,
    page: parameters.PageNumber = 1,
    sort_by: Annotated[str, "created_at, or updated_at for when it was last edited"] = "created_at",
    sort_order: _Order = "desc",
) -> Json:
    """List the caller's mail, newest first; `all` lists everybody's.

    Mail is what is addressed to the agent, its role or everyone, and what is said in threads it takes part in. Nothing is
    marked read by looking. Deleted messages are not listed and never unread. Gives `{messages, unread, total, page, page_size,
    total_pages}`; `unread` counts all of the caller's unread mail, whatever is filtered. A message is as in `message.get`,
    without `author`, `metadata` and `edits`, with `is_read`.
    """
    me = ctx.me_or_nobody()
    if unread_for_agent and unread_for_agent != me:
        raise BadParams("unread_for_agent must be the caller itself")
    if (unread or mentions or unread_for_agent) and not me:
        ctx.me()
    if sort_by not in ("created_at", "updated_at"):
        raise BadParams(f"sort_by is created_at or updated_at, not {sort_by}")
    if sort_order not in ("asc", "desc"):
        raise BadParams(f"sort_order is asc or desc, not {sort_order}")
    size, number = paging.bounds(page_size, page)
    wanted = Filter(
        scope=_tuple(scope),
        ref=_tuple(ref),
        thread_id=thread_id or None,
        author=author_id.removeprefix("@") or None,
        priority=priority or None,
        mention=_mention_words(ctx, me, mentions, mention_role, caller_mention_role),
        unread=unread or bool(unread_for_agent),
        everything=all or not me,
        with_own=not exclude_self and not unread and not mentions,
        with_deleted=include_deleted,
    )
    by_change = sort_by == "updated_at"
    found = ctx.mail.page(me, wanted, size, number, ascending=sort_order == "asc", by_change=by_change)
    return {
        "messages": found.messages,
        "unread": ctx.mail.unread_count(me) if me else 0,
        **paging.described(found.total, size, number),
    }


@method("message.markRead")
def mark_read(
    ctx: Context,
    message_ids: Annotated[list[str] | None, "whole ids; unknown ones and the caller's own are passed over"] = None,
    all: Annotated[bool, "everything that is unread now"] = False,
) -> Json:
    """Mark messages as read by the caller.

    Gives `{marked_count, also_read_by?}`: how many were unread until now, and for each message named who else has read it.
    """
    if not message_ids and not all:
        raise BadParams("message_ids is required and must not be empty", "or say all")
    me = ctx.me()
    named = message_ids or []
    unmarked = ctx.mail.unmarked(me, [*named, *(ctx.mail.unread_ids(me) if all else ())])
    marked = [
        ctx.event(events.MESSAGE_READ, ctx.now(), agent_id=me, message_ids=unmarked[start : start + _READ_AT_ONCE])
        for start in range(0, len(unmarked), _READ_AT_ONCE)
    ]
    if marked:
        ctx.append(me, marked)
    others = {m: [who for who in ctx.mail.readers(m) if who != me] for m in dict.fromkeys(named)}
    also = {message_id: readers for message_id, readers in others.items() if readers}
    return {"marked_count": len(unmarked), **({"also_read_by": also} if also else {})}


@method("message.sent")
def sent(ctx: Context, page_size: parameters.PageSize = 10, page: parameters.PageNumber = 1) -> Json:
    """List what the caller sent: who has read it, and whether the remote has it.

    Gives `{messages, total, page, page_size, total_pages}`; each message has `read_by`, the agents that have read it, and
    `state`: `remote` once the remote was seen to contain the message, else `local`. What a user wrote in an agent's name is
    listed for both.
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
    ctx: Context,
    scope: parameters.Scope = None,
    mention: Annotated[str, "only what names this agent or role"] = "",
    timeout: Annotated[float, "seconds to wait, up to an hour"] = 30.0,
    priority: Annotated[str, "only this priority"] = "",
) -> Json | None:
    """Wait for mail: the oldest unread message the inbox would show, as soon as there is one.

    Unread mail that is already there is given at once. Nothing is marked read. Gives `{status, message?, more?}`: `received`
    with the message and how many more are unread, or `timeout`.
    """
    if priority:
        writing.check_priority(priority)
    me = ctx.me()
    words = (mention.removeprefix("@"),) if mention.removeprefix("@") else ()
    wanted = Filter(scope=_tuple(scope), mention=words, priority=priority or None, unread=True)
    found = ctx.mail.page(me, wanted, 1, 1, ascending=True)
    if not found.messages:
        return None
    return {"status": "received", "message": found.messages[0], "more": found.total - 1}


def _reply_recipients(ctx: Context, me: str, original: Json) -> routing.Recipients:
    to = original["to"]
    if routing.EVERYONE in to:
        return routing.Recipients((), True, (), ())
    words = [address.removeprefix("@") for address in to]
    resolved = routing.resolve(words, ctx.roster.known()).agents if words else ()
    reached = dict.fromkeys((original["agent_id"], *resolved))
    return routing.Recipients(tuple(who for who in reached if who != me), False, (), ())


def _thread(ctx: Context, me: str, thread_id: str, original: Json) -> Event:
    first_line = (original["body"]["content"].strip().splitlines() or ["(deleted)"])[0]
    return ctx.event(events.THREAD_CREATE, ctx.now(), thread_id=thread_id, title=first_line[:80], created_by=me)


def _mention_words(ctx: Context, me: str, mentions: bool, *named: str) -> tuple[str, ...]:
    words = [word.removeprefix("@") for word in named[: 2 if mentions else 1] if word]
    if mentions:
        agent = ctx.roster.agent(me)
        words += [me, agent["role"] if agent else me]
    return tuple(dict.fromkeys(words))


def _tuple(pair: Pair | None) -> tuple[str, str] | None:
    return (pair.type, pair.value) if pair else None
