"""What it takes to write a message: a sound text, a voice that may speak, somebody to hear it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from thrum.core import clock, codec, events, ids, routing
from thrum.core.codec import Event
from thrum.errors import BadParams, Forbidden, NotFound, UnknownRecipient
from thrum.methods.context import Context
from thrum.methods.registry import Pair

Json = dict[str, Any]
LARGEST_BODY = 1024 * 1024
FURTHEST_AHEAD = 86400 * clock.SECOND
"""How far a message follows another's clock into what is the future here."""
FORMATS = ("markdown", "plain", "json")
PRIORITIES = ("low", "normal", "high", "critical")


class Draft(NamedTuple):
    """A message as its author gives it."""

    content: str
    format: str = "markdown"
    structured: dict[str, Any] | None = None
    priority: str = "normal"

    @property
    def body(self) -> Json:
        """The body as it stands in events."""
        return body(self.format, self.content, self.structured)


class Voice(NamedTuple):
    """Who writes (`me`), and in whose name (`name`); `disclosed`: whether readers are told outright that these are two."""

    me: str
    name: str
    disclosed: bool = False

    @property
    def fields(self) -> Json:
        """What an event says of the voice."""
        borrowed = {"authored_by": self.me, "disclosed": self.disclosed} if self.me != self.name else {}
        return {"agent_id": self.name, **borrowed}


def voice(ctx: Context, acting_as: str, disclose: bool) -> Voice:
    """The caller's voice. Only users borrow one, and only an agent's. Raises Forbidden, NotFound."""
    me, name = ctx.me(), acting_as.removeprefix("@")
    if name in ("", me):
        return Voice(me, me)
    if not me.startswith("user:"):
        raise Forbidden(f"only users can write in another's name, and {me} is none", "send it without acting_as")
    if name.startswith("user:"):
        raise Forbidden(
            f"users can write in the name of agents, not of other users ({name})", "send it without acting_as"
        )
    if ctx.roster.agent(name) is None:
        raise NotFound(f"there is no agent {name}", "git thrum agent list shows who is there")
    return Voice(me, name, disclose)


def check(draft: Draft) -> None:
    """Raises BadParams unless the draft can be sent as it is."""
    check_text(draft.content, draft.format)
    check_priority(draft.priority)
    if draft.structured is not None:
        check_structured(draft.structured)


def check_priority(priority: str) -> None:
    """Raises BadParams for a priority that there is not."""
    if priority not in PRIORITIES:
        raise BadParams(f"priority must be one of {', '.join(PRIORITIES)}, not {priority}")


def check_text(content: str, format: str) -> None:
    """Raises BadParams unless `content` is a text of that format, neither empty nor too large."""
    if not content.strip():
        raise BadParams("content is required", "give the message's text")
    size = len(content.encode("utf-8", "replace"))
    if size > LARGEST_BODY:
        raise BadParams(
            f"content has {size} bytes, {LARGEST_BODY} are allowed",
            "commit the text to the repository and send its path",
        )
    if format not in FORMATS:
        raise BadParams(f"format must be one of {', '.join(FORMATS)}, not {format}")
    if format == "json":
        try:
            json.loads(content)
        except (ValueError, RecursionError):
            raise BadParams("content is not JSON, though format says so") from None


def check_structured(structured: dict[str, Any]) -> None:
    """Raises BadParams for what JSON cannot hold, or what is too large."""
    try:
        written = json.dumps(structured, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadParams("structured holds what JSON cannot") from None
    if len(written) > LARGEST_BODY:
        raise BadParams(f"structured is larger than {LARGEST_BODY} bytes")


def body(format: str, content: str, structured: dict[str, Any] | None) -> Json:
    """A body as it stands in events: `structured` is JSON in a text there."""
    made = {"format": format, "content": content}
    if structured is not None:
        made["structured"] = json.dumps(structured, separators=(",", ":"), ensure_ascii=False)
    return made


def words(*lists: list[str] | None) -> list[str]:
    """Recipients as callers name them. Raises BadParams for one without a name: it is not for everyone, but a mistake."""
    wanted = [word for some in lists for word in some or ()]
    if not all(word.removeprefix("@").strip() for word in wanted):
        raise BadParams(
            "a recipient is empty; nothing was sent", "name an agent or a role; leave recipients out to reach everyone"
        )
    return wanted


def mentioned(wanted: Iterable[str]) -> list[Pair]:
    """The refs that say whom a message names."""
    return [Pair("mention", word.removeprefix("@")) for word in wanted]


def recipients(ctx: Context, speaker: str, wanted: list[str], thread_id: str = "") -> routing.Recipients:
    """Who is meant; in a thread with nobody named, those who take part in it. Raises UnknownRecipient."""
    if not wanted and thread_id:
        others = tuple(who for who in ctx.mail.participants(thread_id) if who != speaker)
        if others:
            return routing.Recipients(others, False, (), ())
    meant = routing.resolve(wanted, ctx.roster.known())
    if meant.unknown:
        near = f"did you mean {' or '.join('@' + name for name in meant.near)}? " if meant.near else ""
        raise UnknownRecipient(
            f"nobody is called {', '.join(meant.unknown)}; nothing was sent",
            f"{near}git thrum agent list shows who is there",
        )
    return meant


def creation(
    ctx: Context,
    speaker: Voice,
    draft: Draft,
    reached: routing.Recipients,
    *,
    refs: Iterable[Pair] = (),
    scopes: Iterable[Pair] | None = None,
    thread_id: str = "",
    answers: Json | None = None,
    request_id: str = "",
) -> Event:
    """The event that a message is; `answers`: the message it is a reply to."""
    me, instant = speaker.me, ctx.now()
    event = ctx.event(
        events.MESSAGE_CREATE,
        instant,
        **speaker.fields,
        session_id=ctx.roster.working_session(me, ctx.origin),
        thread_id=thread_id,
        body=draft.body,
        scopes=[pair.as_json() for pair in dict.fromkeys(scopes or ())],
        refs=[pair.as_json() for pair in dict.fromkeys(refs)],
        priority=draft.priority if draft.priority != "normal" else None,
        request_id=request_id,
    )
    event["timestamp"] = clock.text(_behind(ctx, instant, thread_id, answers))
    message_id = ids.requested_message_id(me, request_id) if request_id else ids.bound_id("msg", me, event["event_id"])
    reach = {"everyone": True} if reached.everyone else {"to": list(reached.agents)}
    return {**event, "message_id": message_id, **reach}


def _behind(ctx: Context, instant: int, thread_id: str, answers: Json | None) -> int:
    """`instant`, or just behind what it answers and what was said in its thread: those may be from a clock that is ahead."""
    furthest = instant + FURTHEST_AHEAD
    answered = clock.instant(answers["created_at"]) or 0 if answers else 0
    latest = ctx.mail.latest_in(thread_id, furthest) if thread_id else 0
    return max(instant, latest + 1, answered + 1 if answered <= furthest else 0)


def post(ctx: Context, speaker: Voice, event: Event, before: Iterable[Event] = ()) -> Json:
    """States a message and what goes before it, at once; what became of it. A request that is known already states nothing."""
    known = ctx.mail.get(event["message_id"]) if event.get("request_id") else None
    if known and (known.get("authored_by") or known["agent_id"]) == speaker.me:
        _check_same(ctx, known, event)
        ctx.append(speaker.me, [])  # whoever sent it first may have been killed before it was durable
    else:
        after = [] if speaker.me == speaker.name else [_read_by_writer(ctx, speaker, event["message_id"])]
        ctx.append(speaker.me, [*before, event, *after])
        known = _as_stored(event)
    everyone = routing.EVERYONE in known["to"]
    others = [a.agent_id for a in ctx.roster.known() if a.agent_id != speaker.name]
    reached = others if everyone else [who for who in known["to"] if who != speaker.name]
    fields = ("message_id", "thread_id", "created_at", "authored_by", "disclosed")
    result = {name: known[name] for name in fields if known.get(name) not in (None, "")}
    return {
        **result,
        "from": speaker.name,
        "everyone": everyone,
        "recipients": reached,
        "recipient_count": len(reached),
    }


def _check_same(ctx: Context, known: Json, event: Event) -> None:
    """Raises BadParams when what is asked again is another message: saying that it is sent would lose it."""
    said = codec.settled_text(event["body"]["content"])
    if known["deleted"] or ctx.mail.history(known["message_id"])[0]["content"] == said:
        return
    raise BadParams(
        f"the request id {event['request_id'][:80]} belongs to {known['message_id']}, whose text is another",
        "give each message a request id of its own",
    )


def _as_stored(event: Event) -> Json:
    """What `mail.get` tells of a new message, as far as `post` needs it."""
    return {**event, "created_at": event["timestamp"], "to": list(routing.audience(event))}


def _read_by_writer(ctx: Context, speaker: Voice, message_id: str) -> Event:
    """Who writes in another's name has read what was written, though it may come to the writer's own inbox."""
    return ctx.event(events.MESSAGE_READ, ctx.now(), agent_id=speaker.me, message_ids=[message_id])
