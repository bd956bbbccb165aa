"""The event loop: uvloop's, a third faster than Python's own, where it is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


def run(main: Coroutine[None, None, T]) -> T:
    """Runs `main` to its end in a new loop, as `asyncio.run` does."""
    with asyncio.Runner(loop_factory=factory()) as runner:
        return runner.run(main)


def factory() -> type[asyncio.AbstractEventLoop] | None:
    """What makes a loop; None stands for Python's own."""
    try:
        from uvloop import Loop
    except ImportError:  # no wheel for this platform
        return None
    return Loop
