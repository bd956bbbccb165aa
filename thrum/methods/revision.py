"""What an author may still do to a message: say it differently, take it back."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock, events, ids
from thrum.errors import AlreadyDeleted, BadParams, Forbidden
from thrum.methods import parameters, writing
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]
_LONGEST_REASON = 2000


@method("message.edit")
def edit(
    ctx: Context,
    message_id: parameters.MessageId,
    content: Annotated[str | None, "the new text; left out: it stays"] = None,
    structured: Annotated[dict[str, Any] | None, "the new object; left out: it stays"] = None,
) -> Json:
    """Change the text of a message you wrote.

    At least one of `content` and `structured` is needed; the format stays. Who has read the message has still read it; who
    subscribed to it hears of it again. An edit to what the last one said already is that one again. Gives `{message_id,
    updated_at, version}`, `version` being the number of edits. Only its author may (Forbidden): the user, if a user wrote it in
    an agent's name. What was deleted stays so (AlreadyDeleted).
    """
    if content is None and structured is None:
        raise BadParams("content or structured is required", "give the new text")
    message = _own(ctx, message_id, "edit")
    if message["deleted"]:
        deleted_at = message["metadata"]["deleted_at"]
        raise AlreadyDeleted(f"{message['message_id']} was deleted at {deleted_at}", "send a new one")
    body = message["body"]
    text = body["content"] if content is None else content
    if content is not None:
        writing.check_text(content, body["format"])
    if structured is not None:
        writing.check_structured(structured)
    said = writing.body(body["format"], text, structured)
    if structured is None and "structured" in body:
        said["structured"] = body["structured"]
    instant, found = ctx.now(), message["message_id"]
    if message["edits"] and said == body:
        ctx.append(ctx.me(), [])  # whoever said it first may have been killed before it was durable
        return {"message_id": found, "updated_at": message["updated_at"], "version": message["edits"]}
    version = ctx.mail.last_version(found) + 1
    ctx.append(ctx.me(), [ctx.event(events.MESSAGE_EDIT, instant, message_id=found, body=said, version=version)])
    edits = (ctx.mail.get(found) or {})["edits"]
    return {"message_id": found, "updated_at": clock.text(instant), "version": edits}


@method("message.delete")
def delete(
    ctx: Context,
    message_id: parameters.MessageId,
    reason: Annotated[str, "why, for whoever looks it up"] = "",
) -> Json:
    """Take back a message you wrote.

    It leaves every inbox and search, and `message.get` shows that it was deleted, when and why, and not its text; the log
    keeps the line. Gives `{message_id, deleted_at}`. Only its author may (Forbidden). What was deleted already stays as it is.
    """
    if len(reason) > _LONGEST_REASON:
        raise BadParams(f"reason has {len(reason)} characters, {_LONGEST_REASON} are allowed")
    message, instant = _own(ctx, message_id, "delete"), ctx.now()
    found = message["message_id"]
    if message["deleted"]:
        ctx.append(ctx.me(), [])  # whoever deleted it may have been killed before that was durable
        return {"message_id": found, "deleted_at": message["metadata"]["deleted_at"]}
    ctx.append(ctx.me(), [ctx.event(events.MESSAGE_DELETE, instant, message_id=found, reason=reason)])
    return {"message_id": found, "deleted_at": clock.text(instant)}


def _own(ctx: Context, given: str, verb: str) -> Json:
    """The caller's message of that id. Raises NotFound, Forbidden."""
    me, message_id = ctx.me(), ctx.message_id(given)
    message = ctx.mail.get(message_id) or {}
    author = message.get("authored_by") or message["agent_id"]
    if ids.stem(me) != ctx.mail.owner(message_id):
        raise Forbidden(f"{message_id} is {author}'s, and {me} cannot {verb} it", "answer it: git thrum reply")
    return message
