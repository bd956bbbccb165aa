"""The way to the methods: through the daemon if one answers, else in this process; found anew for each call.

So nothing has to be noticed when a daemon comes, goes or hangs, and when somebody registers in the worktree.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import anyio
from anyio import to_thread

from thrum import client, door, errors
from thrum.caller import Claim
from thrum.config import Settings
from thrum.core import jsonrpc
from thrum.errors import DaemonError, ThrumError
from thrum.git import place

Json = dict[str, Any]
WAIT = "message.wait"
_SIGN_OF_LIFE = 5.0
"""Seconds without an answer after which the daemon is asked whether it still lives."""
_REST = 30.0
"""Seconds for which a daemon that does not even say that is left alone."""
_LOOK_FOR_DAEMON = 2.0
"""Seconds between two looks for a daemon while a wait goes on in this process."""
_MOMENT = 0.05
"""Seconds; less than that is not worth another wait."""
_LARGEST_ANSWER = 1 << 30  # bytes
_WAITS = anyio.CapacityLimiter(32)
"""Waits in this process at once; the next one begins when one of them ends, and never keeps other calls waiting."""


class Door:
    """Calls methods as whoever the claim says, wherever that agent's worktree is served just now."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self._resting_until = 0.0

    async def call(self, method: str, params: Json) -> Any:
        """One call's result. Raises ThrumError."""
        answer = await self._ask_daemon(method, params)
        return await to_thread.run_sync(self._do, method, params) if answer is None else answer

    async def wait(self, params: Json, seconds: float) -> Json:
        """`message.wait` for so long, whatever becomes of the daemon meanwhile. Cancelling it ends it everywhere."""
        end = time.monotonic() + seconds
        while True:
            asked = {**params, "timeout": max(end - time.monotonic(), 0.0)}
            answer: Json = await self._ask_daemon(WAIT, asked) or await self._wait_here(asked)
            if answer.get("status") != "timeout" or end - time.monotonic() < _MOMENT:
                return answer

    def _do(self, method: str, params: Json, is_unwanted: Callable[[], bool] = lambda: False) -> Any:
        """The call in this process, with everything it needs opened and closed again. Blocks."""
        began, here = time.monotonic(), place.find(self.claim.cwd)
        settings = Settings.load(here.common_dir, here.worktree, os.environ)
        door = client.InProcess(here, settings, self.claim, began, is_unwanted)
        try:
            return door.call(method, params)
        finally:
            door.close()

    async def _wait_here(self, params: Json) -> Json:
        """Waits in this process until there is mail, time is up, or a daemon is there to do it better."""
        call_off = _CallOff(place.find(self.claim.cwd).socket)
        try:
            return await to_thread.run_sync(self._wait, params, call_off, abandon_on_cancel=True, limiter=_WAITS)
        finally:
            call_off.is_cancelled = True

    def _wait(self, params: Json, call_off: _CallOff) -> Json:
        try:
            answer: Json = self._do(WAIT, params, call_off)
        except KeyboardInterrupt:  # how a wait in this process ends when nobody wants it any more
            return {"status": "timeout"}
        return answer

    async def _ask_daemon(self, method: str, params: Json) -> Any | None:
        """The daemon's result, None when there is no daemon that answers. Raises ThrumError for its refusal."""
        path = place.find(self.claim.cwd).socket
        if time.monotonic() < self._resting_until:
            return None
        try:
            self.claim.cwd.encode()  # bytes that are no UTF-8 do not travel as JSON: ValueError
            line = jsonrpc.encode(self._request(method, params)) + b"\n"
            connection = door.connect(path)
            answer = json.loads(await _exchange(connection, path, line)) if connection else {}
        except TimeoutError:
            self._resting_until = time.monotonic() + _REST
            return None
        except (OSError, ValueError):  # it has gone, or never was a daemon
            return None
        return _result(answer)

    def _request(self, method: str, params: Json) -> Json:
        claim = self.claim
        caller = {"cwd": claim.cwd, "name": claim.name, "role": claim.role, "module": claim.module}
        params = {**params, "caller": {**caller, "environ": dict(claim.environ)}}
        return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


class _CallOff:
    """Whether a wait in this process has to end; asked between two looks, on its thread."""

    def __init__(self, path: str) -> None:
        self.is_cancelled = False
        self._path, self._next = path, time.monotonic() + _LOOK_FOR_DAEMON

    def __call__(self) -> bool:
        if not self.is_cancelled and time.monotonic() >= self._next:
            self.is_cancelled = door.lives(self._path)
            self._next = time.monotonic() + _LOOK_FOR_DAEMON
        return self.is_cancelled


async def _exchange(connection: Any, path: str, line: bytes) -> bytes:
    """One line there, one line back; b"" when the daemon went. Raises TimeoutError when it fell silent.

    The connection is closed in the end, also when the caller is cancelled: that ends what was asked.
    """
    connected = socket.socket(fileno=connection.detach())
    reader, writer = await asyncio.open_unix_connection(sock=connected, limit=_LARGEST_ANSWER)
    answer = asyncio.ensure_future(reader.readline())
    try:
        writer.write(line)
        while not (await asyncio.wait({answer}, timeout=_SIGN_OF_LIFE))[0]:
            if not await to_thread.run_sync(door.lives, path):
                raise TimeoutError
        return answer.result()
    finally:
        answer.cancel()
        writer.transport.abort()


def _result(answer: Any) -> Any | None:
    """What an answer says; None when the daemon could not take the call. Raises ThrumError."""
    said = answer if isinstance(answer, dict) else {}
    refusal = said.get("error")
    if not isinstance(refusal, dict):
        return said.get("result")
    if refusal.get("code") in (DaemonError.code, jsonrpc.METHOD_NOT_FOUND):  # it is stopping, or older than we are
        return None
    data = refusal.get("data")
    more = data if isinstance(data, dict) else {}
    raise _kind(more.get("kind"))(str(refusal.get("message")), str(more.get("hint") or ""))


def _kind(name: object) -> type[ThrumError]:
    """The refusal of that name, for what is caught by kind; any other is a ThrumError."""
    found = getattr(errors, str(name), None)
    return found if isinstance(found, type) and issubclass(found, ThrumError) else ThrumError
