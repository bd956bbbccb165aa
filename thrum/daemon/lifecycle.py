"""Start, stop and status of a repository's daemon, from another process."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from typing import Any, NamedTuple

import thrum
from thrum import config
from thrum.daemon import logfile
from thrum.daemon.ownership import Running, birth, owner
from thrum.errors import DaemonError, NotInitialised, Refused, StorageError, ThrumError
from thrum.git.place import Place

__all__ = ["Announcer", "Running", "Started", "ask", "owner", "start", "status", "stop"]

Json = dict[str, Any]

READY_FD = "THRUM_READY_FD"
START_TIMEOUT = 10.0  # seconds
STOP_TIMEOUT = 10.0

_IDENTITY = ("THRUM_NAME", "THRUM_ROLE", "THRUM_MODULE", "THRUM_DISPLAY", READY_FD)
_USERS_GIT = (
    "GIT_SSH",
    "GIT_SSL",
    "GIT_HTTP",
    "GIT_PROXY",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_SYSTEM",
    "GIT_CONFIG_NOSYSTEM",
)
"""What of git's environment is the user's own and not somebody's command's: how to reach a remote."""

_TOLD = (
    *("pid", "uptime_ms", "version", "sync_state", "repo_id", "log", "ws_port", "ws_url", "ws_token_file", "ws_error"),
    *("requests", "methods", "queues", "memory_bytes", "sync"),
)


class Started(NamedTuple):
    """A daemon that is ready."""

    pid: int
    socket_path: str
    log: str
    seconds: float


class Announcer:
    """The child's end of the readiness pipe; without one (in the foreground) it says nothing."""

    def __init__(self) -> None:
        """Takes the descriptor out of the environment, so that no grandchild inherits it."""
        number = os.environ.pop(READY_FD, "")
        self._descriptor = int(number) if number.isdecimal() else -1
        if self._descriptor >= 0:
            os.set_inheritable(self._descriptor, False)

    def ready(self, facts: Json) -> None:
        """The daemon answers: `{pid, socket, log}`."""
        self._say("ready " + json.dumps(facts))

    def failed(self, error: ThrumError) -> None:
        """The daemon will not be."""
        self._say(json.dumps(error.as_json()))

    def _say(self, line: str) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):  # nobody waits any more
                os.write(self._descriptor, line.encode() + b"\n")
                os.close(self._descriptor)
            self._descriptor = -1


def start(place: Place, timeout: float = START_TIMEOUT) -> Started:
    """Starts the daemon and returns when it answers.

    Raises Refused when one is running, NotInitialised, DaemonError with the reason when it does not come up.
    """
    if not place.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    running = _settled_owner(place)
    if running is not None:
        raise already_running(running)
    began = time.monotonic()
    log = _find_log(place)
    reader, writer = os.pipe()
    try:
        try:
            size = _spawn(place, log, writer)
        finally:
            os.close(writer)
        line = _read_line(reader, began + timeout)
    finally:
        os.close(reader)
    facts = _understand(line, log, size)
    return Started(facts["pid"], facts["socket"], facts["log"], time.monotonic() - began)


def stop(place: Place, timeout: float = STOP_TIMEOUT) -> int:
    """Ends the daemon and returns its pid once it is gone. Raises Refused when none runs, DaemonError when it stays."""
    running = owner(place)
    if running is None:
        raise Refused("the daemon is not running", "start it with `git thrum daemon start`")
    pid = running.pid or _ask_pid(place)
    if not pid:
        raise DaemonError(
            "the daemon is running, but it does not say under which pid", "end it by hand: its lock is held by it"
        )
    born = birth(pid)
    _terminate(place, pid)
    end = time.monotonic() + timeout
    while owner(place) is not None or (born and birth(pid) == born):
        if time.monotonic() > end:
            raise DaemonError(f"the daemon (pid {pid}) did not stop within {timeout:.0f} s", f"end it: kill -9 {pid}")
        time.sleep(0.01)
    return pid


def status(place: Place) -> Json:
    """`{running, status, pid?, repo_path?, started_at?, socket_path?, log?}`, and what it tells of itself if it answers.

    That is what `health` adds, and of `daemon.status`: requests, methods, queues, memory_bytes, sync. `status` is "busy" when
    it answers and its engine does not.
    """
    running = owner(place)
    if running is None:
        return {"running": False, "status": "stopped"}
    found: Json = {"running": True, "status": "running"}
    found.update({key: value for key, value in running._asdict().items() if value})
    try:
        told = ask(place.socket, "daemon.status")
    except DaemonError as error:
        return {**found, "status": "not answering", "error": str(error)}
    try:
        told = {**told, **ask(place.socket, "health")}
    except DaemonError as error:
        found.update(status="busy", error=str(error))
    return {**found, **{key: told[key] for key in _TOLD if key in told}}


def already_running(running: Running) -> Refused:
    """The refusal to start a second daemon."""
    who = f" (pid {running.pid})" if running.pid else ""
    return Refused(f"the daemon is already running{who}", "use it as it is, or `git thrum daemon restart`")


def ask(path: str, method: str, params: Json | None = None, timeout: float = 5.0) -> Json:
    """One call over the socket at `path`; its result. Raises DaemonError."""
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(path)
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as answers:
                answer = json.loads(answers.readline())
        result: Json = answer["result"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DaemonError(f"the daemon does not answer: {error}", "see its log: git thrum daemon logs") from error
    return result


def _find_log(place: Place) -> str:
    """Where the child's words go; nowhere when the user has no directory for them, which is no reason not to start."""
    try:
        return logfile.path_for(place)
    except StorageError:
        return os.devnull


def command(place: Place) -> list[str]:
    """The command that is the daemon of `place`, in the foreground."""
    return [sys.executable, "-P", "-m", "thrum", "daemon", "run", "--repo", place.worktree or place.common_dir]


def _settled_owner(place: Place) -> Running | None:
    """The owner; one without a name may be a process that is just being killed, so it gets a moment to be gone."""
    running = owner(place)
    for _ in range(30):
        if running is None or running.pid:
            break
        time.sleep(0.01)
        running = owner(place)
    return running


def _spawn(place: Place, log: str, writer: int) -> int:
    """The child, in a session of its own; the log's size before it."""
    with open(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab") as output:
        size = output.tell()
        try:
            subprocess.Popen(
                command(place),
                cwd="/",
                env=_environment(writer),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writer,),
                start_new_session=True,
            )
        except OSError as error:
            raise DaemonError(f"the daemon could not be started: {error}", f"check {sys.executable}") from error
    return size


def _environment(writer: int) -> dict[str, str]:
    """Ours without anybody's identity and without what git told its hook."""
    clean = {
        key: value
        for key, value in config.without_local(os.environ).items()
        if key not in _IDENTITY and (not key.startswith("GIT_") or key.startswith(_USERS_GIT))
    }
    clean[READY_FD] = str(writer)
    package = os.path.dirname(os.path.dirname(os.path.abspath(thrum.__file__)))
    if package not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        clean["PYTHONPATH"] = os.pathsep.join(filter(None, [package, clean.get("PYTHONPATH", "")]))
    return clean


def _read_line(reader: int, end: float) -> bytes | None:
    """The child's line; b"" when it ended without one, None when it took too long."""
    said = b""
    while not said.endswith(b"\n"):
        if not select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
            return None
        more = os.read(reader, 65536)
        if not more:
            return b""
        said += more
    return said


def _understand(line: bytes | None, log: str, size: int) -> Json:
    """What `ready` carried. Raises what the child said instead."""
    if line is None:
        raise DaemonError(
            "the daemon is not ready yet", f"it goes on starting; see `git thrum daemon status` and {log}"
        )
    if line.startswith(b"ready "):
        facts: Json = json.loads(line[len(b"ready ") :])
        return facts
    if not line:
        raise DaemonError(f"the daemon ended before it was ready: {_last_words(log, size)}", f"see {log}")
    said = json.loads(line)["error"]
    kind = {"Refused": Refused, "NotInitialised": NotInitialised}.get(said["kind"], DaemonError)
    hint = said["hint"] if kind is not DaemonError else f"{said['hint']}; see {log}".removeprefix("; ")
    raise kind(said["message"], hint)


def _last_words(log: str, size: int) -> str:
    try:
        with open(log, "rb") as file:
            file.seek(size)
            lines = file.read(1 << 20).decode("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")


def _ask_pid(place: Place) -> int:
    """The pid of whoever answers at our socket, if it answers for this repository; else 0."""
    with contextlib.suppress(DaemonError):
        health = ask(place.socket, "health")
        if health.get("common_dir") == place.common_dir and isinstance(health.get("pid"), int):
            return int(health["pid"])
    return 0


def _terminate(place: Place, pid: int) -> None:
    """SIGTERM to the owner, and to nobody else who was given its number meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            os.kill(pid, signal.SIGTERM)
            return
        handle = os.pidfd_open(pid)
        try:
            still = owner(place)
            if still is not None and still.pid in (0, pid):
                signal.pidfd_send_signal(handle, signal.SIGTERM)
        finally:
            os.close(handle)
