"""The WebSocket: JSON-RPC in frames, each client's requests in order, nobody able to hurt anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http
import logging
import socket
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Protocol, cast

from websockets.asyncio.server import Server, ServerConnection, broadcast, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from thrum.core.jsonrpc import LONGEST_LINE
from thrum.daemon import turned
from thrum.daemon.gate import ADMITTED, Gate, Verdict
from thrum.daemon.tasks import Tasks

MOST_CONNECTIONS = 256
MOST_KNOCKING = 512
"""Connections that have not shown their token yet: some times what the system's queue lets in at once, or whoever comes in
a storm would be sent away before we have read what he said."""
KNOCKING_TIME = 10.0
"""Seconds for that."""
MOST_FRAMES = 4
"""Frames of one client that wait for their turn before it is no longer read from."""
WRITE_LIMIT = 1024 * 1024
"""Bytes an unread answer may leave in our buffer before the client's next request has to wait."""
MOST_UNREAD = 1024 * 1024
"""Bytes of notifications a client that does not read may have waiting beyond that."""
FAIR_SHARE = 32
"""Answers to one client, after which the others have a turn even if none of the answers had to be waited for."""
PATIENCE = 30.0
"""Seconds a client may leave an answer unread, or a ping unanswered."""
PING = 45.0
"""Seconds between two signs of life."""
PARTING = 2.0
"""Seconds a client has to say goodbye, too."""

GOING_AWAY, INTERNAL_ERROR, TRY_LATER = 1001, 1011, 1013
_SAFE = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("Connection", "close"),
)

log = logging.getLogger("thrum.daemon")
_silence = logging.getLogger("thrum.websockets")
_silence.setLevel(logging.CRITICAL + 1)  # what strangers send is no news, and a token may be in an address


class ConversationLike(Protocol):
    """What a connection asks of the conversation behind it."""

    async def answer(self, line: bytes | str | None) -> bytes:
        """The answer to one frame; b"" when none is wanted."""

    def settle(self) -> None:
        """The answer is on its way: what follows from it may begin."""

    def resume(self) -> None:
        """The client has read what it was told."""

    def hang_up(self) -> None:
        """The client is gone."""


Converse = Callable[[Callable[[bytes], bool], str], ConversationLike]
"""Opens a conversation with a client: given how to send it something unasked, and the user whose token it brought."""


class House:
    """All WebSocket clients of the daemon."""

    def __init__(self, gate: Gate, converse: Converse, turned_away: turned.Turned | None = None) -> None:
        self._gate, self._converse = gate, converse
        self._turned_away = turned_away or turned.Turned()
        self._servers: list[Server] = []
        self._knocking: dict[Connection, None] = {}
        self._inside: set[Connection] = set()
        self._is_empty = asyncio.Event()
        self.tasks = Tasks()

    async def open(self, sockets: Iterable[socket.socket]) -> None:
        """Answers on the listening sockets. No frame is compressed: nothing here crosses a network, and it costs memory."""
        for listening in sockets:
            server = serve(
                self._talk,
                sock=listening,
                create_connection=cast(type[ServerConnection], functools.partial(Connection, self)),
                process_request=self._admit,  # type: ignore[arg-type]  # the connections are of our own kind
                compression=None,
                server_header=None,
                open_timeout=KNOCKING_TIME,
                ping_interval=None,
                close_timeout=PARTING,
                max_size=LONGEST_LINE,
                max_queue=MOST_FRAMES,
                write_limit=WRITE_LIMIT,
                logger=_silence,
            )
            self._servers.append(await server)

    async def close(self, seconds: float) -> None:
        """Lets nobody in any more, and everybody have the answer under way within `seconds`; then says goodbye."""
        for server in self._servers:
            server.close(close_connections=False)
        for connection in list(self._inside):
            connection.finish()
        for connection in list(self._knocking):
            connection.transport.abort()
        if self._inside:
            self._is_empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds + PARTING):
                    await self._is_empty.wait()
        for connection in list(self._inside):
            connection.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await asyncio.gather(*(server.wait_closed() for server in self._servers))
        await self.tasks.cancel()

    def meet(self, connection: Connection) -> None:
        """Hears a stranger out. Of too many the one goes that has been silent longest: an honest one is quick."""
        self._knocking[connection] = None
        if len(self._knocking) > MOST_KNOCKING:
            self._turned_away.note(turned.ROOM)
            next(iter(self._knocking)).transport.abort()

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._knocking.pop(connection, None)
        self._inside.discard(connection)
        if not self._inside:
            self._is_empty.set()

    def _admit(self, connection: Connection, request: Request) -> Response | None:
        verdict = self._gate.judge(request.path, request.headers.get_all)
        if verdict.status != ADMITTED:
            self._turned_away.note(verdict.reason)
            return _response(verdict)
        if len(self._inside) >= MOST_CONNECTIONS:
            self._turned_away.note(turned.ROOM)
            return _response(Verdict(503, "there are too many connections\n"))
        connection.user = verdict.user
        self._knocking.pop(connection, None)
        self._inside.add(connection)
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        """The life of a connection."""
        client = cast(Connection, connection)
        conversation = self._converse(client.push, client.user)
        client.resume = conversation.resume
        beside = Tasks()
        beside.begin(client.guarded(client.answer_with, conversation))
        beside.begin(client.guarded(client.keep_alive))
        try:
            await client.wait_closed()
        finally:
            conversation.hang_up()
            await beside.cancel()


class Connection(ServerConnection):
    """One client."""

    def __init__(self, house: House, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._house = house
        self.user = ""
        """The user whose token it brought."""
        self.resume: Callable[[], object] = lambda: None
        """Called when the client has read what it was told."""
        self._is_busy = self._is_leaving = self._is_dropped = self._is_stuck = False
        self._unread = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is a stranger."""
        super().connection_made(transport)
        self._house.meet(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Is forgotten."""
        super().connection_lost(exc)
        self._house.forget(self)

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._is_stuck, self._unread = True, 0

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._is_stuck = False
        self.resume()

    def push(self, frame: bytes) -> bool:
        """Sends what it did not ask for just now; never waits. Whether it has to read first, or is dropped."""
        if self._is_dropped:
            return False
        broadcast((self,), frame.decode())
        if self._is_stuck:
            self._unread += len(frame)
            if self._unread > MOST_UNREAD:
                self._is_dropped = True
                log.warning("a WebSocket client that does not read its notifications was dropped")
                self._house.tasks.begin(self._part(TRY_LATER, "too slow"))
        return self._is_stuck

    def finish(self) -> None:
        """Says goodbye as soon as nothing is under way; at once to one that does not even read what it was told."""
        self._is_leaving = True
        if self._is_stuck:
            self.transport.abort()
        elif not self._is_busy:
            self._house.tasks.begin(self._part(GOING_AWAY, "the daemon stops"))

    async def guarded(self, action: Callable[..., Any], *args: Any) -> None:
        """Does something with the connection until it is closed, which it is when that fails."""
        try:
            await action(*args)
        except ConnectionClosed:
            return
        except Exception:
            log.exception("a WebSocket connection failed")
            await self._part(INTERNAL_ERROR, "a mistake of ours")

    async def answer_with(self, conversation: ConversationLike) -> None:
        """Answers its requests, one after another."""
        turns = count(1)
        async for frame in self:
            self._is_busy = True
            answer = await conversation.answer(frame)
            if answer and not await self._write(answer):
                return
            conversation.settle()
            self._is_busy = False
            if self._is_leaving:
                await self._part(GOING_AWAY, "the daemon stops")
            if next(turns) % FAIR_SHARE == 0:
                await asyncio.sleep(0)

    async def keep_alive(self) -> None:
        """Asks for a sign of life now and then. While a request is under way we may not even be reading: that counts as one."""
        while True:
            await asyncio.sleep(PING)
            pong = asyncio.ensure_future(await self.ping())
            await asyncio.wait([pong], timeout=PATIENCE)
            if not pong.done() and not self._is_busy:
                log.warning("a WebSocket client that does not answer a ping was dropped")
                await self._part(INTERNAL_ERROR, "no answer to a ping")

    async def _part(self, code: int, reason: str) -> None:
        """Says goodbye; closes anyway when the client does not even read that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING):
                await self.close(code, reason)
        self.transport.abort()

    async def _write(self, answer: bytes) -> bool:
        """Whether the client took it, or at least most of it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self.send(answer.decode())
        except TimeoutError:
            log.warning("a WebSocket client that does not read its answers was dropped")
            self.transport.abort()
            return False
        return True


def _response(verdict: Verdict) -> Response:
    body = verdict.body.encode()
    headers = Headers(_SAFE)
    for name, value in verdict.headers:
        headers[name] = value
    if "Content-Type" not in headers:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    headers["Content-Length"] = str(len(body))
    return Response(verdict.status, http.HTTPStatus(verdict.status).phrase, headers, body)
