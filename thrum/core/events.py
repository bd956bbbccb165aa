"""What can happen: the types of event, and which fields each must and may have.

An event is a JSON object with `type`, `timestamp` and `event_id`. Types and fields that are not listed here belong to
another version of thrum: they are kept, they travel, and they have no effect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from thrum.core import ids
from thrum.core.codec import EXACT, BadLine, Event, decode
from thrum.core.layout import parse_path

Fields = dict[str, type]

MESSAGE_CREATE = "message.create"
MESSAGE_EDIT = "message.edit"
MESSAGE_DELETE = "message.delete"
MESSAGE_READ = "message.read"
THREAD_CREATE = "thread.create"
AGENT_REGISTER = "agent.register"
AGENT_UPDATE = "agent.update"
AGENT_CLEANUP = "agent.cleanup"
SESSION_START = "agent.session.start"
SESSION_UPDATE = "agent.session.update"
SESSION_END = "agent.session.end"
PURGE = "log.purge"

EAGER = frozenset({MESSAGE_CREATE, MESSAGE_EDIT, MESSAGE_DELETE, THREAD_CREATE, AGENT_REGISTER, AGENT_CLEANUP, PURGE})
"""What wants to travel at once; everything else rides along with the next cycle."""

_REQUIRED: dict[str, Fields] = {
    MESSAGE_CREATE: {"message_id": str, "agent_id": str, "body": dict},
    MESSAGE_EDIT: {"message_id": str, "body": dict},
    MESSAGE_DELETE: {"message_id": str},
    MESSAGE_READ: {"agent_id": str, "message_ids": list},
    THREAD_CREATE: {"thread_id": str, "title": str, "created_by": str},
    AGENT_REGISTER: {"agent_id": str, "kind": str, "role": str, "module": str},
    AGENT_UPDATE: {"agent_id": str, "work_contexts": list},
    AGENT_CLEANUP: {"agent_id": str},
    SESSION_START: {"session_id": str, "agent_id": str},
    SESSION_UPDATE: {"session_id": str, "agent_id": str},
    SESSION_END: {"session_id": str},
    PURGE: {"agent_id": str, "before": str, "lines": dict},
}

_OPTIONAL: Fields = {
    "agent_id": str,
    "message_id": str,
    "created_by": str,
    "title": str,
    "kind": str,
    "role": str,
    "module": str,
    "session_id": str,
    "thread_id": str,
    "scopes": list,
    "refs": list,
    "to": list,
    "message_ids": list,
    "everyone": bool,
    "priority": str,
    "request_id": str,
    "authored_by": str,
    "disclosed": bool,
    "reason": str,
    "display": str,
    "name": str,
    "worktree": str,
    "version": int,
    "intent": str,
    "current_task": str,
    "add_scopes": list,
    "remove_scopes": list,
    "add_refs": list,
    "remove_refs": list,
    "lines": dict,
    "roots": list,
    "origin": str,
    "seq": int,
    "prev": str,
}

_NAMES = ("agent_id", "message_id", "thread_id", "session_id", "created_by")
_LONGEST_NAME = 200
_PAIR_LISTS = frozenset(("scopes", "refs", "add_scopes", "remove_scopes", "add_refs", "remove_refs"))
_CONTEXT_TEXTS = ("session_id", "branch", "git_updated_at", "current_task", "intent")
_CONTEXT_LISTS = ("unmerged_commits", "uncommitted_files", "changed_files")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*\Z")
_NONE = type(None)
_TEXT = frozenset((str,))
_TEXT_OR_NONE = (str, _NONE)
_Look = Callable[[str, Any], None]


def parse(line: bytes) -> Event:
    """The event on `line`, checked. Raises BadLine when it is none, or a known field has the wrong type."""
    event = decode(line)
    check(event)
    return event


def check(event: Event) -> None:
    """Raises BadLine unless `event` has the common fields, and the fields its type asks for, with their types."""
    kind = event.get("type")
    if type(kind) is not str or type(event.get("timestamp")) is not str:
        raise BadLine("no type or no timestamp")
    event_id = event.get("event_id")
    if not event_id:
        event["event_id"] = _backfill(event, kind)
    elif type(event_id) is not str:
        raise BadLine("event_id is no text")
    if kind in _REQUIRED:
        fault, names, nested = _shape(kind, tuple(event), tuple(map(type, event.values())))
        if fault:
            raise BadLine(fault)
        for field in names:
            if not event[field]:
                raise BadLine(f"{field} is empty")
        for field, check_inside in nested:
            check_inside(field, event[field])


class _Shape(NamedTuple):
    """What is wrong with events of one shape, whatever they say; and which of their fields need a look inside."""

    fault: str
    names: tuple[str, ...] = ()
    nested: tuple[tuple[str, _Look], ...] = ()


@lru_cache(maxsize=1024)
def _shape(kind: str, fields: tuple[str, ...], found: tuple[type, ...]) -> _Shape:
    """The shape of an event with these fields of these types. The events of a log have few shapes."""
    required = _REQUIRED[kind]
    for field in required:
        if field not in fields:
            return _Shape(f"{field} is missing")
    wanted = {**_OPTIONAL, **required}
    known = [(field, is_type) for field, is_type in zip(fields, found, strict=True) if field in wanted]
    for field, is_type in known:
        if is_type is not wanted[field] and (field in required or is_type is not _NONE):
            return _Shape(f"{field} is of the wrong type")
    names = tuple(field for field in required if field in _NAMES)
    looks = ((field, _look_inside(field, is_type)) for field, is_type in known)
    return _Shape("", names, tuple((field, look) for field, look in looks if look is not None))


def _look_inside(field: str, is_type: type) -> _Look | None:
    """What checks the inside of a field of this type, if anything does."""
    if field in _PAIR_LISTS and is_type is list:
        return _check_pairs
    if is_type is int:
        return _check_number
    return _LOOKS.get(field) if is_type in (dict, list) else None


def _check_number(field: str, value: int) -> None:
    if not 0 <= value <= EXACT:
        raise BadLine(f"{field} is out of range")


def _check_addresses(field: str, items: list[Any]) -> None:
    for word in items:
        if type(word) is not str or not _is_address(word):
            raise BadLine(f"{field} is no list of agents")


def _check_words(field: str, items: list[Any]) -> None:
    if not set(map(type, items)) <= _TEXT:
        raise BadLine(f"{field} is no list of texts")


def _is_address(word: str) -> bool:
    """Whether a message may be filed under `word` as an agent's id: `*` and `@` begin addresses of another kind."""
    return 0 < len(word) <= _LONGEST_NAME and word[0] not in "*@"


def _check_pairs(field: str, pairs: list[Any]) -> None:
    for pair in pairs:
        if type(pair) is not dict or type(pair.get("type")) is not str or type(pair.get("value")) is not str:
            raise BadLine(f"{field} is no list of type and value")


def _check_body(field: str, body: dict[str, Any]) -> None:
    if type(body.get("content")) is not str:
        raise BadLine(f"{field}.content is no text")
    if type(body.get("format")) not in _TEXT_OR_NONE or type(body.get("structured")) not in _TEXT_OR_NONE:
        raise BadLine(f"{field}.format or .structured is no text")


def _check_contexts(_: str, contexts: list[Any]) -> None:
    for context in contexts:
        if type(context) is not dict:
            raise BadLine("work_contexts is no list of objects")
        for field in _CONTEXT_TEXTS:
            if not isinstance(context.get(field), (str, _NONE)):
                raise BadLine(f"work_contexts.{field} is no text")
        for field in _CONTEXT_LISTS:
            if not isinstance(context.get(field), (list, _NONE)):
                raise BadLine(f"work_contexts.{field} is no list")
        _check_commits(context.get("unmerged_commits") or ())
        for field in _CONTEXT_LISTS[1:]:
            if not all(type(name) is str for name in context.get(field) or ()):
                raise BadLine(f"work_contexts.{field} is no list of texts")


def _check_marks(field: str, lines: dict[str, Any]) -> None:
    for path, marks in lines.items():
        if parse_path(path) is None or type(marks) is not str or len(marks) % 12 or not _BASE64.match(marks):
            raise BadLine(f"{field} names no lines of a log")


def _check_commits(commits: list[Any] | tuple[()]) -> None:
    for commit in commits:
        if type(commit) is not dict or type(commit.get("sha")) is not str:
            raise BadLine("unmerged_commits is no list of commits")
        if not isinstance(commit.get("files"), (list, _NONE)):
            raise BadLine("unmerged_commits.files is no list")


_LOOKS: dict[str, _Look] = {
    "body": _check_body,
    "work_contexts": _check_contexts,
    "to": _check_addresses,
    "message_ids": _check_words,
    "lines": _check_marks,
    "roots": _check_words,
}


def _backfill(event: Event, kind: str) -> str:
    entity = _entity(event, kind)
    made = ids.backfilled_event_id(kind, event["timestamp"], entity) if isinstance(entity, str) else None
    if made is None:
        raise BadLine("no event_id")
    return made


def _entity(event: Event, kind: str) -> Any:
    if kind.startswith("message."):
        return event.get("message_id", "")
    if kind == THREAD_CREATE:
        return event.get("thread_id", "")
    if kind in (AGENT_REGISTER, AGENT_UPDATE):
        return event.get("agent_id", "")
    if kind.startswith("agent."):
        return event.get("session_id", "")
    return event["timestamp"]
