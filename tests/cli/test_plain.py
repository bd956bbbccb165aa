"""The short way through typer gives what the long way gives."""

from typing import Annotated

import pytest
import typer

from thrum.cli import app, plain
from thrum.cli.commands import COMMANDS, Command
from thrum.errors import ThrumError

ENTRIES = {
    f"{group} {name}".strip(): each
    for first, entry in COMMANDS.items()
    for group, name, each in (
        [(first, own, each) for own, each in entry.items()] if isinstance(entry, dict) else [("", first, entry)]
    )
    if isinstance(each, Command)
}


@pytest.fixture
def long_way(monkeypatch):
    """Commands that ask typer about every option of every line."""

    def make(name):
        with monkeypatch.context() as patch:
            patch.setattr(plain, "_may_be_left_out", lambda parameter: False)
            return app.command.__wrapped__(name.split()[-1], ENTRIES[name])

    return make


def words_for(parameter):
    """The parameter, given."""
    option = max(getattr(parameter, "opts", []), key=len)
    if not option.startswith("-"):
        return ["7"]
    return [option] if getattr(parameter, "is_flag", False) else [option, "7"]


def lines_for(command):
    """What must be given; then with each of the options, one after another, and again without."""
    needed = [word for one in command.params if getattr(one, "required", False) for word in words_for(one)]
    for parameter in command.params:
        yield [*words_for(parameter), *needed] if parameter.opts[0].startswith("-") else needed
        yield needed


def read(command, line):
    """What typer makes of a line: the values, and where each is from; or its complaint."""
    try:
        context = command.make_context("x", list(line))
    except (ThrumError, app._Complaint, app._HelpWantedError) as complaint:
        return type(complaint), str(complaint)
    return context.params, {name: context.get_parameter_source(name) for name in context.params}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_line_means_the_same(name, long_way):
    short, long = app.command.__wrapped__(name.split()[-1], ENTRIES[name]), long_way(name)
    for line in lines_for(long):
        assert read(short, line) == read(long, line), line


def test_options_that_are_left_out_are_asked_about_once(monkeypatch):
    command = app.command.__wrapped__("send", ENTRIES["send"])
    quick = [one.handle_parse_result for one in command.params if isinstance(one.handle_parse_result, plain.Absent)]
    assert len(quick) > 5
    asked = []
    for one in quick:
        usual = one._usual
        monkeypatch.setattr(one, "_usual", lambda *a, usual=usual: asked.append(1) or usual(*a))
    for _ in range(3):
        read(command, ["hello"])
    assert len(asked) == len(quick)


def lightened(function):
    made = typer.Typer(add_completion=False)
    made.command()(function)
    return plain.lighten(typer.main.get_command(made))


def test_a_value_that_a_command_may_change_is_made_anew_for_each_line():
    def add(words: Annotated[list[str], typer.Option()] = []):  # noqa: B006
        words.append("mine")

    command = lightened(add)
    for one in command.params:
        one._runtime_param = None  # typer's own way makes lists
    for _ in range(3):
        words = command.make_context("x", []).params["words"]
        assert words in ([], ())
        add(words) if isinstance(words, list) else None


def test_what_else_may_decide_is_asked_every_time(monkeypatch):
    def say(word: Annotated[str, typer.Option()] = "usual", loud: Annotated[str, typer.Option(envvar="LOUD")] = ""):
        return word, loud

    command = lightened(say)
    values = lambda **more: command.make_context("x", [], **more).params  # noqa: E731
    assert values() == values() == {"word": "usual", "loud": ""}
    assert values(default_map={"word": "mapped"})["word"] == "mapped"
    monkeypatch.setenv("X_WORD", "around")
    assert values(auto_envvar_prefix="X")["word"] == "around"
    monkeypatch.setenv("LOUD", "yes")
    assert values() == {"word": "usual", "loud": "yes"}
