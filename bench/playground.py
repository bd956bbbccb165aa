"""A repository with thrum in it, and logs of any length written straight through the journal."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from thrum.config import Settings
from thrum.core import clock, ids
from thrum.engine import Claim, Engine
from thrum.git import place
from thrum.store import disk

BIN = Path(sys.executable).parent
AGENTS = ("lead", "carl", "rita", "omar", "petra")


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

    def run(*line: str, cwd: str = path) -> None:
        subprocess.run(line, cwd=cwd, env=env, check=True, capture_output=True)

    if remote:
        run("git", "init", "-q", "--bare", f"{path}.git", cwd=root)
        run("git", "clone", "-q", f"{path}.git", path, cwd=root)
    else:
        run("git", "init", "-q", path, cwd=root)
    for number in range(files):
        Path(path, f"file{number}.py").write_text(f"value = {number}\n" * 20)
    run("git", "add", ".")
    run("git", "commit", "-qm", "Begin")
    run("git", "thrum", "init")
    run("git", "thrum", "quickstart", "--name", "lead", "--role", "coordinator", "--module", "shop")
    return path


def engine(path: str) -> Engine:
    """An engine in this process."""
    found = place.find(path)
    return Engine(found, Settings.load(found.common_dir, found.worktree, os.environ))


def fill(own: Engine, messages: int, reader: str = "lead", unread: int = 30) -> None:
    """Writes `messages` messages of five agents, most to everyone; `reader` has read all but the last `unread`."""
    chance, ulids, start = random.Random(7), ids.Ulids(), time.time_ns() - messages * 1_000_000
    durable, os.fdatasync = os.fdatasync, lambda descriptor: None  # type: ignore[assignment]
    try:
        batches: dict[str, list[dict]] = {name: [] for name in AGENTS}
        for name in AGENTS:
            if own.roster.agent(name) is None:
                words = {"agent_id": name, "kind": "agent", "role": "implementer", "module": "shop", "version": 1}
                batches[name].append(_event(ulids, "agent.register", start, **words))
        sent = []
        for number in range(messages):
            instant, author = start + number * 1_000_000, chance.choice(AGENTS)
            sent.append("msg_" + ulids.next(instant, chance.randbytes(10)))
            batches[author].append(_message(ulids, chance, instant, author, sent[-1]))
        read = sent[: len(sent) - unread]
        for first in range(0, len(read), 500):
            batches[reader].append(
                _event(ulids, "message.read", time.time_ns(), agent_id=reader, message_ids=read[first : first + 500])
            )
        for name, events in batches.items():
            for first in range(0, len(events), 500):
                own.journal.append(name, *events[first : first + 500])
    finally:
        os.fdatasync = durable


def _message(ulids: ids.Ulids, chance: random.Random, instant: int, author: str, message_id: str) -> dict:
    to = {"everyone": True} if chance.random() < 0.7 else {"to": [chance.choice(AGENTS)]}
    words = " ".join(
        chance.choice(("the", "cart", "total", "is", "ready", "rounded", "please", "look")) for _ in range(40)
    )
    body = {"format": "markdown", "content": words}
    scopes = [{"type": "module", "value": chance.choice(("cart", "tax"))}]
    return _event(
        ulids, "message.create", instant, message_id=message_id, agent_id=author, body=body, scopes=scopes,
        session_id="ses_" + "0" * 26, **to,
    )  # fmt: skip


def _event(ulids: ids.Ulids, kind: str, instant: int, /, **fields: object) -> dict:
    event_id = "evt_" + ulids.next(instant, os.urandom(10))
    return {"type": kind, "timestamp": clock.text(instant), "event_id": event_id, **fields}


def claim(path: str) -> Claim:
    """The agent of the worktree at `path`."""
    return Claim(cwd=path, name="lead")


def size(path: str) -> int:
    """Bytes of all files below `path`."""
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def read_logs(root: str) -> Iterator[bytes]:
    """Every log file below `root`."""
    for folder, _, names in os.walk(root + "/messages"):
        for name in sorted(names):
            if name.endswith(".jsonl"):
                yield disk.read(f"{folder}/{name}")
