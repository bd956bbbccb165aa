"""The way to a daemon that answers, and all that runs when there is one: nothing is imported but what C already holds.

`git-thrum` imports this module alone; `thrum.client` offers the same way to the whole program. Even `__future__` would have to
be looked for on the disk, so annotations are texts.
"""

import posix
import sys

from thrum import __version__

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

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
_SOCKET_LIMIT = 100
"""Bytes; a longer path is looked up the long way (`git.place`), and so is everything else that is not quite usual."""
_LINE_LIMIT = 4096
_FOLDER, _FILE = 0o040000, 0o100000
_ENVIRON: "Mapping[bytes, bytes]" = posix.environ
ELSEWHERE = "another repository"
"""Why a daemon declines that was asked for a repository it does not serve."""
INTERRUPTED = 130


def main(argv: "Sequence[str]") -> str:
    """Ends the process when a daemon ran the command line.

    Otherwise gives the name of the attempt, under which the whole program is to go on.
    """
    request = posix.urandom(8).hex()
    try:
        hold_standard_files()
        code = hand_over(argv, request)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception:  # the whole program finds out what it is, and says so
        code = None
    if code is not None:
        posix._exit(code)  # nothing is left to be cleaned up, which Python would take a while to find out
    return request


def find_libraries() -> None:
    """Makes installed packages importable, which `git-thrum` leaves out (-I, -S) until they are needed."""
    if not sys.flags.no_site:
        return
    import os.path
    import site

    site.main()
    folders = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]  # where pip put us, if not a checkout
    if sys.prefix == sys.base_prefix:
        folders.append(site.getusersitepackages())
    for folder in folders:
        if folder not in sys.path and folder.endswith("-packages") and os.path.isdir(folder):
            site.addsitedir(folder)


def hold_standard_files() -> None:
    """Sees to it that no file or connection of ours gets the number of a standard file that was closed.

    What is put there can be neither read from nor written to with success, just as if it were closed.
    """
    for descriptor, flags in ((0, posix.O_WRONLY), (1, posix.O_RDONLY), (2, posix.O_RDONLY)):
        try:
            posix.fstat(descriptor)
        except OSError:
            posix.open("/dev/null", flags)  # it gets the lowest free number


def hand_over(argv: "Sequence[str]", request: str = "") -> "int | None":
    """Lets the daemon run the command line; its exit code, or None when this process has to run it.

    `request` names this attempt, so that a message whose sending was cut off can be sent again without a second copy.
    """
    words = list(argv[: argv.index("--")] if "--" in argv else argv)
    if _is_ours_alone(words):
        return None
    try:
        answer, done = _ask(words, list(argv), request)
        output = None if answer is None else (answer["stdout"], answer["stderr"], int(answer["exit"]))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (OSError, ValueError, KeyError, TypeError, ImportError):  # no connection, no text, no answer of ours
        return None
    if output is None:
        return None
    if not write(*output[:2]):
        return 1
    done(answer.get("token"))
    return output[2]


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
    tty = posix.isatty(1)
    columns = _variables().get("COLUMNS", "")
    if columns.isascii() and columns.isdigit() and int(columns):
        return tty, int(columns)
    try:
        return tty, posix.get_terminal_size(1).columns if tty else 0
    except OSError:
        return tty, 80


def connect(path: str) -> "Any | None":
    """A connection to whoever listens on the socket `path`, if that is this user's own and no link to another; else None."""
    try:
        import _socket as sockets  # the C module alone: `socket` costs six milliseconds
    except ImportError:
        import socket as sockets  # type: ignore[no-redef]

    try:
        found = posix.lstat(path)
        if found.st_uid != posix.geteuid() or found.st_mode & 0o170000 != 0o140000:  # `stat` costs half a millisecond
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


def _is_ours_alone(words: "list[str]") -> bool:
    if any(word in HOME for word in words) or any(name.endswith("THRUM_COMPLETE") for name in _variables()):
        return True
    command = _first_word(words)
    return not command or command in LOCAL


def _first_word(words: "list[str]") -> str:
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in _VALUED
        else:
            return word
    return ""


def _variables() -> "Mapping[str, str]":
    """The environment; from `os` where the program is big enough to have loaded it."""
    if "os" in sys.modules:
        return sys.modules["os"].environ  # type: ignore[no-any-return]
    return {
        name.decode("utf-8", "replace"): value.decode("utf-8", "surrogateescape") for name, value in _ENVIRON.items()
    }


def _ask(words: "list[str]", argv: "list[str]", request: str) -> "tuple[Any, Callable[[str | None], None]]":
    """The daemon's answer to the command line, None without one; and what to call when its output is written.

    Raises OSError, ValueError.
    """
    cwd, variables = posix.getcwd(), _variables()
    environ = {name: variables[name] for name in _VARIABLES if name in variables}
    "\0".join([cwd, *argv, *environ.values()]).encode()  # bytes that are no UTF-8 do not travel as JSON: ValueError
    tty, width = terminal()
    params = {"argv": argv, "cwd": cwd, "environ": environ, "tty": tty, "width": width}
    params.update({"stdin": False, "version": __version__, "request": request})
    for path in _sockets(cwd, _repository(words)):
        connection = connect(path)
        answer = None if connection is None else _call(connection, path, "cli.run", params)
        if answer is not None and answer.get("declined") != ELSEWHERE:
            return (None if "declined" in answer else answer), _Done(connection, path)
        if connection is not None and answer is None:
            break  # it was asked, and may have begun: the next attempt is the whole program's
    return None, _Done(None, "")


class _Done:
    """To be called when the output has been written, with what the daemon gave for that."""

    def __init__(self, connection: "Any", path: str) -> None:
        self._connection, self._path = connection, path

    def __call__(self, token: "str | None") -> None:
        if token:
            try:
                _call(self._connection, self._path, "cli.done", {"token": token})
            except (OSError, ValueError):
                return  # it stays unread, which is the safe side


def _repository(words: "list[str]") -> str:
    """What `--repo` says; "" when nothing does."""
    found = ""
    for at, word in enumerate(words):
        if word.startswith("--repo="):
            found = word[len("--repo=") :]
        elif word == "--repo":
            found = words[at + 1] if at + 1 < len(words) else found
    return found


def _sockets(cwd: str, repository: str) -> "Iterator[str]":
    """Where the daemon may listen: first where it nearly always does, then where `git.place` says.

    A daemon that answers for another repository declines, so the first need not be right, only quick.
    """
    usual = "" if repository else _usual_socket(cwd)
    if usual:
        yield usual
    try:
        exact = _exact_socket(cwd, repository)
    except ImportError:  # that of a deep path is looked for with a library
        find_libraries()
        exact = _exact_socket(cwd, repository)
    if exact and exact != usual:
        yield exact


def _exact_socket(cwd: str, repository: str) -> str:
    """Where `git.place` says; "" where no repository is. Raises ImportError."""
    import os.path

    from thrum.errors import ThrumError
    from thrum.git import place

    try:
        return place.find(os.path.join(cwd, repository)).socket
    except ThrumError:
        return ""


def _usual_socket(folder: str) -> str:
    """The socket of a main worktree, or of a linked one beside it; "" where that takes more than a look to tell."""
    while True:
        kind = _kind(folder + "/.git")
        if kind:
            main = folder if kind == _FOLDER else _main_worktree(folder) if kind == _FILE else ""
            path = main + "/.thrum/var/thrum.sock"
            return path if main and len(path.encode()) <= _SOCKET_LIMIT else ""
        above = folder.rpartition("/")[0]
        if not above or _kind(folder + "/HEAD"):  # the root, which has no time to lose; or inside a git directory
            return ""
        folder = above


def _main_worktree(linked: str) -> str:
    """The main worktree of the linked one at `linked`; "" if it is no such. Raises OSError, ValueError."""
    descriptor = posix.open(linked + "/.git", posix.O_RDONLY)
    try:
        line = posix.read(descriptor, _LINE_LIMIT).decode()
    finally:
        posix.close(descriptor)
    common, mark, name = line.strip().removeprefix("gitdir: ").rpartition("/.git/worktrees/")
    return common if mark and common.startswith("/") and "/" not in name else ""


def _kind(path: str) -> int:
    """What lies there, as the mode's upper bits say it; 0 for nothing. A link is something."""
    try:
        return posix.lstat(path).st_mode & 0o170000
    except OSError:
        return 0


def _call(connection: "Any", path: str, method: str, params: "dict[str, Any]") -> "Any":
    """One request and its result; None for an error or a silent daemon. Raises OSError, ValueError."""
    connection.settimeout(_SIGN_OF_LIFE)
    connection.sendall(_encode({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
    decode = _decoder()
    pieces: list[bytes] = []
    while not pieces or not pieces[-1].endswith(b"\n"):
        try:
            piece = connection.recv(1 << 16)
        except TimeoutError:
            if not lives(path):
                return None
            continue
        if not piece:
            return None
        pieces.append(piece)
    answer = decode(b"".join(pieces).decode())
    result = answer.get("result") if isinstance(answer, dict) else None
    return result if isinstance(result, dict) else None


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


def _encode(value: "Any") -> str:
    """JSON of dicts, lists, texts, whole numbers and booleans; `json` itself costs six milliseconds."""
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{_quote(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_encode, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quote(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'  # so that `_json` can be loaded while the daemon works
    try:
        from _json import encode_basestring_ascii as quote
    except ImportError:
        from json.encoder import py_encode_basestring_ascii as quote

    return str(quote(text))


class _Reading:
    """What the C scanner asks of a decoder."""

    strict = False
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012  # the scanner's own


def _decoder() -> "Callable[[str], Any]":
    """What reads JSON. Raises ValueError."""
    try:
        from _json import make_scanner
    except ImportError:
        from json import loads

        return loads
    scan = make_scanner(_Reading())  # type: ignore[arg-type]  # anything that looks like a decoder will do

    def decode(text: str) -> "Any":
        try:
            return scan(text, 0)[0]
        except StopIteration:
            raise ValueError("no JSON") from None

    return decode


def write_all(descriptor: int, text: str) -> None:
    """Writes the whole text to a file descriptor, also to one that does not wait by itself. Raises OSError."""
    view = memoryview(text.encode("utf-8", "backslashreplace"))
    while view:
        try:
            view = view[posix.write(descriptor, view) :]
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def _complain(text: str) -> None:
    try:
        write_all(2, text)
    except OSError:
        return
