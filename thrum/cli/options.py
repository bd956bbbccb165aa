"""The options that every command has, wherever they stand on the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from thrum.cli.commands import GROUPS
from thrum.errors import UsageError

FLAGS = ("--json", "--quiet", "--verbose")
VALUED = ("--repo", "--role", "--module", "--name")
HELP = ("-h", "--help")
_WHO = ("--role", "--module", "--name")
OWN = {
    ("quickstart",): _WHO,
    ("agent", "register"): _WHO,
    ("agent", "list"): ("--role", "--module"),
}
"""Commands for which some of these words mean something of their own."""


class Options(NamedTuple):
    """What was said for all commands alike; "" says nothing."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    repo: str = ""
    role: str = ""
    module: str = ""
    name: str = ""


def hoist(argv: Sequence[str]) -> list[str]:
    """`argv` with the general options in front, as `--opt` and `--opt=value`; those a command has for itself behind it.

    Nothing behind `--` is touched. Raises UsageError when an option lacks its value.
    """
    words, tail = _divide(argv)
    general, rest = _separate(words)
    command = _command(rest)
    own = OWN.get(command, ())
    theirs = [word for word in general if word.partition("=")[0] in own]
    front = [word for word in general if word not in theirs]
    at = _end_of(command, rest)
    return [*front, *rest[:at], *theirs, *rest[at:], *tail]


def read(hoisted: Sequence[str]) -> Options:
    """The options at the front of a hoisted line; the last of several wins."""
    said: dict[str, str | bool] = {}
    for word in hoisted:
        name, equals, value = word.partition("=")
        if name in VALUED and equals:
            said[name[2:]] = value
        elif word in FLAGS:
            said[name[2:]] = True
        else:
            break
    return Options(**said)  # type: ignore[arg-type]


def guess(argv: Sequence[str]) -> Options:
    """The options of a line that may make no sense: enough to say so in the form that was asked for."""
    try:
        return read(hoist(argv))
    except UsageError:
        return Options(json="--json" in argv, quiet="--quiet" in argv)


def _divide(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    words = list(argv)
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at:]


def _separate(words: list[str]) -> tuple[list[str], list[str]]:
    """The general options, valued ones in one word, and everything else."""
    general, rest = [], []
    waiting = iter(words)
    for word in waiting:
        name, equals, _ = word.partition("=")
        if word in FLAGS or (name in VALUED and equals):
            general.append(word)
        elif word in VALUED:
            value = next(waiting, None)
            if value is None:
                raise UsageError(f"{word} needs a value", f"{word} VALUE or {word}=VALUE")
            general.append(f"{word}={value}")
        else:
            rest.append(word)
    return general, rest


def _command(rest: list[str]) -> tuple[str, ...]:
    """The words that name the command: one, or two where the first is a group."""
    named = [word for word in rest if not word.startswith("-")][:2]
    return tuple(named) if named[:1] and named[0] in GROUPS else tuple(named[:1])


def _end_of(command: tuple[str, ...], rest: list[str]) -> int:
    """How many words of `rest` lead up to the command's name and include it."""
    at = 0
    for name in command:
        at = rest.index(name, at) + 1
    return at
