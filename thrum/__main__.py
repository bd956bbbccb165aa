"""Start here: the whole program, and the one place where errors become words."""

from __future__ import annotations

import os
import sys

from thrum import door

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Sequence

    from thrum.cli.answer import Output
    from thrum.cli.options import Options
    from thrum.cli.plan import Plan
    from thrum.git.place import Place

BUG = 3
_TRACES = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    request = os.urandom(8).hex()
    try:
        door.hold_standard_files()
        code = door.hand_over(words, request)
    except KeyboardInterrupt:
        return door.INTERRUPTED
    return run(words, request) if code is None else code


def run(words: list[str], request: str) -> int:
    """Runs a command line that no daemon has taken, under the name of that attempt; its exit code."""
    try:
        return _run(words, request)
    except KeyboardInterrupt:
        return door.INTERRUPTED
    except BrokenPipeError:
        return 1
    except OSError as error:
        return _blame(error, words)
    except Exception as error:  # whatever else it is, it is our fault
        return _confess(error, words)


def _run(argv: list[str], request: str) -> int:
    """The whole program, in this process."""
    door.find_libraries()
    import signal

    from thrum import client
    from thrum.cli import answer, app, options
    from thrum.cli.plan import Local, Said
    from thrum.errors import ThrumError

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    said = options.guess(argv)
    is_wait = False
    try:
        meant, said = app.plan(argv, client.spoken, os.environ, _cwd())
        if isinstance(meant, Local):
            return meant.run(said)
        if isinstance(meant, Said):
            return _put(answer.help_output(meant))
        is_wait = meant.method == answer.WAIT
        return _carry_out(answer.numbered(meant, request), said)
    except ThrumError as error:
        return _put(answer.refuse(error, said, is_wait=is_wait))


def _interrupt(number: int, _frame: object) -> None:
    from thrum import client

    client.interrupts.append(number)
    raise KeyboardInterrupt


def _carry_out(plan: Plan, options: Options) -> int:
    """Makes the plan's calls, writes what came of them, and only then does what is to come after."""
    import time

    from thrum import client
    from thrum.cli import answer
    from thrum.config import Settings
    from thrum.errors import ThrumError
    from thrum.git import place

    began = time.monotonic()
    claim = answer.claim_for(options, _cwd(), os.environ)
    here = place.find(claim.cwd)
    inside = client.InProcess(here, Settings.load(here.common_dir, here.worktree, os.environ), claim, began)
    try:
        result = inside.run(plan)
        style = answer.style_for(options, os.environ, *door.terminal())
        output = answer.compose(plan, options, style, result)
        output = answer.with_timing(output, options, time.monotonic() - began, "in this process")
        code = _put(output)
        if output.after is not None and code == output.exit:
            try:
                inside.call(*output.after)
            except ThrumError:
                return code  # it stays unread, which is the safe side
    finally:
        inside.close()
    if plan.method == "sync.force":
        _pack(here)
    return code


def _pack(here: Place) -> None:
    """Packs our objects where no daemon does, before git itself would tidy. The answer has been written already."""
    from thrum.errors import ThrumError
    from thrum.git import packing

    try:
        if packing.is_due(here, share=1.0):
            packing.pack(here)
    except (ThrumError, OSError):
        return  # it is a help and no promise


def _put(output: Output) -> int:
    return output.exit if door.write(output.stdout, output.stderr) else 1


def _cwd() -> str:
    from thrum.errors import NotARepository

    try:
        return os.getcwd()
    except OSError:
        raise NotARepository("the current directory is gone", "cd into a git repository") from None


def _blame(error: OSError, argv: list[str]) -> int:
    """Where the machine is at fault, that is said; anything else is a bug of ours."""
    from thrum.cli import answer, options
    from thrum.errors import ThrumError
    from thrum.store import disk

    try:
        with disk.blamed():
            raise error
    except ThrumError as refusal:
        return _put(answer.refuse(refusal, options.guess(argv)))
    except OSError:
        return _confess(error, argv)


def _confess(error: Exception, argv: list[str]) -> int:
    """A bug of ours: a trace for us, two lines for the user."""
    door.find_libraries()
    import traceback

    from thrum import __version__
    from thrum.cli import answer, options
    from thrum.errors import ThrumError

    class Internal(ThrumError):
        code = -32603
        exit_code = BUG

    text = f"git thrum {__version__}, Python {sys.version}\n\n" + "".join(traceback.format_exception(error))
    path = _keep(text)
    what = f"{type(error).__name__}: {error}"[:300]
    refusal = Internal(f"this is a bug of ours: {what}", f"report it, with {path}" if path else "report it")
    return _put(answer.refuse(refusal, options.guess(argv)))


def _keep(text: str) -> str:
    """Where the trace was written; "" when nowhere."""
    import tempfile
    import time

    from thrum import config
    from thrum.errors import ThrumError

    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder = f"{config.state_dir()}/traces"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for old in sorted(os.listdir(folder))[: -_TRACES + 1]:
            os.unlink(f"{folder}/{old}")
    except (OSError, ThrumError):
        folder = tempfile.gettempdir()
    path = f"{folder}/git-thrum-{name}"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            file.write(text)
    except OSError:
        return ""
    return path


if __name__ == "__main__":
    raise SystemExit(main())
