"""The rows of the table."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from bench import playground
from bench.measure import Row, command, interleaved, seconds
from thrum.core import codec
from thrum.git import place
from thrum.store.journal import Journal

PASS = (sys.executable, "-I", "-S", "-c", "pass")
FLOOR = "python -I -S -c pass"


def commands(root: str, env: dict[str, str], times: int) -> Iterator[Row]:
    """`send` and `inbox`, with a warm daemon and without, beside the interpreter and `git status`."""
    path = playground.repository(root, "commands", env)
    send = command(("git", "thrum", "send", "hello", "--quiet"), path, env)
    inbox = command(("git", "thrum", "inbox", "--peek"), path, env)
    floor, status = command(PASS, path, env), command(("git", "status", "--porcelain"), path, env)
    for how in ("without a daemon", "with a warm daemon"):
        if how.startswith("with a"):
            subprocess.run(("git", "thrum", "daemon", "start"), cwd=path, env=env, check=True, capture_output=True)
        sent, shown, bare, git = interleaved((send, inbox, floor, status), times)
        yield Row(f"git thrum send, {how}", sent, "ms", FLOOR, bare)
        yield Row(f"git thrum inbox, {how}", shown, "ms", FLOOR, bare)
        yield Row(f"git thrum inbox, {how}", shown, "ms", "git status", git)
    yield from _daemon(path, env, times)
    subprocess.run(("git", "thrum", "daemon", "stop"), cwd=path, env=env, check=True, capture_output=True)


def _daemon(path: str, env: dict[str, str], times: int) -> Iterator[Row]:
    yield _wake(path, env, max(times, 20))
    answer = subprocess.run(
        ("git", "thrum", "daemon", "status", "--json"), cwd=path, env=env, capture_output=True, check=True
    )
    pid = json.loads(answer.stdout)["pid"]
    time.sleep(2)
    before = _cpu(pid)
    time.sleep(5)
    yield Row(
        "daemon: CPU when idle", (_cpu(pid) - before) / 5 * 100, "%", goal="<= 0.5 %", met=(_cpu(pid) - before) <= 0.025
    )
    with open(f"/proc/{pid}/status") as file:
        resident = next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmRSS"))
    yield Row("daemon: memory", resident, "MB", goal="<= 80 MB", met=resident <= 80)


def _wake(path: str, env: dict[str, str], times: int) -> Row:
    """From a message's being handed to the daemon, storing included, to a blocked wait's having it."""
    subprocess.run(
        ("git", "thrum", "quickstart", "--name", "rita", "--role", "reviewer", "--module", "shop"),
        cwd=path, env=env, check=True, capture_output=True,
    )  # fmt: skip
    late = [_one_wake(path, number) for number in range(times)]
    middle = statistics.median(late) * 1000
    return Row("wait: sent, stored and heard, median", middle, "ms", goal="<= 5 ms", met=middle <= 5)


def _one_wake(path: str, number: int) -> float:
    waiting, sending = _Line(path), _Line(path)
    who = {"caller_agent_id": "rita"}
    waiting.say("message.wait", {"timeout": 20, **who})
    time.sleep(0.03)
    heard: list[float] = []
    listener = threading.Thread(target=lambda: heard.append((waiting.hear(), time.perf_counter())[1]))
    listener.start()
    start = time.perf_counter()
    sending.say("message.send", {"content": f"wake {number}", "to": ["@rita"], "caller_agent_id": "lead"})
    message_id = sending.hear()["result"]["message_id"]
    listener.join()
    sending.say("message.markRead", {"message_ids": [message_id], **who})
    sending.hear()
    return heard[0] - start


class _Line:
    """One connection to the daemon."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(place.find(path).socket)
        self._file = self._socket.makefile("rb")

    def say(self, method: str, params: dict) -> None:
        self._socket.sendall(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
        )

    def hear(self) -> dict:
        return json.loads(self._file.readline())


def _cpu(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def hooks(root: str, env: dict[str, str], times: int) -> Iterator[Row]:
    """A commit and a checkout with our hooks and without."""
    path = playground.repository(root, "hooked", env, remote=False)
    run = {"cwd": path, "env": env, "check": True, "capture_output": True}
    subprocess.run(("git", "branch", "other"), **run)
    bare = f"{root}/bare"
    subprocess.run(("cp", "-r", path, bare), check=True)
    subprocess.run(("git", "thrum", "hooks", "uninstall"), **{**run, "cwd": bare})
    commit = ("git", "commit", "-q", "--allow-empty", "-m", "x")
    for name, line in (("git commit", commit), ("git checkout", ("git", "checkout", "-q", "@{-1}"))):
        for where in (path, bare):
            subprocess.run(("git", "checkout", "-q", "other"), **{**run, "cwd": where})
            subprocess.run(("git", "checkout", "-q", "main"), **{**run, "cwd": where})
        with_, without = interleaved((command(line, path, env), command(line, bare, env)), times * 3)
        yield Row(f"{name} with our hooks", with_, "ms", "without", without, "+ <= 2 ms", with_ - without <= 2)


def appends(root: str, env: dict[str, str], times: int) -> Iterator[Row]:
    """Durable appends, beside `write` and `fdatasync` of the same lines."""
    count = 200 * times
    journal = Journal(f"{root}/appends/a-sync", "0123456789ab")
    own = _event_maker()
    events = [own(number) for number in range(count)]
    spent = seconds(lambda: [journal.append("lead", event) for event in events])
    lines = [codec.encode(event) + b"\n" for event in events]
    raw = seconds(lambda: _write_raw(f"{root}/raw", lines))
    yield Row("durable appends, 1 process", count / spent, "/s", "write + fdatasync", count / raw)
    spent = _in_processes(_append_many, [(f"{root}/shared/a-sync", count // 10) for _ in range(10)])
    raw = _in_processes(_append_raw, [(f"{root}/raw{number}", count // 10) for number in range(10)])
    yield Row("durable appends to one log, 10 processes", count / spent, "/s", "write + fdatasync x 10", count / raw)


def _event_maker():
    def make(number: int) -> dict:
        body = {"format": "markdown", "content": "a message of ordinary length " * 8}
        stamp = "2026-01-01T00:00:00.000000000Z"
        words = {"type": "message.create", "timestamp": stamp, "agent_id": "lead", "body": body, "everyone": True}
        return {**words, "event_id": f"evt_{number:026d}", "message_id": f"msg_{number:026d}"}

    return make


def _write_raw(path: str, lines: list[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for line in lines:
        os.write(descriptor, line)
        os.fdatasync(descriptor)
    os.close(descriptor)


def _append_many(path: str, count: int) -> None:
    journal, make = Journal(path, "0123456789ab"), _event_maker()
    for number in range(count):
        journal.append("lead", make(number))


def _append_raw(path: str, count: int) -> None:
    make = _event_maker()
    _write_raw(path, [codec.encode(make(number)) + b"\n" for number in range(count)])


def _in_processes(work, arguments: list[tuple]) -> float:
    processes = [multiprocessing.Process(target=work, args=given) for given in arguments]
    start = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return time.perf_counter() - start


def histories(root: str, env: dict[str, str], sizes: tuple[int, int, int], times: int) -> Iterator[Row]:
    """What grows with history and what must not: rebuild, inbox, one sync."""
    small, middle, large = sizes
    seen: dict[int, dict[str, float]] = {}
    for count in sizes:
        path = playground.repository(root, f"history{count}", env)
        own = playground.engine(path)
        playground.fill(own, count)
        seen[count] = {}
        if count != small:
            yield _rebuild(own, count)
        own.catch_up()
        if count != middle:
            seen[count] = _costs(own, path, env, times)
        own.close()
    here, there = seen[small], seen[large]
    yield Row(
        f"inbox at {large:,} messages",
        there["inbox"],
        "ms",
        f"at {small:,}",
        here["inbox"],
        "<= 2 x",
        there["inbox"] <= 2 * here["inbox"],
    )
    yield Row(
        f"git thrum inbox at {large:,}",
        there["command"],
        "ms",
        f"at {small:,}",
        here["command"],
        "<= 2 x",
        there["command"] <= 2 * here["command"],
    )
    yield Row(
        f"one sync of one message at {large:,}",
        there["sync"],
        "ms",
        f"at {small:,}",
        here["sync"],
        "<= 2 x",
        there["sync"] <= 2 * here["sync"],
    )
    yield Row(f"growth of .git by one sync at {large:,}", there["growth"], "kB", f"at {small:,}", here["growth"])


def _rebuild(own, count: int) -> Row:
    total = sum(data.count(b"\n") for data in playground.read_logs(own.place.log_root))
    decode = min(seconds(lambda: _decode_all(own.place.log_root)) for _ in range(3))
    rebuild = min(seconds(own.projection.rebuild) for _ in range(3))
    rate = total / rebuild
    return Row(
        f"rebuild of {count:,} messages",
        rate,
        "/s",
        "reading and decoding",
        total / decode,
        ">= 40,000 /s",
        rate >= 40_000,
    )


def _decode_all(root: str) -> None:
    for data in playground.read_logs(root):
        for line in data.split(b"\n")[:-1]:
            codec.decode(line)


def _costs(own, path: str, env: dict[str, str], times: int) -> dict[str, float]:
    asked = playground.claim(path)
    look = lambda: own.call("message.list", {"exclude_self": True}, asked)  # noqa: E731
    shown, typed = interleaved((look, command(("git", "thrum", "inbox", "--peek"), path, env)), times)
    own.sync_now()
    subprocess.run(("git", "gc", "--quiet"), cwd=path, env=env, check=True)
    before = playground.size(path + "/.git/objects")
    rounds = max(times // 2, 5)
    spent = []
    for number in range(rounds):
        own.call("message.send", {"content": f"one more {number}"}, asked)
        spent.append(seconds(own.sync_now))
    grown = (playground.size(path + "/.git/objects") - before) / rounds / 1000
    return {"inbox": shown, "command": typed, "sync": statistics.median(spent) * 1000, "growth": grown}
