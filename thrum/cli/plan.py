"""What a command line means, before anything has happened: a method to call, or something to do in this very process."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from thrum.cli.options import Options
from thrum.errors import GitError, NotARepository, Refused, ThrumError, UsageError
from thrum.git import place
from thrum.git.place import Place

Json = dict[str, Any]
Next = tuple[str, Json]
"""A method and its parameters."""


class Style(NamedTuple):
    """How to write for whoever reads: colours, the terminal's width, how much, and the time it is (nanoseconds)."""

    color: bool = False
    width: int = 80
    verbose: bool = False
    quiet: bool = False
    now: int = 0


def _as_it_is(result: Any) -> Any:
    return result


def _nothing(result: Any) -> None:
    return None


def _silent(result: Any, style: Style) -> str:
    return ""


def _put_under_sync(result: Any, answer: Any) -> Any:
    return {**result, "sync": answer}


def _success(result: Any) -> int:
    return 0


class Plan(NamedTuple):
    """One method to call, and what becomes of its result."""

    method: str
    params: Json
    render: Callable[[Any, Style], str]
    then: Callable[[Any], Next | None] = _nothing
    """A further call, asked for again until it is None; `merge` puts its result into the first one's."""
    after: Callable[[Any], Next | None] = _nothing
    """A call to make once the output has really been written."""
    exit_code: Callable[[Any], int] = _success
    shape: Callable[[Any], Any] = _as_it_is
    """The result as `--json` prints it."""
    complain: Callable[[Any, Style], str] = _silent
    """What goes to stderr beside the output."""
    before: Next | None = None
    """A call that must succeed first; its result is not looked at."""
    merge: Callable[[Any, Any], Any] = _put_under_sync

    def steps(self) -> Generator[Next, Any, Any]:
        """Every call it makes, in order, each answered with its result; the whole result in the end."""
        if self.before is not None:
            yield self.before
        result = yield self.method, self.params
        while (step := self.then(result)) is not None:
            try:
                answer = yield step
            except ThrumError as error:
                if step[0] != "sync.force":
                    raise
                answer = {"ok": False, "error": str(error), "hint": error.hint}  # what came before has happened
            result = self.merge(result, answer)
        return result


class Local(NamedTuple):
    """What must run in the caller's own process: it sets up, starts, repairs."""

    run: Callable[[Options], int]


class Said(NamedTuple):
    """A text that is the whole answer, e.g. a help page."""

    text: str


Meaning = Plan | Local | Said


class NeedsInputError(ThrumError):
    """The command wants the caller's standard input, which is not at hand here."""


@dataclass
class Calling:
    """The surroundings of one command line while it is parsed; every command finds it in its context."""

    read: Callable[[], bytes] | None = None
    """Reads standard input to its end; None when it belongs to another process."""
    environ: Mapping[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=Options)
    cwd: str = ""

    def path(self, word: str) -> str:
        """A file the user named, from the top of its worktree: seen from where the user stands, else from the top."""
        here, seen = _find(self.cwd), os.path.normpath(os.path.join(os.path.realpath(self.cwd), word))
        is_exact = os.path.isabs(word) or word.startswith(".")
        top = here and place.top_of(seen, place.worktrees(here) if is_exact else [here])
        return os.path.relpath(seen, top) if top and (is_exact or os.path.lexists(seen)) else word

    def input(self) -> str:
        """What stands in standard input. Raises NeedsInputError, UsageError when it is no UTF-8."""
        if self.read is None:
            raise NeedsInputError("the text comes from standard input")
        try:
            return self.read().decode()
        except UnicodeDecodeError as error:
            raise UsageError(
                f"standard input is no UTF-8 text: byte {error.start} is wrong", "convert it, e.g. with iconv"
            ) from error


def _find(cwd: str) -> Place | None:
    try:
        return place.find(cwd) if cwd else None
    except (NotARepository, GitError, Refused):
        return None
