"""The WebSocket's door: opens its port and says where it is. No trouble with it keeps the daemon from working."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from thrum.config import Settings
from thrum.daemon import loopback
from thrum.daemon.dispatch import Dispatcher
from thrum.daemon.gate import Gate
from thrum.daemon.guest import Guest
from thrum.daemon.tasks import every
from thrum.daemon.tokens import Tokens
from thrum.errors import ThrumError
from thrum.git.place import Place
from thrum.store import disk

Json = dict[str, Any]
CHECKUP = 5.0
"""Seconds between two looks whether somebody removed our files."""
STOP_TIMEOUT = 2.0

log = logging.getLogger("thrum.daemon")


@asynccontextmanager
async def door(dispatcher: Dispatcher, place: Place, settings: Settings) -> AsyncIterator[Json]:
    """Open while the context is. Gives `{ws_port, ws_url, ws_token_file}`, or `{ws_error}`; nothing when it is switched off."""
    facts: Json = {}
    if not settings.ws_port:
        yield facts
        return
    front = Front(place, facts)
    try:
        front.open(settings.ws_port)
    except (OSError, ThrumError) as error:
        front.fail(error)
        yield facts
        return
    serving = asyncio.get_running_loop().create_task(front.serve(dispatcher))
    try:
        yield facts
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        await front.close()


def port_path(place: Place) -> str:
    """The file with the port the WebSocket really has."""
    return os.path.join(place.var_dir, "ws.port")


class Front:
    """The port, its two files, and who answers there."""

    def __init__(self, place: Place, facts: Json) -> None:
        self._place, self._facts = place, facts
        self._sockets: list[socket.socket] = []
        self._tokens: Tokens | None = None
        self._house: Any = None

    def open(self, wanted: int) -> None:
        """Listens, and tells where. Who comes before `serve` waits in the system's queue. Raises OSError, ThrumError."""
        self._sockets = loopback.listen(wanted)
        self._port = loopback.port_of(self._sockets)
        self._tokens = Tokens(self._place)
        self._write_port()
        url = f"ws://localhost:{self._port}/ws"
        self._facts.update(ws_port=self._port, ws_url=url, ws_token_file=self._tokens.path)

    async def serve(self, dispatcher: Dispatcher) -> None:
        """Answers, and looks after the files, until cancelled. Nobody who starts a daemon waits for the library."""
        tokens = self._tokens
        assert tokens is not None  # noqa: S101  # made by `open`
        try:
            await asyncio.to_thread(__import__, "thrum.daemon.websocket")
            from thrum.daemon.websocket import House

            dispatcher.engine.issue_token = tokens.issue
            self._house = House(Gate(self._port, tokens), functools.partial(Guest, dispatcher), dispatcher.turned)
            await self._house.open(self._sockets)
        except Exception as error:
            self.fail(error)
            return
        log.info("the WebSocket listens on port %d", self._port)
        await every(CHECKUP, self._restore)

    def fail(self, error: Exception) -> None:
        """There is no WebSocket, and `health` says why."""
        self._let_go()
        self._facts.clear()
        self._facts["ws_error"] = f"the WebSocket could not be opened: {error}"
        log.warning("%s", self._facts["ws_error"])

    async def close(self) -> None:
        """Says goodbye to everybody."""
        if self._house is not None:
            await self._house.close(STOP_TIMEOUT)
        self._let_go()

    def _let_go(self) -> None:
        for listening in self._sockets:
            listening.close()
        if self._tokens is not None:
            self._tokens.forget()
            with contextlib.suppress(OSError):
                os.unlink(port_path(self._place))
        self._sockets, self._tokens = [], None

    def _write_port(self) -> None:
        disk.replace(port_path(self._place), b"%d\n" % self._port)

    async def _restore(self) -> None:
        """Somebody may have cleaned up (`git clean -fdx`)."""
        if self._tokens is not None and not os.path.exists(self._tokens.path):
            self._tokens.write()
        if not os.path.exists(port_path(self._place)):
            self._write_port()
