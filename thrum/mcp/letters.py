"""Messages as a model gets them: few fields, and never more text at once than it can take in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
MOST_TEXT = 40_000
"""Characters of one answer's messages. Clients refuse answers that are too large, and what they refuse would be lost."""


def letter(message: Json) -> Json:
    """`{message_id, from, to, content, priority, timestamp, authored_by?, disclosed?, thread_id?, metadata?, cut?}`.

    A text longer than `MOST_TEXT` is cut, and says so.
    """
    body = message["body"]
    content, structured = body["content"], body.get("structured") or ""
    is_cut = len(content) > MOST_TEXT or len(structured) > MOST_TEXT
    written = {
        "message_id": message["message_id"],
        "from": message["agent_id"],
        "to": ["everyone" if address == "*" else address for address in message["to"]],
        "content": _cut(content, message["message_id"]),
        "priority": message["priority"],
        "timestamp": message["created_at"],
        "authored_by": message.get("authored_by"),
        "disclosed": message.get("disclosed"),
        "thread_id": message.get("thread_id"),
        "metadata": _read(structured) if structured and len(structured) <= MOST_TEXT else None,
        "cut": is_cut or None,
    }
    return {name: value for name, value in written.items() if value is not None}


def fitting(messages: Sequence[Json]) -> list[Json]:
    """The letters of as many messages, from the first on, as fit into one answer; of the first in any case."""
    kept: list[Json] = []
    left = MOST_TEXT
    for message in messages:
        made = letter(message)
        left -= len(made["content"]) + len(json.dumps(made.get("metadata")))
        if kept and left < 0:
            break
        kept.append(made)
    return kept


def _cut(content: str, message_id: str) -> str:
    if len(content) <= MOST_TEXT:
        return content
    return f"{content[:MOST_TEXT]}\n[cut: {len(content)} characters in all; git thrum message get {message_id}]"


def _read(structured: str) -> Any:
    """What a message carries for programs: JSON, or the text itself where it is none."""
    try:
        return json.loads(structured)
    except (ValueError, RecursionError):
        return structured
