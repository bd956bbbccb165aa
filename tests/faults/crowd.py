"""A daemon with a crowd at its doors: what it costs, what it wrote, and clients of every manner."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import socket
import struct
import time
from pathlib import Path

from websockets.sync.client import connect

from tests import kit
from thrum.daemon import lifecycle
from thrum.git.place import find

MOST_MEMORY = 256 * 1024 * 1024
"""Bytes the daemon may ever have had in memory, whatever came in."""
PATIENCE = 60.0
TEXT, BINARY, CLOSE, PING, PONG, CONTINUED = 1, 2, 8, 9, 10, 0


class Daemon:
    """A real daemon of a repository, and two agents to speak as."""

    def __init__(self, path):
        kit.set_up(path).close()
        self.path, self.place = path, find(str(path))
        self.pid = lifecycle.start(self.place).pid
        self.anna, self.omar = {"cwd": str(path), "name": "anna"}, {"cwd": str(path), "name": "omar"}
        with Wire(self) as wire:
            for caller, role in ((self.anna, "implementer"), (self.omar, "reviewer")):
                wire("agent.register", name=caller["name"], role=role, module="core", caller=caller)
                wire("session.start", caller=caller)
            self.log = Path(wire("health")["log"])
        with Browser(self) as browser:  # the library behind the WebSocket is there now: what comes counts as load
            browser("health")
        self.descriptors = self.count_descriptors()

    @property
    def port(self):
        """The WebSocket's."""
        return int(Path(self.place.var_dir, "ws.port").read_text())

    @property
    def token(self):
        """What opens it."""
        return Path(self.place.var_dir, "ws.token").read_text().strip()

    def count_descriptors(self):
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def most_memory(self):
        """The largest its resident memory ever was, in bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) * 1024

    def check(self):
        """It is as it was before the crowd came: alive, slim, nothing open any more, nothing in the log that it regrets."""
        soon(lambda: self.count_descriptors() <= self.descriptors, "descriptors are still open")
        assert self.most_memory < MOST_MEMORY, f"{self.most_memory >> 20} MiB"
        with Wire(self) as wire:
            assert wire("health")["pid"] == self.pid
        said = self.log.read_text()
        assert "Traceback" not in said and "incident" not in said and "ERROR" not in said, said[-3000:]

    def close(self):
        """Ends it."""
        if lifecycle.owner(self.place):
            lifecycle.stop(self.place)


class Wire:
    """A client on the Unix socket."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(daemon.place.socket)
        self.socket.settimeout(PATIENCE)
        self._answers = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._answers.close()
        self.socket.close()

    def write(self, frame):
        self.socket.sendall(frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass"))

    def say(self, method, id=1, **params):
        self.write(request(method, id, **params) + "\n")

    def receive(self):
        line = self._answers.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def ask(self, method, **params):
        """The answer, whatever it is."""
        self.say(method, **params)
        return self.receive()

    def __call__(self, method, **params):
        answer = self.ask(method, **params)
        assert "result" in answer, answer
        return answer["result"]


class Browser:
    """An honest client of the WebSocket; what it was told unasked is in `pushed`."""

    def __init__(self, daemon):
        headers = {"Authorization": f"Bearer {daemon.token}"}
        uri = f"ws://127.0.0.1:{daemon.port}/ws"
        context = connect(uri, additional_headers=headers, proxy=None, open_timeout=PATIENCE, max_size=None)
        self.socket = context.__enter__()
        self.pushed = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def say(self, method, id=1, **params):
        self.socket.send(request(method, id, **params))

    def receive(self):
        """The next answer."""
        while "id" not in (answer := json.loads(self.socket.recv(timeout=PATIENCE))):
            self.pushed.append(answer)
        return answer

    def ask(self, method, **params):
        """The answer, whatever it is."""
        self.say(method, **params)
        return self.receive()

    def __call__(self, method, **params):
        answer = self.ask(method, **params)
        assert "result" in answer, answer
        return answer["result"]


class RawSocket:
    """A WebSocket client that writes its frames by hand."""

    def __init__(self, daemon, *headers, token=True, host=""):
        self.socket = socket.create_connection(("127.0.0.1", daemon.port), PATIENCE)
        said = [
            "GET /ws HTTP/1.1",
            f"Host: {host or f'localhost:{daemon.port}'}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            *([f"Authorization: Bearer {daemon.token}"] if token else []),
            *headers,
        ]
        self.socket.sendall(("\r\n".join([*said, "", ""])).encode())
        self._stream = self.socket.makefile("rb")
        self.status = int((self._stream.readline().split() or [b"", b"0"])[1])
        self.headers = b"".join(iter(self._stream.readline, b"\r\n")) if self.status == 101 else b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stream.close()
        self.socket.close()

    def write(self, payload, kind=TEXT, *, last=True, reserved=0, claimed=None):
        """One frame; `claimed`: the length it says it has."""
        data = payload if isinstance(payload, bytes) else payload.encode()
        size = len(data) if claimed is None else claimed
        head = bytes([(0x80 if last else 0) | reserved | kind])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 1 << 16:
            head += b"\xfe" + struct.pack(">H", size)
        else:
            head += b"\xff" + struct.pack(">Q", size)
        self.socket.sendall(head + b"\0\0\0\0" + data)  # masked with zeros: as it is

    def say(self, method, id=1, **params):
        self.write(request(method, id, **params))

    def read(self):
        """The next frame: (kind, payload); raises EOFError at the end."""
        head = self._stream.read(2)
        if len(head) < 2:
            raise EOFError
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(self._stream.read(2 if size == 126 else 8), "big")
        return head[0] & 0x0F, self._stream.read(size)

    def receive(self):
        """The next text, as JSON."""
        while (frame := self.read())[0] != TEXT:
            assert frame[0] in (PING, PONG), frame
        return json.loads(frame[1])

    def close_code(self):
        """What it was closed with; 0 without a word."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                kind, payload = self.read()
                if kind == CLOSE:
                    return int.from_bytes(payload[:2], "big")
        return 0


def request(method, id=1, **params):
    """A request as text."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def soon(condition, complaint="it never came"):
    """Waits for `condition`, patiently."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.01)


def allow_many_files():
    """A thousand clients need a thousand descriptors here, too."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
