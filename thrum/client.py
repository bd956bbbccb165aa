"""The door: to the daemon if one answers, else into this process.

The first half is all that runs when a daemon is there, so it imports next to nothing; the second half is the whole program.
"""

from __future__ import annotations

import os
import sys

from thrum import __version__

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from thrum.cli.plan import Plan
    from thrum.config import Settings
    from thrum.engine import Claim
    from thrum.git.place import Place

LOCAL = (
    *("init", "setup", "migrate", "mcp", "daemon", "hooks", "log", "export", "import", "backup", "verify", "doctor"),
    *("rebuild", "version", "completion", "help"),
)
"""Commands that never go to the daemon."""
HOME = ("-h", "--help", "-", "--stdin")
"""Words that need this process: its terminal, its standard input."""
_VALUED = ("--repo", "--role", "--module", "--name")
_VARIABLES = ("THRUM_NAME", "THRUM_ROLE", "THRUM_MODULE", "THRUM_DISPLAY", "NO_COLOR", "TERM", "COLUMNS")
_CONNECT = 1.0  # seconds
_SIGN_OF_LIFE = 5.0
"""Seconds without an answer after which the daemon is asked whether it still lives."""
interrupts: list[int] = []
"""The interrupts this process was sent. The exception alone can get lost: Python ignores what a destructor raises."""
_POLL = 0.1
_CYCLE = 5.0


def hand_over(argv: Sequence[str], request: str = "") -> int | None:
    """Lets the daemon run the command line; its exit code, or None when this process has to run it.

    `request` names this attempt, so that a message whose sending was cut off can be sent again without a second copy.
    """
    words = list(argv[: argv.index("--")] if "--" in argv else argv)
    if _is_ours_alone(words):
        return None
    try:
        answer, done = _ask(words, list(argv), request)
    except KeyboardInterrupt:
        return 130
    except (
        OSError,
        ValueError,
        ImportError,
    ):  # a deep path's socket is looked for with a library, and there may be none yet
        return None
    if answer is None or "exit" not in answer:
        return None
    if not write(answer["stdout"], answer["stderr"]):
        return 1
    done(answer.get("token"))
    return int(answer["exit"])


def write(stdout: str, stderr: str = "") -> bool:
    """Writes both, stdout first; False when stdout did not take it all, which is said unless the reader just left."""
    try:
        write_all(1, stdout)
    except BrokenPipeError:
        return False
    except OSError as error:
        _complain(f"error: the output could not be written: {error.strerror}\n")
        return False
    _complain(stderr)
    return True


def terminal() -> tuple[bool, int]:
    """Whether stdout is a terminal, and how wide; 0 where no width is wanted."""
    tty = os.isatty(1)
    columns = os.environ.get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return tty, int(columns)
    try:
        return tty, os.get_terminal_size(1).columns if tty else 0
    except OSError:
        return tty, 80


def connect(path: str) -> Any | None:
    """A connection to whoever listens on the socket `path`, if that is this user's own and no link to another; else None."""
    try:
        import _socket as sockets  # the C module alone: `socket` costs six milliseconds
    except ImportError:
        import socket as sockets  # type: ignore[no-redef]

    try:
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or found.st_mode & 0o170000 != 0o140000:  # `stat` costs half a millisecond
            return None
        connection = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    except OSError:
        return None
    try:
        connection.settimeout(_CONNECT)
        connection.connect(path)
    except OSError:
        connection.close()
        return None
    return connection


def _is_ours_alone(words: list[str]) -> bool:
    if any(word in HOME for word in words) or any(name.endswith("THRUM_COMPLETE") for name in os.environ):
        return True
    command = _first_word(words)
    return not command or command in LOCAL


def _first_word(words: list[str]) -> str:
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in _VALUED
        else:
            return word
    return ""


def _repository(words: list[str]) -> str:
    """What `--repo` says, else the current directory."""
    found = ""
    for at, word in enumerate(words):
        if word.startswith("--repo="):
            found = word[len("--repo=") :]
        elif word == "--repo":
            found = words[at + 1] if at + 1 < len(words) else found
    return os.path.join(os.getcwd(), found)


def _ask(words: list[str], argv: list[str], request: str) -> tuple[Any, Any]:
    """The daemon's answer to the command line, None without one; and what to call when its output is written."""
    from thrum.errors import ThrumError
    from thrum.git import place

    try:
        path = place.find(_repository(words)).socket
    except ThrumError:
        return None, None
    "\0".join([os.getcwd(), *argv]).encode()  # bytes that are no UTF-8 do not travel as JSON: ValueError
    connection = connect(path)
    if connection is None:
        return None, None
    tty, width = terminal()
    environ = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    params = {"argv": argv, "cwd": os.getcwd(), "environ": environ, "tty": tty, "width": width}
    params.update({"stdin": False, "version": __version__, "request": request})
    answer = _call(connection, path, "cli.run", params)

    def done(token: str | None) -> None:
        if token:
            try:
                _call(connection, path, "cli.done", {"token": token})
            except (OSError, ValueError):
                return  # it stays unread, which is the safe side

    return answer, done


def _call(connection: Any, path: str, method: str, params: dict[str, Any]) -> Any:
    """One request and its result; None for an error or a silent daemon. Raises OSError, ValueError."""
    connection.settimeout(_SIGN_OF_LIFE)
    connection.sendall(_encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    pieces: list[bytes] = []
    while not pieces or not pieces[-1].endswith(b"\n"):
        try:
            piece = connection.recv(1 << 20)
        except TimeoutError:
            if not lives(path):
                return None
            continue
        if not piece:
            return None
        pieces.append(piece)
    return _decode(b"".join(pieces).decode()).get("result")


def lives(path: str) -> bool:
    """Whether the daemon's loop still turns; it answers this beside whatever it is busy with."""
    connection = connect(path)
    if connection is None:
        return False
    try:
        connection.sendall(_encode({"jsonrpc": "2.0", "id": 1, "method": "daemon.status"}).encode() + b"\n")
        return bool(connection.recv(1 << 16))
    except OSError:
        return False
    finally:
        connection.close()


def _encode(value: Any) -> str:
    """JSON of dicts, lists, texts, whole numbers and booleans; `json` itself costs six milliseconds."""
    try:
        from _json import encode_basestring_ascii as quote
    except ImportError:
        import json

        return json.dumps(value)
    if isinstance(value, str):
        return str(quote(value))
    if isinstance(value, dict):
        return "{" + ",".join(f"{quote(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Reading:
    """What the C scanner asks of a decoder."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012  # the scanner's own


def _decode(text: str) -> Any:
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(text)
    try:
        return make_scanner(_Reading())(text, 0)[0]  # type: ignore[arg-type]  # anything that looks like a decoder will do
    except StopIteration:
        raise ValueError("no JSON") from None


def write_all(descriptor: int, text: str) -> None:
    """Writes the whole text to a file descriptor. Raises OSError."""
    view = memoryview(text.encode("utf-8", "backslashreplace"))
    while view:
        view = view[os.write(descriptor, view) :]


def _complain(text: str) -> None:
    try:
        write_all(2, text)
    except OSError:
        return


class InProcess:
    """The whole program on one repository, in this process."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        claim: Claim,
        began: float,
        is_unwanted: Callable[[], bool] = lambda: bool(interrupts),
    ) -> None:
        """`began`: when the command started (monotonic), so that a wait ends when it was to end.

        `is_unwanted` is asked between two looks of a wait; when it says so, the wait ends as by an interrupt.
        """
        from thrum.engine import Engine

        self._engine = Engine(place, settings)
        self._claim, self._began, self._is_unwanted = claim, began, is_unwanted

    def close(self) -> None:
        """Lets go of everything."""
        self._engine.close()

    def run(self, plan: Plan) -> Any:
        """Makes the plan's calls; its result. Raises ThrumError."""
        from thrum.errors import ThrumError

        steps = plan.steps()
        try:
            step = next(steps)
            while True:
                try:
                    answer = self.call(*step)
                except ThrumError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """One call. Raises ThrumError."""
        if self._engine.methods[method].waits:
            return self._wait(method, params)
        return self._engine.call(method, params, self._claim)

    def _wait(self, method: str, params: dict[str, Any]) -> Any:
        """Looks again and again; somebody else's mail comes in by a cycle of the sync now and then."""
        import time

        end = self._began + float(params.get("timeout", 30.0))
        cycles = _Cycles(self._engine)
        while True:
            if self._is_unwanted():
                raise KeyboardInterrupt
            found = self._engine.poll(method, params, self._claim)
            left = end - time.monotonic()
            if found is not None or left <= 0:
                return found or {"status": "timeout"}
            cycles.keep_going()
            time.sleep(min(_POLL, left))


class _Cycles:
    """The sync while somebody waits and no daemon does it: a cycle every few seconds, beside the waiting."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._thread: Any = None
        self._next = 0.0
        self._is_wanted = self._has_remote() and connect(engine.place.socket) is None

    def keep_going(self) -> None:
        """Starts a cycle when one is due."""
        import threading
        import time

        is_busy = self._thread is not None and self._thread.is_alive()
        if self._is_wanted and not is_busy and time.monotonic() >= self._next:
            self._next = time.monotonic() + min(self._engine.settings.interval, _CYCLE)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        from thrum.errors import ThrumError
        from thrum.sync.cycle import Cycle

        engine = self._engine
        try:
            Cycle(engine.place, engine.settings, engine.origin, lambda: None).run()
        except ThrumError:
            return  # it is told by `sync status`, and tried again

    def _has_remote(self) -> bool:
        from thrum.errors import ThrumError
        from thrum.git import remote

        engine = self._engine
        try:
            return engine.settings.sync and remote.pick(engine.place, engine.settings.remote) is not None
        except ThrumError:
            return False


def spoken() -> bytes:
    """Standard input to its end."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""
