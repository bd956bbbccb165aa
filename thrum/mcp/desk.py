"""What a tool has at hand while it answers one request: the methods, its caller's name, the mail, its client's patience."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext

from thrum.errors import ThrumError
from thrum.git import place
from thrum.mcp.door import Door
from thrum.mcp.wire import Wire

Json = dict[str, Any]
_PROGRESS_EVERY = 2.0  # seconds


class Desk:
    """One request's surroundings."""

    def __init__(self, door: Door, wire: Wire, request: ServerRequestContext[Any, Any]) -> None:
        self._door, self._wire, self._request = door, wire, request

    async def call(self, method: str, /, **params: Any) -> Any:
        """One call; parameters that are None are left out. Raises ThrumError."""
        given = {name: value for name, value in params.items() if value is not None}
        return await self._door.call(method, given)

    async def post(self, method: str, /, **params: Any) -> Any:
        """A call that sends: whoever in the end carries it out, it is one message. Raises ThrumError."""
        return await self.call(method, request_id=os.urandom(8).hex(), **params)

    async def me(self) -> str:
        """Whom this server acts for. Raises NoIdentity and its like."""
        name: str = (await self.call("agent.whoami"))["agent_id"]
        return name

    async def unread(self, limit: int) -> Json:
        """The oldest unread messages, and how many there are; what an earlier answer told is not among them."""
        await self._wire.settled()
        listed: Json = await self.call("message.list", unread=True, page_size=limit, sort_order="asc")
        return listed

    async def wait(self, seconds: float, priority: str) -> Json:
        """The next unread message; the client hears every now and then that it is still being waited for."""
        await self._wire.settled()
        answer: Json | ThrumError
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._report, seconds)
            try:
                answer = await self._door.wait({"priority": priority} if priority else {}, seconds)
            except ThrumError as refusal:  # a task group would wrap it up
                answer = refusal
            beside.cancel_scope.cancel()
        if isinstance(answer, ThrumError):
            raise answer
        return answer

    def read(self, letters: list[Json]) -> None:
        """Marks these as read as soon as the client has been told of them, and only then."""
        message_ids = [letter["message_id"] for letter in letters]
        if message_ids and self._request.request_id is not None:
            self._wire.after(self._request.request_id, partial(self._mark, message_ids))

    def from_top(self, path: str) -> str:
        """A file as the methods name it: an absolute path becomes one from the top of the worktree it is in."""
        if not os.path.isabs(path):
            return path
        real = os.path.realpath(path)
        top = place.top_of(real, place.worktrees(place.find(self._door.claim.cwd)))
        return os.path.relpath(real, top) if top else path

    async def _mark(self, message_ids: list[str]) -> None:
        try:
            await self.call("message.markRead", message_ids=message_ids)
        except ThrumError:
            return  # they stay unread, which is the safe side

    async def _report(self, seconds: float) -> None:
        began = time.monotonic()
        while True:
            waited = round(min(time.monotonic() - began, seconds), 1)
            await self._request.session.report_progress(waited, seconds, "waiting for mail")
            await anyio.sleep(_PROGRESS_EVERY)
