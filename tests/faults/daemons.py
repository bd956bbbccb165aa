"""Daemons in forked processes, and clients that send to them."""

from __future__ import annotations

import functools
import json
import os
import socket
import time

from thrum.cli import answer, app
from thrum.config import Settings
from thrum.daemon import app as daemon
from thrum.daemon import web
from thrum.git import place


def serve(repo: str) -> None:
    """Is the daemon of the repository at `repo`."""
    here = place.find(repo)
    os.chdir(repo)
    app.warm_up()
    run_cli = functools.partial(answer.run_cli, common_dir=here.common_dir)
    daemon.run(here, lambda: Settings.load(here.common_dir, here.worktree, os.environ), run_cli, (web.door,))


def until_it_serves(repo: str, seconds: float = 30) -> None:
    """Waits until somebody answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if send(repo, {"jsonrpc": "2.0", "id": 1, "method": "health"}):
                return
        except (OSError, ValueError):
            time.sleep(0.005)
    raise TimeoutError("nobody serves")


def send(repo: str, request: dict[str, object]) -> dict[str, object]:
    """One request over a connection of its own; the answer. Raises OSError, ValueError when there is none."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(30)
        line.connect(place.find(repo).socket)
        line.sendall(json.dumps(request).encode() + b"\n")
        found: dict[str, object] = json.loads(line.makefile("rb").readline())
        return found


def send_by_socket(repo: str, name: str, request: str = "") -> str | None:
    """Sends a message; its id, None when that was refused."""
    result = send(repo, json.loads(sending(repo, name, f"{name} by socket", request))).get("result")
    return str(result["message_id"]) if isinstance(result, dict) else None


def sending(repo: str, name: str, text: str, request: str = "") -> str:
    """A JSON-RPC request that sends."""
    params = {"content": text, "caller": {"cwd": repo, "name": name}}
    if request:
        params["request_id"] = request
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": params})
