"""The loop is the fast one where there is one."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from thrum import eventloop


async def kind() -> str:
    return eventloop.kind()


def test_the_fast_loop_is_taken_where_there_is_one(loops: str) -> None:
    assert eventloop.run(kind()) == loops


def test_what_is_raised_comes_out_and_the_loop_is_closed(loops: str) -> None:
    kept: list[asyncio.AbstractEventLoop] = []

    async def fail() -> None:
        kept.append(asyncio.get_running_loop())
        raise KeyError("whatever")

    with pytest.raises(KeyError, match="whatever"):
        eventloop.run(fail())
    assert kept[0].is_closed()


def test_what_still_runs_in_the_end_is_cancelled_first(loops: str) -> None:
    ended: list[str] = []

    async def linger() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        ended.append("cancelled")

    async def leave() -> None:
        lingering = asyncio.ensure_future(linger())
        await asyncio.sleep(0)
        assert not lingering.done()

    eventloop.run(leave())
    assert ended == ["cancelled"]
