"""Standard output as the SDK's way to the client: it knows when an answer has really been written."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio import to_thread
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCResponse, RequestId

from thrum import door

Action = Callable[[], Awaitable[None]]
_PATIENCE = 5.0  # seconds an action has after the client was told and left
_LONGEST_END = 30.0  # seconds


class Wire:
    """The protocol's lines, one after another; what depends on an answer being told happens after its line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = _poll(descriptor)
        self._turn = anyio.Lock()
        self._settling = anyio.Lock()
        self._actions: dict[object, Action] = {}
        self._expected: set[object] = set()
        self._is_answered = anyio.Event()

    def after(self, request_id: RequestId, action: Action) -> None:
        """Calls `action` once the answer to that request is written; never, if it is not."""
        self._actions[request_id] = action

    def expect(self, request_id: object) -> None:
        """An answer to that request will be written."""
        self._expected.add(request_id)

    def expect_no_more(self, request_id: object) -> None:
        """That answer is written, or nobody wants it."""
        self._expected.discard(request_id)
        if not self._expected:
            self._is_answered.set()

    async def answered(self) -> None:
        """Returns when all answers that are expected are written, or it has taken too long."""
        with anyio.move_on_after(_LONGEST_END):
            if self._expected:  # nothing more is asked for at the end
                self._is_answered = anyio.Event()
                await self._is_answered.wait()
            await self.settled()

    async def settled(self) -> None:
        """Returns when the actions of all answers that were written are done."""
        async with self._settling:
            return

    async def send(self, item: SessionMessage, /) -> None:
        """Writes one message. Raises BrokenResourceError when nobody reads it."""
        try:
            await self._send(item)
        finally:
            if isinstance(item.message, JSONRPCResponse | JSONRPCError):
                self.expect_no_more(item.message.id)

    async def _send(self, item: SessionMessage) -> None:
        line = item.message.model_dump_json(by_alias=True, exclude_unset=True) + "\n"
        action = self._actions.pop(getattr(item.message, "id", None), None)
        if action is None or not isinstance(item.message, JSONRPCResponse):
            await self._write(line)
            return
        async with self._settling:
            await self._write(line)
            with anyio.move_on_after(_PATIENCE, shield=True):
                await action()

    async def aclose(self) -> None:
        """Standard output stays open until the process ends."""

    async def __aenter__(self) -> Wire:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.aclose()

    async def _write(self, line: str) -> None:
        async with self._turn:
            try:
                if self._takes_at_once(line):
                    door.write_all(self._descriptor, line)
                else:
                    await to_thread.run_sync(door.write_all, self._descriptor, line)
            except OSError as error:
                raise anyio.BrokenResourceError from error

    def _takes_at_once(self, line: str) -> bool:
        """Whether a write would keep nobody waiting: then a thread of its own costs more than it does."""
        return self._poll is not None and len(line.encode()) <= select.PIPE_BUF and bool(self._poll.poll(0))


def _poll(descriptor: int) -> select.poll | None:
    """Tells of a pipe or socket, which take `PIPE_BUF` bytes whenever they take any; None for what gives no such promise."""
    mode = os.fstat(descriptor).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll
