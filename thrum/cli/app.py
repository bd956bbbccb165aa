"""The typer application: its commands are looked up in a table and imported one at a time."""

from __future__ import annotations

import functools
import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from thrum.cli import commands
from thrum.cli.commands import COMMANDS, GROUPS, Command, Table, says
from thrum.cli.options import HELP, Options, hoist, read
from thrum.cli.plain import lighten, lighten_one
from thrum.cli.plan import Calling, Local, Meaning, Plan, Said
from thrum.errors import UsageError

_Complaint: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_CONTEXT = {"help_option_names": list(HELP)}
NAME = "git thrum"
COMPLETE = "_GIT_THRUM_COMPLETE"
"""The variable by which a shell asks for completions."""
_MAKE: dict[str, Any] = {"add_completion": False, "pretty_exceptions_enable": False, "rich_markup_mode": None}


class _HelpWantedError(Exception):
    """Somebody asked for help; `args[0]` is the text."""


def _show(context: Any, parameter: Any, value: bool) -> None:
    if value and not context.resilient_parsing:
        raise _HelpWantedError(context.get_help() + "\n")


def _help_that_returns(found: Any) -> Any:
    """The help option, made to hand its text back instead of printing it."""
    if found is not None:
        found.callback = _show
        lighten_one(found)
    return found


class _Kept:
    """Keeps its parser, which would be built anew for every line; lines are parsed one at a time."""

    _parser: Any = None

    def make_parser(self, ctx: Any) -> Any:
        """The parser, for this line."""
        if self._parser is None:
            self._parser = super().make_parser(ctx)  # type: ignore[misc]  # of the command it is mixed into
        self._parser.ctx = ctx
        return self._parser


class OneCommand(_Kept, TyperCommand):
    """A command that hands its help back, and completes to the general options, too."""

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """What `incomplete` may become."""
        own = super().shell_complete(ctx, incomplete)
        return [*own, *root().shell_complete(ctx.find_root(), incomplete)] if incomplete.startswith("-") else own

    def get_help_option(self, ctx: Any) -> Any:
        """The help option."""
        return _help_that_returns(super().get_help_option(ctx))


class Commands(_Kept, TyperGroup):
    """A group whose commands are imported when they are asked for."""

    table: Table = COMMANDS

    def get_help_option(self, ctx: Any) -> Any:
        """The help option."""
        return _help_that_returns(super().get_help_option(ctx))

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the table's order."""
        return list(self.table)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, built."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        return _group(cmd_name) if isinstance(entry, dict) else command(cmd_name, entry)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list for the help page, from the table alone."""
        shown = [(name, _short(name, entry)) for name, entry in self.table.items() if not _is_hidden(entry)]
        with formatter.section("Commands"):
            formatter.write_dl(shown)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is meant. Raises UsageError with the nearest names."""
        if args[0] not in self.table and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise UsageError(f"there is no command {args[0]!r}", _nearest(args[0], self.table, ctx.command_path))
        return super().resolve_command(ctx, args)


INTERRUPTED = 130


def plan(
    argv: Sequence[str],
    read_input: Callable[[], bytes] | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: str = "",
) -> tuple[Meaning, Options]:
    """What a command line means, and the options all commands share. Raises UsageError, NeedsInputError.

    `read_input` reads standard input; None where it belongs to another process.
    """
    line = hoist(_spelled_out(argv))
    options = read(line)
    if COMPLETE in os.environ:
        importlib.import_module("typer.completion").completion_init()  # typer keeps it to itself
    calling = Calling(read_input, environ or {}, options, os.path.join(cwd, options.repo))
    try:
        meant = root().main(line, prog_name=NAME, complete_var=COMPLETE, standalone_mode=False, obj=calling)
    except _HelpWantedError as wanted:
        meant = Said(wanted.args[0])
    except _Complaint as complaint:
        raise _explain(complaint) from complaint
    if meant == INTERRUPTED:  # typer keeps the interrupt to itself
        raise KeyboardInterrupt
    if not isinstance(meant, Plan | Local | Said):
        raise TypeError(f"a command must return a plan, not {meant!r}")
    return meant, options


def _spelled_out(argv: Sequence[str]) -> list[str]:
    """`help` and `--version` as the commands they stand for."""
    words = list(argv)
    if words[:1] == ["help"]:
        return [*words[1:], "--help"]
    return ["version"] if words[:1] == ["--version"] else words


def warm_up() -> None:
    """Builds every command once, so that the first to be run need not wait for it."""
    root()
    for name, entry in COMMANDS.items():
        if isinstance(entry, dict):
            _group(name)
        for own, each in (entry if isinstance(entry, dict) else {name: entry}).items():
            if isinstance(each, Command):
                command(own, each)


@functools.cache
def root() -> Any:
    """`git thrum` itself."""
    app = typer.Typer(cls=Commands, context_settings=_CONTEXT, **_MAKE)
    app.callback(invoke_without_command=True)(general)
    return lighten(typer.main.get_command(app))


def general(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Answer with one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on success but what was asked for.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Say more: absolute times, all details.")] = False,
    repo: Annotated[str, typer.Option("--repo", metavar="PATH", help="Work in this repository or worktree.")] = "",
    role: Annotated[
        str, typer.Option("--role", metavar="ROLE", help="Be the agent of this worktree with this role.")
    ] = "",
    module: Annotated[str, typer.Option("--module", metavar="MODULE", help="Be the one that works on this.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Be the agent of this name.")] = "",
) -> Meaning | None:
    """Mail, presence and coordination for coding agents, kept in the git repository they work in.

    The options below may stand anywhere on the line, before `--`.
    """
    if context.invoked_subcommand is None:
        return Said(context.get_help() + "\n")
    return None


@functools.cache
def _group(name: str) -> Any:
    entry = COMMANDS[name]

    class Group(Commands):
        table = entry if isinstance(entry, dict) else {}

    app = typer.Typer(cls=Group, name=name, context_settings=_CONTEXT, **_MAKE)

    def alone(context: typer.Context) -> Meaning | None:
        if context.invoked_subcommand is None:
            raise UsageError(
                f"git thrum {name} needs a command: {', '.join(_shown(Group.table))}", _see(context.command_path)
            )
        return None

    app.callback(invoke_without_command=True, help=GROUPS[name])(alone)
    return lighten(typer.main.get_command(app))


_WRAPPED = re.compile(r"(?<=\S)\n[ ]+(?=\S)")
"""A line that goes on in the next one, which is indented as the docstring is."""


@functools.cache
def command(name: str, entry: Command) -> Any:
    """A command, built."""
    module, _, attribute = entry.where.partition(":")
    function = getattr(importlib.import_module(f"thrum.cli.{module}"), attribute)
    more = _WRAPPED.sub("\n", (function.__doc__ or "").strip())
    app = typer.Typer(**_MAKE)
    app.command(name, cls=OneCommand, context_settings=_CONTEXT, help=f"{says(entry.help)}\n\n{more}")(function)
    return lighten(typer.main.get_command(app))


def _short(name: str, entry: Command | Table) -> str:
    return GROUPS[name] if isinstance(entry, dict) else says(entry.help)


def _is_hidden(entry: Command | Table) -> bool:
    return isinstance(entry, commands.Command) and entry.hidden


def _shown(table: Table) -> list[str]:
    return [name for name, entry in table.items() if not _is_hidden(entry)]


def _nearest(word: str, table: Table, path: str) -> str:
    near = get_close_matches(word, _shown(table), 3, 0.5)
    return f"did you mean {' or '.join(near)}? {_see(path)}" if near else _see(path)


def _see(path: str) -> str:
    return f"{path} {'-h' if path == NAME else '--help'}"


def _explain(complaint: Exception) -> UsageError:
    """typer's complaint in our form."""
    context = getattr(complaint, "ctx", None)
    said = complaint.format_message() if hasattr(complaint, "format_message") else str(complaint)
    said = said[:1].lower() + said[1:]
    return UsageError(said.rstrip("."), _see(context.command_path if context else NAME))
