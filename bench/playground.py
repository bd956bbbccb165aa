"""Where things are measured: a repository with thrum in it, its daemon, and a line to that."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from thrum.caller import Claim
from thrum.config import Settings
from thrum.engine import Engine
from thrum.git import place

BIN = Path(sys.executable).parent
Json = dict[str, Any]
WARMING = 4.0  # seconds


@contextlib.contextmanager
def temporary() -> Iterator[str]:
    """A temporary directory that is also HOME, on the disk that /tmp is on."""
    root = os.path.realpath(tempfile.mkdtemp(prefix="thrum-bench-"))
    try:
        yield root
    finally:
        shutil.rmtree(root, ignore_errors=True)


def environment(root: str) -> dict[str, str]:
    """A clean environment below `root`."""
    os.makedirs(root + "/run", mode=0o700, exist_ok=True)
    Path(root, ".gitconfig").write_text(
        "[init]\n\tdefaultBranch = main\n[user]\n\tname = B\n\temail = b@example.com\n[gc]\n\tauto = 0\n"
    )
    return {
        "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
        "HOME": root,
        "XDG_RUNTIME_DIR": root + "/run",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def repository(root: str, name: str, env: dict[str, str], *, files: int = 50, remote: bool = True) -> str:
    """A repository with a few files, thrum set up, two agents, and a bare remote beside it; its path."""
    path = f"{root}/{name}"

    if remote:
        run(root, env, "git", "init", "-q", "--bare", f"{path}.git")
        run(root, env, "git", "clone", "-q", f"{path}.git", path)
    else:
        run(root, env, "git", "init", "-q", path)
    for number in range(files):
        folder = Path(path, f"part{number // 200}")
        folder.mkdir(exist_ok=True)
        Path(folder, f"file{number}.py").write_text(f"value = {number}\n" * 20)
    run(path, env, "git", "add", ".")
    run(path, env, "git", "commit", "-qm", "Begin")
    if remote:
        run(path, env, "git", "push", "-q", "-u", "origin", "HEAD")
    run(path, env, "git", "thrum", "init")
    hire(path, "lead", "coordinator")
    return path


def run(cwd: str, env: dict[str, str], *line: str) -> str:
    """Runs a command that has to work; what it printed."""
    return subprocess.run(line, cwd=cwd, env=env, check=True, capture_output=True, text=True).stdout


def hire(path: str, name: str, role: str) -> None:
    """One more agent, with a session."""
    own = engine(path)
    own.call("quickstart", {"name": name, "role": role, "module": "shop"}, claim(path, name))
    own.close()


@contextlib.contextmanager
def daemon(path: str, env: dict[str, str]) -> Iterator[int]:
    """The daemon of a repository, while the context is open; its pid."""
    run(path, env, "git", "thrum", "daemon", "start")
    try:
        yield json.loads(run(path, env, "git", "thrum", "daemon", "status", "--json"))["pid"]
    finally:
        run(path, env, "git", "thrum", "daemon", "stop")


class Line:
    """One connection to the daemon of a repository, speaking as one of its agents."""

    def __init__(self, path: str, name: str) -> None:
        self._name = name
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(place.find(path).socket)
        self._file = self.socket.makefile("rb")

    def say(self, method: str, **params: Any) -> None:
        """Asks without waiting for the answer."""
        params["caller_agent_id"] = self._name
        self.socket.sendall(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        )

    def hear(self) -> Any:
        """The next answer's result. Raises RuntimeError for a refusal."""
        answer = json.loads(self._file.readline())
        if "result" not in answer:
            raise RuntimeError(answer)
        return answer["result"]

    def __call__(self, method: str, **params: Any) -> Any:
        self.say(method, **params)
        return self.hear()

    def close(self) -> None:
        """Hangs up."""
        self._file.close()
        self.socket.close()


def warm(line: Line) -> None:
    """Has the daemon get to know the worktree: it waits for two seconds after the first question, and looks around."""
    line("agent.listContext")
    time.sleep(WARMING)


def engine(path: str) -> Engine:
    """An engine in this process."""
    found = place.find(path)
    return Engine(found, Settings.load(found.common_dir, found.worktree, os.environ))


def claim(path: str, name: str = "lead") -> Claim:
    """An agent of the worktree at `path`."""
    return Claim(cwd=path, name=name)


def size(path: str) -> int:
    """Bytes of all files below `path`."""
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
