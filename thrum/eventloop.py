"""The event loop: uvloop's, where it is installed; else Python's own, which is slower."""

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
    except ImportError:
        return None
    return Loop


def kind() -> str:
    """Whose loop is running: `uvloop` or `asyncio`."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]
