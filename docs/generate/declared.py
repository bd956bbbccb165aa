"""What the code declares, as data: every command with its arguments and options, every refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from thrum import errors
from thrum.cli import app
from thrum.cli.commands import COMMANDS, GROUPS, Command, Table
from thrum.core import jsonrpc


class Word(NamedTuple):
    """An argument or an option: how it is written, and what it means."""

    spelling: str
    about: str
    default: str = ""


class Described(NamedTuple):
    """A command: its words without `git thrum`, what it takes, what it does, and examples."""

    name: str
    usage: str
    paragraphs: list[str]
    examples: list[str]
    arguments: list[Word]
    options: list[Word]


class Refusal(NamedTuple):
    """A class of refusals: its code on the wire, its name, its sentence, and the exit code of the command line."""

    code: int
    kind: str
    about: str
    exit: int


def commands() -> Iterator[Described]:
    """Every command that is not hidden, in the table's order."""
    for name, entry in COMMANDS.items():
        yield from _below(name, entry)


def groups() -> dict[str, str]:
    """What each group of commands is about."""
    return dict(GROUPS)


def general() -> list[Word]:
    """The options that every command has."""
    return [_option(parameter) for parameter in app.root().params if _is_option(parameter)]


def refusals() -> list[Refusal]:
    """Every class of refusals, by code."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.ThrumError]
    found = [Refusal(k.code, k.__name__, _sentence(k), k.exit_code) for k in kinds]  # type: ignore[attr-defined]
    return sorted(found, key=lambda refusal: (-refusal.code, refusal.kind))


PROTOCOL = [
    (jsonrpc.PARSE_ERROR, "the line is no JSON, or too long"),
    (jsonrpc.INVALID_REQUEST, "the JSON is no request"),
    (jsonrpc.INTERNAL_ERROR, "a mistake of ours; `data.hint` says how to find it in the daemon's log"),
]
"""What JSON-RPC itself refuses: code and meaning."""


def _below(name: str, entry: Command | Table) -> Iterator[Described]:
    if isinstance(entry, dict):
        for own, command in entry.items():
            if isinstance(command, Command) and not command.hidden:
                yield _described(f"{name} {own}", own, command)
    elif not entry.hidden:
        yield _described(name, name, entry)


def _described(name: str, own: str, entry: Command) -> Described:
    command = app.command(own, entry)
    paragraphs, examples = _split(command.help or "")
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [_argument(parameter) for parameter in shown if not _is_option(parameter)]
    options = [_option(parameter) for parameter in shown if _is_option(parameter)]
    usage = " ".join(["git thrum", name, *(["[OPTIONS]"] if options else []), *(word.spelling for word in arguments)])
    return Described(name, usage, paragraphs, examples, arguments, options)


def _split(text: str) -> tuple[list[str], list[str]]:
    """The paragraphs of a help text, and those that are command lines to copy."""
    pieces = [piece.strip() for piece in text.split("\n\n") if piece.strip()]
    examples = [piece for piece in pieces if piece.startswith(("git thrum ", "eval "))]
    return [" ".join(piece.split()) for piece in pieces if piece not in examples], examples


def _is_option(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "option")


def _argument(parameter: Any) -> Word:
    spelling = parameter.metavar or parameter.name.upper()
    return Word(spelling if parameter.required else f"[{spelling}]", parameter.help or "")


def _option(parameter: Any) -> Word:
    names = sorted(parameter.opts, key=len)
    value = "" if parameter.is_flag else f" {parameter.metavar or 'TEXT'}"
    default = str(parameter.default) if parameter.default not in (None, "", False) and not parameter.is_flag else ""
    return Word(", ".join(names) + value, parameter.help or "", default)


def _sentence(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split())
