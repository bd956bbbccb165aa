"""`kill -9` at any moment, hundreds of times, without looking: of senders, and of daemons with clients of every kind.

Whatever was acknowledged is there once. A request whose answer never came is made again and stays one message.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults import scene, trace, workday
from tests.faults.away import away
from tests.faults.daemons import send_by_socket, serve, until_it_serves
from tests.sync.house import fsck
from thrum.git import place

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs Linux")
PEOPLE = ("ann", "bob")
MOMENT = 0.05
"""Seconds within which a sender dies; it says a word in half of that."""


def test_senders_may_be_killed_at_any_moment(ledger, rngs, effort):
    away(ledger, kill_senders, seconds=3000, seed=rngs.randrange(1 << 32), kills=effort(260, 2000))


def kill_senders(ledger, seed, kills):
    """Somebody is always sending; they are killed one after another, and the next goes on where they were."""
    chance = random.Random(seed)
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop")
        books = workday.Books(ledger, repo)
        senders = [Sender(repo, name) for name in PEOPLE]
        for number in range(kills):
            sender = chance.choice(senders)
            time.sleep(chance.uniform(0, MOMENT))
            books.take(sender.kill())
            ledger.fault()
            if number % 50 == 49:
                books.heals(f"kill {number}")
            sender.start()
        for sender in senders:
            books.take(sender.kill())
        books.leaves_no_litter()


class Sender:
    """A process that sends, one message after another, each under a request id of its own until it is acknowledged."""

    def __init__(self, repo: str, name: str) -> None:
        self.repo, self.name = repo, name
        self.tried = ""
        self.start()

    def start(self) -> None:
        """Another process; it begins with the request that was not acknowledged."""
        self._out = os.memfd_create(self.name)
        self._child = trace.spawn(lambda: send_on(self.repo, self.name, self.tried), out=self._out)

    def kill(self) -> str:
        """Kills it; what it had acknowledged."""
        os.kill(self._child, signal.SIGKILL)
        os.waitpid(self._child, 0)
        said = os.pread(self._out, 1 << 24, 0).decode()
        os.close(self._out)
        tried, told = _last(said, "TRY "), _last(said, "ACK ")
        if tried:
            self.tried = tried.split(" ")[1]
        if told and said.rindex("ACK ") > said.rindex("TRY "):
            self.tried = ""
        return said


def _last(said: str, begin: str) -> str:
    return next((line for line in reversed(said.split("\n")[:-1]) if line.startswith(begin)), "")


def send_on(repo: str, name: str, tried: str) -> None:
    """Sends until it is killed. What is tried is said before, what is acknowledged after."""
    while True:
        request = tried or os.urandom(8).hex()
        os.write(1, f"TRY {request}\n".encode())
        made = workday.thrum(repo, "--name", name, "send", "--request-id", request, f"{name} says {request}")
        workday.acknowledge("send", made["message_id"])
        tried = ""


def test_daemons_may_be_killed_under_clients_of_every_kind(ledger, rng, effort):
    away(ledger, kill_daemons, seconds=3000, seed=rng.randrange(1 << 32), kills=effort(12, 150))


def kill_daemons(ledger, seed, kills):
    """A daemon dies; its clients over the Unix socket, the WebSocket, MCP and the command line go on as they can."""
    chance = random.Random(seed)
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", folder / "origin.git")
        books = workday.Books(ledger, repo)
        out = os.memfd_create("said")
        kinds = (by_command, by_unix_socket, by_websocket, by_mcp)
        clients = [trace.spawn(lambda kind=kind: kind(repo), out=out, err=2) for kind in kinds]
        try:
            for number in range(kills):
                daemon = trace.spawn(lambda: serve(repo), err=2)
                until_it_serves(repo)
                time.sleep(chance.uniform(0, 0.6))
                os.kill(daemon, signal.SIGKILL)
                os.waitpid(daemon, 0)
                ledger.fault()
                books.heals(f"daemon {number}", sound=False)
            Path(repo, ".git", "enough").touch()
            for client in clients:
                _, status = os.waitpid(client, 0)
                assert status == 0, "a client was refused"
        finally:
            for client in clients:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(client, signal.SIGKILL)
        said = os.pread(out, 1 << 24, 0).decode()
        books.take(said)
        kinds_heard = {line.split(" ")[3] for line in said.split("\n") if line.startswith("ACK send")}
        assert kinds_heard == {"command", "unix", "websocket", "mcp"}, kinds_heard
        books.leaves_no_litter()
        fsck(repo)


def is_enough(repo: str) -> bool:
    return os.path.exists(f"{repo}/.git/enough")


def by_command(repo: str) -> None:
    """The command line, which never fails: with the daemon, and without it in its own process."""
    while not is_enough(repo):
        made = workday.thrum(repo, "--name", "ann", "send", "by command")
        workday.acknowledge("send", made["message_id"], "command")


def by_unix_socket(repo: str) -> None:
    """A request that was not answered is made again, over the next connection, under the same id."""
    again(repo, "unix", lambda request: send_by_socket(repo, "ann", request))


def by_websocket(repo: str) -> None:
    again(repo, "websocket", lambda request: send_by_websocket(repo, request))


def again(repo: str, kind: str, send: object) -> None:
    """One message after another, each asked for until it is acknowledged."""
    while not is_enough(repo):
        request = os.urandom(8).hex()
        made = None
        while made is None and not is_enough(repo):
            with contextlib.suppress(OSError, ValueError, EOFError):
                made = send(request)  # type: ignore[operator]
            if made is None:
                time.sleep(0.01)
        if made is not None:
            workday.acknowledge("send", made, kind)


def send_by_websocket(repo: str, request: str) -> str | None:
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    from tests.faults.daemons import sending

    var = place.find(repo).var_dir
    port, token = (Path(var, name).read_text().strip() for name in ("ws.port", "ws.token"))
    try:
        with connect(
            f"ws://localhost:{port}/ws",
            additional_headers={"Authorization": f"Bearer {token}"},
            proxy=None,
            open_timeout=5,
        ) as line:
            line.send(sending(repo, "bob", "by websocket", request))
            while "id" not in (answer := json.loads(line.recv(timeout=20))):
                pass
            return str(answer["result"]["message_id"]) if "result" in answer else None
    except (WebSocketException, TimeoutError):
        return None


def by_mcp(repo: str) -> None:
    """An MCP server of a coding agent: it stays, whatever happens to the daemon."""
    line = [sys.executable, "-m", "thrum", "mcp", "serve", "--agent-id", "bob"]
    with subprocess.Popen(line, cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:

        def ask(number: int, method: str, params: object) -> dict[str, object]:
            print(
                json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}),
                file=server.stdin,
                flush=True,
            )
            while True:
                answer = json.loads(server.stdout.readline())
                if answer.get("id") == number:
                    return dict(answer["result"])

        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        ask(0, "initialize", hello)
        print(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}), file=server.stdin, flush=True)
        number = 0
        while not is_enough(repo):
            number += 1
            told = ask(number, "tools/call", {"name": "send_message", "arguments": {"to": "@ann", "content": "by mcp"}})
            assert not told.get("isError"), told
            workday.acknowledge("send", told["structuredContent"]["message_id"], "mcp")  # type: ignore[index]
        server.stdin.close()


def test_who_waits_while_the_daemon_dies_gets_the_mail_that_comes_then(ledger, rng, effort):
    away(ledger, kill_under_wait, seconds=3000, seed=rng.randrange(1 << 32), kills=effort(4, 40))


def kill_under_wait(ledger, seed, kills):
    """`wait` goes on in its own process, and hears what is said after the daemon's end."""
    chance = random.Random(seed)
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop")
        books = workday.Books(ledger, repo)
        for number in range(kills):
            daemon = trace.spawn(lambda: serve(repo), err=2)
            until_it_serves(repo)
            out = os.memfd_create("heard")
            waiter = trace.spawn(lambda: wait_for_mail(repo), out=out, err=2)
            time.sleep(chance.uniform(0, 0.2))
            os.kill(daemon, signal.SIGKILL)
            os.waitpid(daemon, 0)
            ledger.fault()
            sent = workday.thrum(repo, "--name", "ann", "send", f"after {number}", "--to", "@bob")["message_id"]
            books.take(f"ACK send {sent}\n")
            os.waitpid(waiter, 0)
            heard = os.pread(out, 1 << 16, 0).decode()
            os.close(out)
            assert heard == f"ACK heard {sent}\n", heard
        books.leaves_no_litter()


def wait_for_mail(repo: str) -> None:
    found = workday.thrum(repo, "--name", "bob", "wait", "--timeout", "60s")
    workday.acknowledge("heard", found["message_id"] if "message_id" in found else found["message"]["message_id"])
