"""What runs, and what killed processes left behind: daemon, socket, port, leftovers."""

from __future__ import annotations

import os
import shlex
import stat

from thrum import __version__
from thrum.cli.checks.patient import Finding, Patient, bad, curable, moved_away, some, well
from thrum.cli.text import count
from thrum.daemon import loopback, ownership, web
from thrum.store import leftovers as left_behind


def daemon(patient: Patient) -> Finding:
    """Whether it runs, answers and is of this version."""
    found = patient.daemon
    if not found["running"]:
        return well("not running: everything works, nothing is pushed by itself", "git thrum daemon start")
    pid = found.get("pid")
    if found["status"] != "running":
        return bad(*_silent(pid, found))
    if found.get("version") != __version__:
        return bad(f"it is git thrum {found.get('version')}, and this is {__version__}", "git thrum daemon restart")
    return well(f"running (pid {pid})")


def _silent(pid: object, found: dict[str, object]) -> tuple[str, str]:
    told = f"{found['status']}: {found.get('error', '')}"
    if not isinstance(pid, int):
        return told, ""
    if _is_stopped(pid):
        return f"it was stopped by a signal (pid {pid})", f"kill -CONT {pid}"
    if found["status"] == "busy":
        return told, "git thrum daemon status"
    return told, f"kill -9 {pid} && git thrum daemon start"


def _is_stopped(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except (OSError, IndexError):
        return False


def socket(patient: Patient) -> Finding:
    """It is a socket, and only this user's."""
    path = patient.place.socket
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return well(f"none at {path}")
    if not stat.S_ISSOCK(found.st_mode):
        return bad(f"{path} is no socket", moved_away(path))
    if found.st_uid != os.geteuid():
        return bad(f"{path} is not yours", moved_away(path))
    if found.st_mode & 0o077:
        return curable(
            f"{path} is open to others",
            "closes it to everybody but you",
            lambda: _close(path),
            f"chmod 600 {shlex.quote(path)}",
        )
    return well(path)


def _close(path: str) -> list[str]:
    os.chmod(path, 0o600)
    return [f"closed {path} to others"]


def port(patient: Patient) -> Finding:
    """The WebSocket's port, and who has it if we have not."""
    wanted = patient.settings.ws_port
    if not wanted:
        return well("the WebSocket is switched off (thrum.wsPort is 0)")
    found = patient.daemon
    if found["status"] == "running":
        if found.get("ws_error"):
            return bad(str(found["ws_error"]), "git thrum daemon restart")
        real = found.get("ws_port")
        if real == wanted:
            return well(f"the WebSocket listens on {real}")
        return well(f"the WebSocket listens on {real}; {_holder(wanted)}")
    return well(_holder(wanted) if loopback.is_taken(wanted) else f"{wanted} is free for the WebSocket")


def _holder(wanted: int) -> str:
    return f"{wanted} is held by {loopback.holder(wanted) or 'another program'}: the daemon takes the next free one"


def leftovers(patient: Patient) -> Finding:
    """What killed processes left; it is in nobody's way."""
    place = patient.place
    found = left_behind.find(place.sync_dir, place.thrum_dir, place.git_dir, place.common_dir)
    if not patient.daemon["running"]:
        stale = (place.socket, ownership.pid_path(place), web.port_path(place), os.path.join(place.var_dir, "ws.token"))
        found += [path for path in stale if os.path.lexists(path)]
    if not found:
        return well("none")
    names = some([os.path.basename(path) for path in found])
    return Finding(
        True,
        f"{count(len(found), 'file')} of killed processes, in nobody's way: {names}",
        heals="removes them",
        heal=lambda: left_behind.remove(found),
    )
