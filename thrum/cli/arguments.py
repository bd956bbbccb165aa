"""Options that several commands share, and how their words become parameters."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from thrum.cli.plan import Calling
from thrum.errors import UsageError

Json = dict[str, Any]

Scopes = Annotated[
    list[str] | None, typer.Option("--scope", metavar="TYPE:VALUE", help="What it is about; repeatable.")
]
Refs = Annotated[list[str] | None, typer.Option("--ref", metavar="TYPE:VALUE", help="What it points to; repeatable.")]
Scope = Annotated[str, typer.Option("--scope", metavar="TYPE:VALUE", help="Only what is about this.")]
Format = Annotated[str, typer.Option("--format", metavar="FORMAT", help="markdown, plain or json.")]
Priority = Annotated[str, typer.Option("--priority", metavar="PRIORITY", help="low, normal, high or critical.")]
Structured = Annotated[str, typer.Option("--structured", metavar="JSON", help="A JSON object for programs.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Read the text from standard input, as `-` does.")]
RequestId = Annotated[str, typer.Option("--request-id", metavar="ID", help="The same id twice is one message.")]
WaitSync = Annotated[bool, typer.Option("--wait-sync", help="Return when the remote has it; 1 if it has not.")]
PageSize = Annotated[
    int, typer.Option("--page-size", "--limit", metavar="N", min=1, help="How many to show, at most 100.")
]
Page = Annotated[int, typer.Option("--page", metavar="N", min=1, help="Which page of them.")]
Role = Annotated[str, typer.Option("--role", metavar="ROLE", help="What it does, e.g. reviewer. [THRUM_ROLE]")]
Module = Annotated[str, typer.Option("--module", metavar="MODULE", help="What it works on, e.g. auth. [THRUM_MODULE]")]
Name = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Its name; made from role and module if not given. [THRUM_NAME]")
]
Display = Annotated[str, typer.Option("--display", metavar="TEXT", help="Its name for people. [THRUM_DISPLAY]")]
SessionId = Annotated[str, typer.Option("--session-id", metavar="ID", help="Another session than the open one.")]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def calling(context: typer.Context) -> Calling:
    """The surroundings of the command line that is being parsed."""
    found = context.obj
    if not isinstance(found, Calling):
        raise TypeError("a command was run without its surroundings")
    return found


def pairs(option: str, words: list[str] | None) -> list[Json]:
    """`type:value` words as the pairs of scopes and refs. Raises UsageError."""
    return [pair(option, word) for word in words or ()]


def pair(option: str, word: str) -> Json:
    """One `type:value` word. Raises UsageError."""
    kind, colon, value = word.partition(":")
    if not colon or not kind or not value:
        raise UsageError(f"{option} {word!r} is not type:value", f"for instance {option} module:auth")
    return {"type": kind, "value": value}


def structured(text: str) -> Json | None:
    """A JSON object given on the command line. Raises UsageError."""
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--structured is no JSON: {error}", """for instance --structured '{"pr": 42}'""") from None
    if not isinstance(value, dict):
        raise UsageError("--structured must be a JSON object", """for instance --structured '{"pr": 42}'""")
    return value


def seconds(word: str) -> float:
    """`30s`, `5m`, `1h30m`, `300ms`, or plain seconds. Raises UsageError."""
    parts = list(_DURATION.finditer(word))
    is_compound = parts and "".join(part.group() for part in parts) == word
    try:
        value = sum(float(part[1]) * _SECONDS[part[2]] for part in parts) if is_compound else float(word)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise UsageError(f"{word!r} is no length of time", "for instance 30s, 5m, 1h30m, 300ms, or 30")
    return value


def given(**params: Any) -> Json:
    """The parameters that were really given: what says nothing is left to the method's own default."""
    return {name: value for name, value in params.items() if value not in (None, "", [], False)}
