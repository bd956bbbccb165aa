"""Standard input as the SDK's way from the client: it ends when what was asked for has been answered, not before.

The SDK answers whatever is under way at the end of its input with an error, though it may have been carried out.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest

from thrum.mcp.wire import Wire

Item = SessionMessage | Exception


class Source(Protocol):
    """What is read from."""

    async def receive(self) -> Item:
        """The next message. Raises EndOfStream."""

    async def aclose(self) -> None:
        """Reads no more."""

    async def __anext__(self) -> Item:
        """The next message. Raises StopAsyncIteration."""


class Intake:
    """A source whose end waits for the answers; not for those to `unending` tools, which nobody waits for any more."""

    def __init__(self, source: Source, wire: Wire, unending: frozenset[str]) -> None:
        self._source, self._wire, self._unending = source, wire, unending

    async def receive(self) -> Item:
        """The next message. Raises EndOfStream."""
        return self._note(await self._source.receive())

    async def aclose(self) -> None:
        """Reads no more."""
        await self._source.aclose()

    def __aiter__(self) -> Intake:
        return self

    async def __anext__(self) -> Item:
        try:
            return self._note(await self._source.__anext__())
        except StopAsyncIteration:
            await self._wire.answered()
            raise

    async def __aenter__(self) -> Intake:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _note(self, item: Item) -> Item:
        message = item.message if isinstance(item, SessionMessage) else None
        params = getattr(message, "params", None) or {}
        if isinstance(message, JSONRPCRequest) and params.get("name") not in self._unending:
            self._wire.expect(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._wire.expect_no_more(params.get("requestId"))
        return item
