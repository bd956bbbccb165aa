"""The daemon, from outside; and its inside, for `daemon run`."""

from __future__ import annotations

import functools
import os
import time
from typing import Annotated, Any

import typer

from thrum import door
from thrum.cli.console import here, settings_of, style, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local, Style
from thrum.cli.text import count, fields, lasting, safe, volume, when
from thrum.errors import Refused

Json = dict[str, Any]
_TAIL = 1 << 20
_LOOK = 0.2
_FEW = 4
_MADE_OF_OTHERS = ("cli.run", "cli.done")


def start() -> Local:
    """It answers when this returns. Without it everything works, too, but nothing is pushed by itself."""
    return Local(_start)


def stop() -> Local:
    """Nothing is lost by it."""
    return Local(_stop)


def status() -> Local:
    """And how it fares: the slowest methods, what waits, its memory, the sync. `--json` has every method.

    p50 and p99: half of the last 512 calls were faster, and all but a hundredth of them.
    """
    return Local(_status)


def restart() -> Local:
    """After an update of git thrum, for instance."""
    return Local(_restart)


def logs(
    number: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=0, help="The last so many lines.")] = 50,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on as it grows, until Ctrl-C.")] = False,
) -> Local:
    """git thrum daemon logs -f"""
    return Local(lambda options: _logs(options, number, follow))


def run() -> Local:
    """`git thrum daemon start` runs this in the background."""
    return Local(_run)


def _start(options: Options) -> int:
    from thrum.daemon import lifecycle

    started = lifecycle.start(here(options))
    result = {
        "status": "running",
        "running": True,
        "pid": started.pid,
        "socket": started.socket_path,
        "log": started.log,
    }
    more = f"\n  socket {safe(started.socket_path)}\n  log    {safe(started.log)}" if options.verbose else ""
    text = f"the daemon runs (pid {started.pid}), ready after {lasting(started.seconds)}{more}\n"
    return tell(options, result, text)


def _stop(options: Options) -> int:
    from thrum.daemon import lifecycle

    pid = lifecycle.stop(here(options))
    return tell(options, {"status": "stopped", "running": False, "pid": pid}, f"the daemon (pid {pid}) has stopped\n")


def _restart(options: Options) -> int:
    from thrum.daemon import lifecycle

    place = here(options)
    if lifecycle.owner(place) is not None:
        try:
            lifecycle.stop(place)
        except Refused:  # it ended by itself meanwhile
            return _start(options)
    return _start(options)


def _status(options: Options) -> int:
    from thrum.daemon import lifecycle

    found = described(lifecycle.status(here(options)))
    return tell(options, found, shown(found, style(options)), code=0 if found["status"] == "running" else 1, asked=True)


def described(found: Json) -> Json:
    """A daemon's status as `--json` prints it."""
    result = {key: value for key, value in found.items() if key not in ("socket_path", "uptime_ms")}
    if found.get("socket_path"):
        result["socket"] = found["socket_path"]
    if "uptime_ms" in found:
        result.update(uptime=lasting(found["uptime_ms"] / 1000), uptime_ms=found["uptime_ms"])
    return result


def shown(found: Json, style: Style) -> str:
    """A daemon's status for people."""
    from thrum.cli.render_state import sync_word

    if not found["running"]:
        return "the daemon is not running\n  try: git thrum daemon start\n"
    state = found["status"] + (f" (pid {found['pid']})" if found.get("pid") else "")
    pairs = [("daemon", state), ("up", found.get("uptime") or ""), ("version", safe(found.get("version") or ""))]
    pairs += [("repository", safe(found.get("repo_path") or "")), ("sync", sync_word(found.get("sync_state") or ""))]
    pairs += [("error", safe(found.get("error") or "")), ("log", safe(found.get("log") or ""))]
    pairs += [("websocket", safe(found.get("ws_url") or found.get("ws_error") or ""))]
    pairs += [("token", safe(found.get("ws_token_file") or ""))]
    pairs += _condition(found, style)
    if style.verbose:
        pairs += [("socket", safe(found.get("socket") or "")), ("since", when(found.get("started_at"), style))]
    return fields(pairs) + "\n"


def _condition(found: Json, style: Style) -> list[tuple[str, str]]:
    """Where a slow daemon loses its time."""
    pairs = [("requests", str(found["requests"]))] if "requests" in found else []
    for at, (name, told) in enumerate(_slowest(found.get("methods") or {})):
        pairs.append(
            ("" if at else "slowest", f"{safe(name)}  p50 {told['p50_ms']:.1f} ms, p99 {told['p99_ms']:.1f} ms")
        )
    if queues := found.get("queues"):
        waiting = (count(queues["calls"], "call"), count(queues["listeners"], "listener"))
        pairs.append(("waiting", f"{', '.join(waiting)}, over {count(queues['connections'], 'connection')}"))
    if "memory_bytes" in found:
        pairs.append(("memory", volume(found["memory_bytes"])))
    return [*pairs, ("cycles", _cycles(found.get("sync") or {}, style))]


def _slowest(methods: Json) -> list[tuple[str, Json]]:
    """The few with the longest p99, without those that wait for somebody else and the command line that is made of others."""
    from thrum.methods.registry import METHODS

    worked = ((name, told) for name, told in methods.items() if name not in _MADE_OF_OTHERS)
    own = [(name, told) for name, told in worked if name not in METHODS or not METHODS[name].waits]
    return sorted(own, key=lambda one: one[1]["p99_ms"], reverse=True)[:_FEW]


def _cycles(sync: Json, style: Style) -> str:
    if not sync.get("cycles"):
        return "the first is under way" if sync.get("busy") else ""
    text = f"{sync['cycles']} of the sync, the last took {lasting(sync['last_ms'] / 1000)}"
    text += (
        f", the last that worked ended {when(sync.get('last_success_at'), style)}"
        if sync.get("last_success_at")
        else ""
    )
    return text + (f"; {count(sync['failures'], 'failure')} since" if sync.get("failures") else "")


def _logs(options: Options, number: int, follow: bool) -> int:
    from thrum.daemon import logfile

    path = logfile.path_for(here(options))
    if not os.path.exists(path):
        raise Refused("there is no log yet", "git thrum daemon start")
    lines, size = _last_lines(path, number)
    if options.json:
        return tell(options, {"log": path, "lines": lines}, "")
    if not door.write("".join(f"{safe(line)}\n" for line in lines)):
        return 1
    return _follow(path, size) if follow else 0


def _last_lines(path: str, number: int) -> tuple[list[str], int]:
    """The last lines of a file, and its size."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return lines[-number:] if number else [], size


def _follow(path: str, position: int) -> int:
    """Writes what the log grows by, also when it was rotated, until nobody reads it any more."""
    while True:
        try:
            if os.path.getsize(path) < position:
                position = 0
            with open(path, "rb") as file:
                file.seek(position)
                more = file.read()
        except FileNotFoundError:
            more = b""
        position += len(more)
        if more and not door.write(safe(more.decode("utf-8", "replace"))):
            return 1
        time.sleep(_LOOK)


def _run(options: Options) -> int:
    from thrum.cli import answer, app
    from thrum.daemon import app as daemon
    from thrum.daemon import web

    place = here(options)
    app.warm_up()
    run_cli = functools.partial(answer.run_cli, common_dir=place.common_dir)
    daemon.run(place, lambda: settings_of(place), run_cli, (web.door,))
    return 0
