"""Calls that are made when a client says it has written the output: kept by token, few and not for long."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from thrum.engine import Call

MOST = 1024
LIFETIME = 60.0  # seconds


class Postponed:
    """Calls waiting for their token. One that is never claimed is forgotten: unread stays unread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._calls: dict[str, tuple[float, list[Call]]] = {}

    def keep(self, calls: list[Call]) -> str:
        """A token for `calls`."""
        self._expire()
        token = secrets.token_hex(16)
        self._calls[token] = (self._clock() + LIFETIME, calls)
        return token

    def claim(self, token: str) -> list[Call]:
        """The calls kept under `token`, once; none when it is unknown or expired."""
        self._expire()
        return self._calls.pop(token, (0.0, []))[1]

    def _expire(self) -> None:
        now = self._clock()
        for token, (end, _) in list(self._calls.items()):  # in order of age
            if end > now and len(self._calls) < MOST:
                return
            del self._calls[token]
