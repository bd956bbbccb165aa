"""docs/reference/cli.md: every command."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate import declared, words
from docs.generate.declared import Described, Word
from docs.generate.text import code, document, table

INTRODUCTION = """\
# The command line

`git thrum -h` lists the commands, `git thrum COMMAND -h` explains one. Every command takes `--json`, and answers then with
exactly one JSON document on standard output, for refusals too: `{"error": {"code", "kind", "message", "hint"}}`. A message
or a name is a unique beginning of its id wherever an id is asked for."""


def page() -> str:
    """The whole page."""
    return document(
        INTRODUCTION,
        "## Options that every command has\n\nThey may stand anywhere on the line, before `--`.",
        _words(declared.general()),
        "## Who you are\n\n" + words.IDENTITY,
        table(("variable", "meaning"), [(code(name), about) for name, about in words.ENVIRONMENT]),
        "## Exit codes",
        table(("code", "meaning"), words.EXIT_CODES),
        "## Settings\n\n`git config thrum.interval 30`, in one repository, one worktree or for all of yours (`--global`).",
        table(("setting", "meaning"), [(code(name), about) for name, about in words.SETTINGS]),
        "## Commands",
        *_commands(),
    )


def _commands() -> Iterator[str]:
    group = ""
    for command in declared.commands():
        first = command.name.split()[0]
        if " " in command.name and first != group:
            yield f"### git thrum {first}\n\n{declared.groups()[first]}"
        group = first
        yield from _command(command)


def _command(command: Described) -> Iterator[str]:
    yield f"{'####' if ' ' in command.name else '###'} git thrum {command.name}"
    yield f"```\n{command.usage}\n```"
    yield from command.paragraphs
    yield _words([*command.arguments, *command.options])
    if command.examples:
        yield "```sh\n" + "\n".join(command.examples) + "\n```"


def _words(those: list[Word]) -> str:
    rows = [
        (code(word.spelling), word.about + (f" (default: {word.default})" if word.default else "")) for word in those
    ]
    return table(("word", "meaning"), rows) if rows else ""
