"""An event of the raw history as one line for people: when, who, what, and the beginning of what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from thrum.cli.plan import Style
from thrum.cli.text import color, count, cut, line, pad
from thrum.core import clock, events
from thrum.core.excerpt import preview
from thrum.store.history import Line

Json = dict[str, Any]
_EXCERPT = 200
_TIME = 19
_WHO = 14


def shown(entry: Line, style: Style) -> str:
    """One line, as wide as the terminal."""
    if entry.said is None:
        told = f"{pad('-', _TIME)}  set aside: {entry.source.path} at byte {entry.offset}: {line(entry.reason)}"
        excerpt = line(preview(entry.raw[: 4 * _EXCERPT].decode("utf-8", "backslashreplace"), _EXCERPT))
        return color(cut(told + (f": {excerpt}" if excerpt else ""), style.width), "red", style)
    event, source = entry.said.event, entry.source
    who = source.owner or str(event.get("agent_id") or event.get("created_by") or "")
    when = _when(entry.said.at)
    what = line(_what(entry, event))
    if style.verbose:
        what += f"  ({source.path} at byte {entry.offset})"
        return f"{color(when, 'dim', style)}  {pad(_name(who), _WHO)}  {what}"
    head = f"{when}  {pad(_name(who), _WHO)}  "
    return color(when, "dim", style) + head[len(when) :] + cut(what, max(style.width - len(head), 20))


def _when(at: int) -> str:
    moment = datetime.fromtimestamp(min(at, clock.LATEST) / clock.SECOND, UTC).astimezone()
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _what(entry: Line, event: Json) -> str:
    describe = _WORDS.get(event["type"])
    if describe is None:
        return preview(f"{event['type']}: {entry.raw.decode()}", _EXCERPT)
    return describe(event)


def _name(agent_id: object) -> str:
    return f"@{line(str(agent_id))}"


def _text(event: Json) -> str:
    body = event.get("body")
    content = body.get("content") if isinstance(body, dict) else None
    return preview(content if isinstance(content, str) else "", _EXCERPT)


def _created(event: Json) -> str:
    to = [_name(name) for name in event.get("to") or () if name != "*"]
    whom = ", ".join(to[:5]) + (f" and {len(to) - 5} more" if len(to) > 5 else "") or "everyone"
    where = f" in {event['thread_id']}" if event.get("thread_id") else ""
    return f"said to {whom}{where}: {_text(event)}"


def _context(event: Json) -> str:
    contexts = [context for context in event.get("work_contexts") or () if isinstance(context, dict)]
    on = ", ".join(str(context.get("branch") or "no branch") for context in contexts[:3])
    files = {str(name) for context in contexts for name in context.get("changed_files") or ()}
    return f"works on {on or 'nothing'}" + (f", {count(len(files), 'changed file')}" if files else "")


def _session(event: Json) -> str:
    changed = {key: event[key] for key in ("intent", "current_task") if event.get(key)}
    changed |= {key: event[key] for key in _PAIRS if event.get(key)}
    told = ", ".join(f"{key} {value if isinstance(value, str) else _pairs(value)}" for key, value in changed.items())
    return f"gave a sign of life{': ' if told else ''}{told}"


def _pairs(value: Any) -> str:
    return " ".join(f"{pair.get('type')}:{pair.get('value')}" for pair in value if isinstance(pair, dict))


def _because(event: Json) -> str:
    return f": {event['reason']}" if event.get("reason") else ""


_PAIRS = ("add_scopes", "remove_scopes", "add_refs", "remove_refs")
_WORDS: dict[str, Callable[[Json], str]] = {
    events.MESSAGE_CREATE: _created,
    events.MESSAGE_EDIT: lambda event: f"changed {event['message_id']}: {_text(event)}",
    events.MESSAGE_DELETE: lambda event: f"deleted {event['message_id']}{_because(event)}",
    events.MESSAGE_READ: lambda event: f"read {count(len(event['message_ids']), 'message')}",
    events.THREAD_CREATE: lambda event: f"began the thread {event['thread_id']}: {json.dumps(event['title'])}",
    events.AGENT_REGISTER: lambda event: f"registered as {event['role']}, module {event['module']}",
    events.AGENT_UPDATE: _context,
    events.AGENT_CLEANUP: lambda event: f"deleted the agent {_name(event['agent_id'])}{_because(event)}",
    events.SESSION_START: lambda event: f"began the session {event['session_id']}",
    events.SESSION_UPDATE: _session,
    events.SESSION_END: lambda event: f"ended the session {event['session_id']}{_because(event)}",
    events.PURGE: lambda event: f"purged what was said before {str(event['before'])[:19].replace('T', ' ')}",
}
