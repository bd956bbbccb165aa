"""Standard output as the SDK's way to the client: it knows when an answer has really been written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio import to_thread
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCResponse, RequestId

from thrum import door

Action = Callable[[], Awaitable[None]]
_PATIENCE = 5.0  # seconds an action has after the client was told and left


class Wire:
    """The protocol's lines, one after another; what depends on an answer being told happens after its line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._turn = anyio.Lock()
        self._settling = anyio.Lock()
        self._actions: dict[object, Action] = {}

    def after(self, request_id: RequestId, action: Action) -> None:
        """Calls `action` once the answer to that request is written; never, if it is not."""
        self._actions[request_id] = action

    async def settled(self) -> None:
        """Returns when the actions of all answers that were written are done."""
        async with self._settling:
            return

    async def send(self, item: SessionMessage, /) -> None:
        """Writes one message. Raises BrokenResourceError when nobody reads it."""
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
                await to_thread.run_sync(door.write_all, self._descriptor, line)
            except OSError as error:
                raise anyio.BrokenResourceError from error
