"""Threads and subscriptions as text."""

from __future__ import annotations

from typing import Any

from thrum.cli.plan import Style
from thrum.cli.render import agent, entry, footer
from thrum.cli.text import color, line, table, when

Json = dict[str, Any]


def created(result: Any, style: Style) -> str:
    """What `thread create` says."""
    text = f"thread {line(result['thread_id'])} begun: {line(result['title'])}\n"
    return text + (f"  with {line(result['message_id'])}\n" if result.get("message_id") else "")


def threads(result: Any, style: Style) -> str:
    """Threads in a table."""
    end = color(footer(result, "", "no threads", "threads"), "dim", style)
    if not result["threads"]:
        return end + "\n"
    rows = [
        (
            line(one["thread_id"]),
            str(one["message_count"]),
            str(one["unread_count"] or "-"),
            _last(one, style),
            line(one["title"]),
        )
        for one in result["threads"]
    ]
    return table(("THREAD", "MESSAGES", "UNREAD", "LAST", "TITLE"), rows, style.width) + f"\n{end}\n"


def _last(one: Json, style: Style) -> str:
    who = agent(one["last_sender"]) if one.get("last_sender") else "-"
    return " ".join(filter(None, [who, when(one.get("last_activity"), style)]))


def thread(result: Any, style: Style) -> str:
    """A thread and what was said in it."""
    one = result["thread"]
    head = f"{color(line(one.get('title') or '(no title)'), 'bold', style)}\n{line(one['thread_id'])}"
    if one.get("created_by"):
        head += f", begun by {agent(one['created_by'])} {when(one.get('created_at'), style)}"
    said = [entry(message, style) for message in result["messages"]]
    return "\n".join([head, "", *said, color(footer(result, "", "nothing said yet"), "dim", style)]) + "\n"


def subscribed(result: Any, style: Style) -> str:
    """What `subscribe` says."""
    return (
        f"subscription {result['subscription_id']} of session {line(result['session_id'])}; it ends with the session\n"
    )


def subscriptions(result: Any, style: Style) -> str:
    """Subscriptions in a table."""
    if not result["subscriptions"]:
        return "no subscriptions: git thrum subscribe --all\n"
    rows = [(str(one["id"]), when(one["created_at"], style), _wanted(one)) for one in result["subscriptions"]]
    return table(("ID", "SINCE", "WHAT"), rows, style.width) + "\n"


def _wanted(one: Json) -> str:
    if one.get("all"):
        return "all my mail"
    parts = [f"what is about {line(one['scope_type'])}:{line(one['scope_value'])}"] if one.get("scope_type") else []
    parts += [f"what names {agent(one['mention_role'])}"] if one.get("mention_role") else []
    return ", ".join(parts)


def unsubscribed(result: Any, style: Style) -> str:
    """What `unsubscribe` says when there was something to end."""
    return "unsubscribed\n" if result["removed"] else ""
