"""Types of parameters and results, in words and as JSON Schema."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

Schema = dict[str, Any]
_PLAIN = {
    str: ("text", "string"),
    int: ("whole number", "integer"),
    float: ("number", "number"),
    bool: ("bool", "boolean"),
}


def in_words(kind: Any) -> str:
    """A type as people read it: `list of text`."""
    several = _choices(kind)
    if len(several) > 1:
        return " or ".join(in_words(one) for one in several)
    one = several[0]
    if typing.get_origin(one) is list:
        return f"list of {in_words(typing.get_args(one)[0])}"
    if hasattr(one, "_fields"):
        return "{" + ", ".join(one._fields) + "}"
    return _PLAIN[one][0] if one in _PLAIN else "object"


def of(kind: Any) -> Schema:
    """A type as JSON Schema."""
    several = _choices(kind)
    if len(several) > 1:
        return {"oneOf": [of(one) for one in several]}
    one = several[0]
    if typing.get_origin(one) is list:
        return {"type": "array", "items": of(typing.get_args(one)[0])}
    if hasattr(one, "_fields"):
        return _record(one)
    return {"type": _PLAIN[one][1] if one in _PLAIN else "object"}


def of_result(details: str) -> Schema:
    """What a docstring says is given back: the first `{field, field?}` in it."""
    names = fields(details)
    if not names:
        return {"type": "object"}
    required = [name for name in names if not name.endswith("?")]
    schema: Schema = {"type": "object", "properties": {name.rstrip("?"): {} for name in names}}
    return {**schema, "required": required} if required else schema


def fields(details: str) -> list[str]:
    """The names in the first `{...}` of a text, without what is nested in them; an optional one ends with `?`."""
    start = details.find("{")
    depth, pieces = 0, [""]
    for character in details[start:] if start >= 0 else "":
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(character, 0)
        if depth == 0:
            break
        if character == "," and depth == 1:
            pieces.append("")
        elif depth == 1 and character != "{":
            pieces[-1] += character
    matches = [re.match(r"\W*([a-z_]+\??)", piece) for piece in pieces]
    return [match[1] for match in matches if match]


def _record(kind: Any) -> Schema:
    hints = typing.get_type_hints(kind)
    required = [name for name in kind._fields if name not in kind._field_defaults]
    schema: Schema = {"type": "object", "properties": {name: of(hints[name]) for name in kind._fields}}
    return {**schema, "required": required} if required else schema


def _choices(kind: Any) -> list[Any]:
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return [one for one in (typing.get_args(kind) if is_union else (kind,)) if one is not type(None)]
