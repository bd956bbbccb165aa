from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import kit
from thrum.daemon import lifecycle
from thrum.errors import ThrumError
from thrum.git.place import Place, find

CHILD = str(Path(__file__).with_name("child.py"))


@pytest.fixture
def place(repository: Path) -> Iterator[Place]:
    """A repository with thrum in it; whatever daemon it has is stopped in the end."""
    kit.set_up(repository).close()
    made = find(str(repository))
    yield made
    if lifecycle.owner(made):
        with contextlib.suppress(ThrumError):
            lifecycle.stop(made)


@pytest.fixture
def daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lifecycle.start` starts the daemon itself, without the command line in front of it."""
    monkeypatch.setattr(lifecycle, "command", command)


def command(place: Place, *extra: str) -> list[str]:
    """The daemon alone, in the foreground."""
    return [sys.executable, "-P", CHILD, place.worktree or place.common_dir, *extra]


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for `condition`, patiently."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
