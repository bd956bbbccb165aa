"""Threads: conversations with a title."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock, events, ids
from thrum.core.codec import Event
from thrum.errors import BadParams
from thrum.methods import paging, parameters, writing
from thrum.methods.context import Context
from thrum.methods.registry import Pair, method
from thrum.methods.writing import Draft, Voice

Json = dict[str, Any]
_LONGEST_TITLE = 500


@method("thread.create")
def create(
    ctx: Context,
    title: Annotated[str, "what it is about, at most 500 characters"],
    scopes: parameters.Scopes = None,
    recipient: Annotated[list[str] | str | None, "whom the first message is for: agents, roles, @everyone"] = None,
    message: Annotated[
        Draft | None, "the first message: content, and format, structured, priority if not the usual"
    ] = None,
    acting_as: parameters.ActingAs = "",
    disclose: parameters.Disclose = False,
    request_id: parameters.RequestId = "",
) -> Json:
    """Begin a thread, and say its first message if one is given.

    `recipient` and `message` come together or not at all. All is checked before anything is stored, and both are stored
    together. The message carries the thread's scopes. Gives `{thread_id, title, created_by, created_at, message_id?}`.
    """
    if not title.strip():
        raise BadParams("title is required", "git thrum thread create TITLE")
    if len(title) > _LONGEST_TITLE:
        raise BadParams(f"title has {len(title)} characters, {_LONGEST_TITLE} are allowed")
    wanted = writing.words([recipient] if isinstance(recipient, str) else recipient)
    if bool(wanted) != (message is not None):
        raise BadParams("recipient and message come together or not at all")
    speaker, instant = writing.voice(ctx, acting_as, disclose), ctx.now()
    begun = ctx.event(
        events.THREAD_CREATE,
        instant,
        title=title,
        created_by=speaker.me,
        scopes=[pair.as_json() for pair in dict.fromkeys(scopes or ())],
        request_id=request_id,
    )
    begun["thread_id"] = _id_for(begun)
    known = ctx.threads.get(begun["thread_id"]) if request_id else None
    made, fresh = {**begun, "created_at": clock.text(instant)}, [begun]
    if known and known["created_by"] == speaker.me:
        made, fresh = known, []
    told = {name: made[name] for name in ("thread_id", "title", "created_by", "created_at")}
    if message is None:
        ctx.append(speaker.me, fresh)
        return told
    sent = _say_first(ctx, speaker, message, wanted, scopes, begun, fresh)
    return {**told, "message_id": sent["message_id"]}


@method("thread.list")
def list_(
    ctx: Context,
    scope: Annotated[Pair | None, "only threads that carry this scope, or in which a message does"] = None,
    page_size: parameters.PageSize = 10,
    page: parameters.PageNumber = 1,
) -> Json:
    """List all threads, those with the latest activity first.

    Gives `{threads, total, page, page_size, total_pages}`; each thread is `{thread_id, title, created_by, created_at, scopes,
    message_count, unread_count, last_activity, last_sender, preview}`. Deleted messages do not count; `unread_count` is the
    caller's, who never has its own messages to read. A thread that nobody created, only messages mention, is listed under the
    first line of its first message.
    """
    size, number = paging.bounds(page_size, page)
    found = ctx.threads.page(ctx.me_or_nobody(), (scope.type, scope.value) if scope else None, size, number)
    return {"threads": found.items, **paging.described(found.total, size, number)}


@method("thread.get")
def get(
    ctx: Context,
    thread_id: parameters.ThreadId,
    page_size: parameters.PageSize = 10,
    page: parameters.PageNumber = 1,
) -> Json:
    """Show a thread and what was said in it, oldest first.

    Gives `{thread, messages, total, page, page_size, total_pages}`: `thread` is `{thread_id, title, created_by, created_at,
    scopes}`, a message is as in `message.list`. Deleted messages keep their place, without their text. Nothing is marked read.
    """
    size, number = paging.bounds(page_size, page)
    thread_id = ctx.thread_id(thread_id)
    found, total = ctx.threads.messages(thread_id, size, number)
    messages = ctx.mail.summaries(found, ctx.me_or_nobody())
    return {"thread": ctx.threads.get(thread_id), "messages": messages, **paging.described(total, size, number)}


def _id_for(begun: Event) -> str:
    author, request_id = begun["created_by"], begun.get("request_id")
    return ids.requested_thread_id(author, request_id) if request_id else ids.bound_id("thr", author, begun["event_id"])


def _say_first(
    ctx: Context,
    speaker: Voice,
    draft: Draft,
    wanted: list[str],
    scopes: list[Pair] | None,
    begun: Event,
    fresh: list[Event],
) -> Json:
    """Says the first message of the thread `begun`; `fresh` is what has to be stated of that before."""
    writing.check(draft)
    event = writing.creation(
        ctx,
        speaker,
        draft,
        writing.recipients(ctx, speaker.name, wanted),
        refs=writing.mentioned(wanted),
        scopes=scopes,
        thread_id=begun["thread_id"],
        request_id=begun.get("request_id", ""),
    )
    return writing.post(ctx, speaker, event, fresh)
