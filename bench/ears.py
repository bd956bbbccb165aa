"""Whoever waits for mail: a blocked `message.wait`, a WebSocket client, a tool call at an MCP server.

Each is one descriptor to select on, so that a hundred of them cost next to nothing beside the daemon.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any, Protocol

from bench.playground import Line
from thrum.git import place


class Ear(Protocol):
    """One that waits."""

    def fileno(self) -> int:
        """What to select on."""

    def listen(self) -> None:
        """Begins to wait for the next message."""

    def takes(self, word: bytes) -> bool:
        """Reads what has come; whether the message with `word` in it is there. Raises RuntimeError for another one."""

    def close(self) -> None:
        """Hangs up."""


class Waiting:
    """A blocked `message.wait` of an agent."""

    def __init__(self, path: str, name: str) -> None:
        self._line, self._heard = Line(path, name), b""

    def fileno(self) -> int:
        return self._line.socket.fileno()

    def listen(self) -> None:
        self._heard = b""
        self._line.say("message.wait", timeout=60)

    def takes(self, word: bytes) -> bool:
        self._heard += self._line.socket.recv(65536)
        return self._heard.endswith(b"\n") and _is_sound(self._heard, word)

    def close(self) -> None:
        self._line.close()


class Browser:
    """A WebSocket client that has subscribed to all mail of an agent."""

    def __init__(self, path: str, name: str) -> None:
        here, self._heard = place.find(path), b""
        port = int(Path(here.var_dir, "ws.port").read_text())
        self._socket = socket.create_connection(("127.0.0.1", port))
        token = Path(here.var_dir, "ws.token").read_text().strip()
        self._socket.sendall(_greeting(port, token))
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._socket.recv(4096)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise RuntimeError(answer.decode())
        asked = {"method": "subscribe", "params": {"all": True, "caller_agent_id": name}}
        self._socket.sendall(_frame(json.dumps({"jsonrpc": "2.0", "id": 1, **asked}).encode()))
        _is_sound(self._socket.recv(65536), b'"subscription_id"')

    def fileno(self) -> int:
        return self._socket.fileno()

    def listen(self) -> None:
        """It always does."""
        self._heard = b""

    def takes(self, word: bytes) -> bool:
        self._heard += self._socket.recv(65536)
        return word in self._heard

    def close(self) -> None:
        self._socket.close()


class Tool:
    """A call of `wait_for_message` at an MCP server, as a coding agent makes it."""

    def __init__(self, path: str, name: str, env: dict[str, str]) -> None:
        line = ("git-thrum", "mcp", "serve", "--agent-id", name)
        self._server = subprocess.Popen(line, cwd=path, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._heard = b""
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
        self._say("initialize", about, id=0)
        assert self._server.stdout
        self._server.stdout.readline()
        self._say("notifications/initialized", {})

    def fileno(self) -> int:
        assert self._server.stdout
        return self._server.stdout.fileno()

    def listen(self) -> None:
        self._heard = b""
        self._say("tools/call", {"name": "wait_for_message", "arguments": {"timeout": 60}}, id=1)

    def takes(self, word: bytes) -> bool:
        self._heard += os.read(self.fileno(), 65536)
        return self._heard.endswith(b"\n") and _is_sound(self._heard, word)

    def close(self) -> None:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()

    def _say(self, method: str, params: dict[str, Any], **more: Any) -> None:
        assert self._server.stdin
        line = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, **more})
        self._server.stdin.write(line.encode() + b"\n")
        self._server.stdin.flush()


def _is_sound(answer: bytes, wanted: bytes) -> bool:
    if wanted not in answer:
        raise RuntimeError(answer.decode(errors="replace"))
    return True


def _greeting(port: int, token: str) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /ws HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", f"Authorization: Bearer {token}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode()


def _frame(text: bytes) -> bytes:
    """A masked text frame; the mask is zero, which is a mask, too."""
    length = bytes((0x80 | len(text),)) if len(text) < 126 else bytes((0x80 | 126,)) + struct.pack(">H", len(text))
    return b"\x81" + length + bytes(4) + text
