"""How many sends a second are durable and answered, beside a loop that writes and flushes, and beside starting processes."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench import playground
from bench.alone import ROOT, logs
from bench.commands import LINES, PASS
from bench.goals import row
from bench.measure import Action, Row, command, in_turn, medians
from bench.scale import Scale
from thrum.git import place

CONNECTIONS = 16
PROCESSES = EACH = 10


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """Over one connection, over many, and from many processes at once."""
    path = playground.repository(root, "durable", env, remote=False)
    with playground.daemon(path, env):
        address = place.find(path).socket
        yield _sends("durable.one", address, path, root, 1, scale.sends, scale)
        yield _sends("durable.many", address, path, root, CONNECTIONS, scale.sends // 2 or 1, scale)
        for key, kind in (("least", ()), ("barest", ("sends",))):
            with _least(f"{root}/{key}", *kind) as least:
                yield _sends(f"durable.one.{key}", least, path, root, 1, scale.sends, scale)
                yield _sends(f"durable.many.{key}", least, path, root, CONNECTIONS, scale.sends // 2 or 1, scale)
        yield from _burst(path, env, scale)


@contextlib.contextmanager
def _least(path: str, *kind: str) -> Iterator[str]:
    """The socket of the least daemon there can be, of a kind."""
    line = (sys.executable, "-m", "bench.least", f"{path}.sock", f"{path}.jsonl", *kind)
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE) as least:
        assert least.stdout
        least.stdout.readline()
        try:
            yield f"{path}.sock"
        finally:
            least.kill()


def _sends(key: str, address: str, path: str, root: str, many: int, each: int, scale: Scale) -> Row:
    crowd, line, file = Crowd(address, many), _line(path), f"{root}/reference.jsonl"
    runs = in_turn(
        (lambda: crowd.send(each), lambda: _at_once(many, lambda: write_and_flush(file, [line] * each))), scale.slow
    )
    crowd.close()
    sent, written = (many * each / spent * 1000 for spent in medians(runs))
    return row(key, sent, written, scale.slow)


def _line(path: str) -> bytes:
    """A line as the sends leave it."""
    crowd = Crowd(place.find(path).socket, 1)
    crowd.send(1)
    crowd.close()
    *_, last = (line for data in logs(place.find(path).log_root) for line in data.splitlines(keepends=True))
    return last


def _at_once(many: int, work: Action) -> None:
    if many == 1:
        work()
        return
    threads = [threading.Thread(target=work) for _ in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write_and_flush(path: str, lines: Sequence[bytes]) -> None:
    """Makes each line durable by itself."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for line in lines:
        os.write(descriptor, line)
        os.fdatasync(descriptor)
    os.close(descriptor)


def _burst(path: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    before, send, floor = _count(path, env), command(("git-thrum", *LINES["send"]), path, env), command(PASS, path, env)
    runs = in_turn((lambda: _processes(send), lambda: _processes(floor)), scale.slow, within=60)
    kept = (_count(path, env) - before) / (len(runs[0]) + 1)
    sent, started = (PROCESSES * EACH / spent * 1000 for spent in medians(runs))
    yield row("durable.processes", sent, started, len(runs[0]))
    yield row("durable.kept", kept, runs=len(runs[0]) + 1)


def _processes(action: Action) -> None:
    with ThreadPoolExecutor(PROCESSES) as pool:
        for done in [pool.submit(lambda: [action() for _ in range(EACH)]) for _ in range(PROCESSES)]:
            done.result()


def _count(path: str, env: dict[str, str]) -> int:
    return int(json.loads(playground.run(path, env, "git", "thrum", "sent", "--json"))["total"])


class Crowd:
    """Clients that each send one message after the other; all in one thread, so that they cost little beside the daemon."""

    def __init__(self, address: str, many: int, ask: Callable[[], dict] | None = None) -> None:
        self._ask = ask or _message
        self._selector = selectors.DefaultSelector()
        self._clients: list[socket.socket] = []
        for _ in range(many):
            client = socket.socket(socket.AF_UNIX)
            client.connect(address)
            self._selector.register(client, selectors.EVENT_READ)
            self._clients.append(client)

    def send(self, each: int) -> list[float]:
        """Has every client send so many messages; how long each took, in seconds."""
        left, began, took = dict.fromkeys(self._clients, each), dict[socket.socket, float](), list[float]()
        for client in self._clients:
            began[client] = self._send_one(client)
        while began:
            for key, _ in self._selector.select():
                client: socket.socket = key.fileobj  # type: ignore[assignment]
                answer = client.recv(65536)
                if b'"result"' not in answer:
                    raise RuntimeError(answer.decode())
                took.append(time.perf_counter() - began.pop(client))
                left[client] -= 1
                if left[client]:
                    began[client] = self._send_one(client)
        return took

    def close(self) -> None:
        """Hangs up."""
        self._selector.close()
        for client in self._clients:
            client.close()

    def _send_one(self, client: socket.socket) -> float:
        start = time.perf_counter()
        client.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, **self._ask()}).encode() + b"\n")
        return start


def _message() -> dict:
    return {"method": "message.send", "params": {"content": "x" * 200, "to": ["@lead"], "caller_agent_id": "lead"}}
