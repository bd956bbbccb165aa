"""Messages as text. Everything that came from outside goes through `safe` or `line` on its way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from thrum.cli.plan import Style
from thrum.cli.text import color, count, flow, line, safe, when, wrap
from thrum.core import ids

Json = dict[str, Any]
Render = Callable[[Any, Style], str]
_BESIDE = ("mention", "reply_to")
_INDENT = " " * 6


def confirmation(render: Render) -> Render:
    """A rendering that `--quiet` silences."""

    @functools.wraps(render)
    def unless_quiet(result: Any, style: Style) -> str:
        return "" if style.quiet else render(result, style)

    return unless_quiet


def agent(agent_id: str) -> str:
    """An agent as people see it: `@furiosa`."""
    return line(ids.displayed(agent_id))


def body(message: Json) -> str:
    """A message's text, safe to print."""
    if message.get("deleted"):
        return "(deleted)"
    return safe(message["body"]["content"]).strip("\n")


def sent(result: Any, style: Style) -> str:
    """What `send` and `reply` say."""
    parts = [f"sent {line(result['message_id'])} to {_reached(result)}"]
    if result.get("from"):
        parts.append(f"as {agent(result['from'])}")
    parts.append(_whereabouts(result.get("sync")))
    text = ", ".join(parts)
    if result.get("thread_id"):
        text += f"\n  in thread {line(result['thread_id'])}"
    return text + "\n"


def _reached(result: Json) -> str:
    many = count(result["recipient_count"], "agent")
    if result.get("everyone"):
        return f"everyone ({many})"
    names = [agent(name) for name in result["recipients"]]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{shown or 'nobody but you'} ({many})"


def _whereabouts(cycle: Json | None) -> str:
    if cycle is None:
        return "stored here"
    if has_arrived(cycle):
        return f"stored here and on {line(cycle['remote'])}"
    return "stored here, not on the remote"


def has_arrived(cycle: Json) -> bool:
    """Whether a cycle's report says that the remote has all we have."""
    return bool(cycle.get("ok") and cycle.get("remote"))


def not_arrived(result: Any, style: Style) -> str:
    """Why the remote does not have a message that was to wait for it."""
    cycle = result.get("sync")
    if cycle is None or has_arrived(cycle):
        return ""
    reason = cycle.get("error") or cycle.get("last_error") or _no_remote(cycle)
    hint = cycle.get("hint") or "git thrum sync status"
    return f"error: it is stored here, but not on the remote: {line(reason)}\n  try: {line(hint)}\n"


def _no_remote(cycle: Json) -> str:
    return "sync is switched off (thrum.sync)" if cycle.get("sync_state") == "off" else "there is none to sync with"


def inbox(result: Any, style: Style, *, note: str, empty: str, marks: bool = True) -> str:
    """A page of mail and its footer; `note` says what became of what was shown, `empty` what is not there.

    Without `marks` nothing is called new: it may be my own, or somebody else's.
    """
    texts = [entry(message, style, marks) for message in result["messages"]]
    return "\n".join([*texts, color(footer(result, note, empty), "dim", style)]) + "\n"


def footer(result: Json, note: str, empty: str, of: str = "messages") -> str:
    """Which part of how many this page is; `of`: what the result lists."""
    total, size, page = result["total"], result["page_size"], result["page"]
    unread = f" · {result['unread']} unread" if "unread" in result else ""
    first, shown = (page - 1) * size + 1, len(result[of])
    if shown:
        return f"{first}–{first + shown - 1} of {total}{unread}{f' · {note}' if note else ''}"  # noqa: RUF001
    if total:
        last = result["total_pages"]
        return f"page {page} is empty: the last one is page {last}{unread}"
    return empty + unread


def entry(message: Json, style: Style, marks: bool = False, text: str = "") -> str:
    """A message in a list, or `text` instead of its own."""
    is_new = marks and not message.get("is_read")
    mark = color("NEW", "green", style) if is_new else "   "
    head = flow([f" {mark}  {line(message['message_id'])}", *_facts(message, style)], style.width, _INDENT)
    return f"{head}\n{wrap(text or body(message), style.width, _INDENT)}"


def _facts(message: Json, style: Style) -> list[str]:
    """Everything about a message but its text, in pieces."""
    return [color(_author(message), "bold", style), *_facts_of_ones_own(message, style)]


def _author(message: Json) -> str:
    return agent(message["agent_id"]) + _written(message)


def _written(message: Json) -> str:
    """Who really wrote what stands under an agent's name."""
    author = message.get("authored_by")
    return f" (written by {agent(author)})" if author and author != message["agent_id"] else ""


def _facts_of_ones_own(message: Json, style: Style) -> list[str]:
    urgency = message.get("priority") or "normal"
    pieces = [
        when(message["created_at"], style),
        f"to {_addressed(message.get('to') or ['*'])}",
        color(line(urgency), "red" if urgency == "critical" else "yellow", style) if urgency != "normal" else "",
        "(edited)" if message.get("updated_at") else "",
        _pairs(message),
    ]
    if style.verbose and message.get("thread_id"):
        pieces.append(line(message["thread_id"]))
    return [piece for piece in pieces if piece]


def _addressed(to: list[str]) -> str:
    return ", ".join("everyone" if word == "*" else agent(word.removeprefix("@")) for word in to)


def _pairs(message: Json) -> str:
    refs = [ref for ref in message.get("refs") or () if ref["type"] not in _BESIDE]
    words = [line(f"{pair['type']}:{pair['value']}") for pair in [*(message.get("scopes") or ()), *refs]]
    return f"[{' '.join(words)}]" if words else ""


def sent_list(result: Any, style: Style) -> str:
    """What I sent: who has read it, and how far it got."""
    texts = []
    for message in result["messages"]:
        where = "on the remote" if message["state"] == "remote" else "stored here"
        readers = ", ".join(agent(name) for name in message.get("read_by") or ())
        head = [
            line(message["message_id"]),
            *([_author(message)] if _written(message) else []),
            *_facts_of_ones_own(message, style),
            where,
            f"read by {readers}" if readers else "unread",
        ]
        texts.append(f"{flow(head, style.width, _INDENT)}\n{wrap(body(message), style.width, _INDENT)}")
    end = footer(result, "", "you have sent nothing yet")
    return "\n".join([*texts, color(end, "dim", style)]) + "\n"


def received(result: Any, style: Style) -> str:
    """The message that `wait` was waiting for, in full."""
    if not _has_message(result):
        return ""
    more = result.get("more") or 0
    text = whole(result["message"], style)
    return text + (
        color(f"{more} more unread: git thrum inbox", "dim", style) + "\n" if more and not style.quiet else ""
    )


def _has_message(result: Any) -> bool:
    return bool(result and result.get("status") == "received")


def whole(message: Json, style: Style) -> str:
    """One message with all it has; its text as it is."""
    head = flow([line(message["message_id"]), *_facts(message, style)], style.width, "  ")
    lines = [
        head,
        *(f"  answers {line(ref['value'])}" for ref in message.get("refs") or () if ref["type"] == "reply_to"),
    ]
    if message.get("thread_id") and not style.verbose:
        lines.append(f"  in thread {line(message['thread_id'])}")
    lines += _details(message, style) if style.verbose else []
    lines += [_deletion(message, style)] if message.get("deleted") else []
    text = "\n".join([*lines, "", body(message)]) + "\n"
    structured = message["body"].get("structured")
    return text + (f"\nstructured: {safe(str(structured))}\n" if structured else "") + _history(message, style)


def _deletion(message: Json, style: Style) -> str:
    metadata = message.get("metadata") or {}
    by, why = metadata.get("deleted_by"), line(metadata.get("delete_reason") or "")
    words = [f"deleted {when(metadata.get('deleted_at'), style)}".rstrip(), f"by {agent(by)}" if by else ""]
    return "  " + " ".join(filter(None, words)) + (f": {why}" if why else "")


def _history(message: Json, style: Style) -> str:
    """The texts before the present one, the newest first."""
    before = list(enumerate(message.get("history") or (), 1))[-2::-1]
    texts = [
        f"\nbefore ({number}), {when(one['edited_at'], style)}\n{wrap(safe(one['content']), style.width, '  ')}\n"
        for number, one in before
    ]
    return "".join(texts)


def _details(message: Json, style: Style) -> list[str]:
    lines = [f"  format {line(message['body']['format'])}"]
    author = message.get("author") or {}
    if author.get("session_id"):
        lines.append(f"  session {line(author['session_id'])}")
    if message.get("updated_at"):
        lines.append(f"  edited {when(message['updated_at'], style)}")
    return lines


def got(result: Any, style: Style) -> str:
    """What `message get` shows."""
    return whole(result["message"], style)


def marked(result: Any, style: Style) -> str:
    """What `message read` says."""
    number = result.get("marked_count", 0)
    return f"marked {count(number, 'message')} as read\n" if number else "nothing to mark: all of it is read already\n"


def edited(result: Any, style: Style) -> str:
    """What `message edit` says."""
    return f"edited {line(result['message_id'])} (edit {result['version']})\n"


def deleted(result: Any, style: Style) -> str:
    """What `message delete` says."""
    return f"deleted {line(result['message_id'])}\n"


def found(result: Any, style: Style) -> str:
    """What a search found: a line of each message."""
    texts = [entry(message, style, text=safe(message["snippet"])) for message in result["messages"]]
    return "\n".join([*texts, color(footer(result, "", "nothing found"), "dim", style)]) + "\n"
