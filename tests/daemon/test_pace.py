"""When cycles run."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest

from thrum import eventloop
from thrum.daemon import pace as pace_module
from thrum.daemon.pace import Pace, Sync
from thrum.errors import DaemonError, RemoteError

from .conftest import until


class Report(NamedTuple):
    ok: bool = True
    error: str = ""
    number: int = 0

    def as_json(self) -> dict[str, Any]:
        return self._asdict()


class Remote:
    """A remote that counts its visitors."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.at_once = 0
        self.most_at_once = 0
        self.failing = False
        self.exists = True
        self.tip: str | None = "a"
        self.peeks = 0
        self.gate = threading.Event()
        self.gate.set()

    @property
    def cycles(self) -> int:
        return len(self.times)

    def run(self) -> Report:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.times.append(time.monotonic())
        number = len(self.times)
        self.gate.wait(20)
        self.at_once -= 1
        return Report(not self.failing, "unreachable" if self.failing else "", number)

    def peek(self) -> str | None:
        self.peeks += 1
        if self.failing:
            raise RemoteError("unreachable")
        return self.tip

    @property
    def sync(self) -> Sync:
        return Sync(lambda: self.exists, self.run, self.peek)


Scene = Callable[[Remote, Pace], Awaitable[None]]


def play(scene: Scene, interval: float = 3600.0, waited: bool = False, **facts: Any) -> None:
    async def whole() -> None:
        remote = Remote()
        for name, value in facts.items():
            setattr(remote, name, value)
        pace = Pace(remote.sync, interval, lambda: waited)
        task = asyncio.create_task(pace.run())
        try:
            await scene(remote, pace)
        finally:
            remote.gate.set()
            pace.stop()
            await asyncio.wait_for(task, 10)
        assert remote.most_at_once <= 1

    eventloop.run(whole())


def test_the_first_cycle_comes_at_once_and_then_there_is_silence() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles)
        await asyncio.sleep(0.5)
        assert remote.cycles == 1

    play(scene)


def test_something_urgent_is_sent_within_a_second() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles == 1)
        pace.urge()
        await until(lambda: remote.cycles == 2, 5)

    play(scene)


def test_urgent_things_that_come_together_travel_together() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles == 1)
        for _ in range(100):
            pace.urge()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.5)
        assert 2 <= remote.cycles <= 4

    play(scene)


def test_what_becomes_urgent_during_a_cycle_gets_another_one() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles == 1)
        pace.urge()
        remote.gate.set()
        await until(lambda: remote.cycles == 2)
        await asyncio.sleep(0.3)
        assert remote.cycles == 2

    async def blocked(remote: Remote, pace: Pace) -> None:
        await scene(remote, pace)

    play(blocked, gate=threading.Event())


def test_everything_else_waits_for_the_interval() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles >= 3)
        gaps = [b - a for a, b in zip(remote.times, remote.times[1:], strict=False)]
        assert min(gaps) > 0.1

    play(scene, interval=0.2)


def test_without_a_remote_nothing_happens() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        pace.urge()
        await asyncio.sleep(0.5)
        assert remote.cycles == 0

    play(scene, interval=0.1, exists=False)


def test_a_sync_that_is_off_does_nothing_and_ends() -> None:
    async def whole() -> None:
        pace = Pace(None, 1.0, lambda: True)
        assert not pace.is_active
        pace.urge()
        await asyncio.wait_for(pace.run(), 5)

    eventloop.run(whole())


def test_failures_make_it_slower_but_urgency_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles >= 5)
        gaps = [b - a for a, b in zip(remote.times, remote.times[1:], strict=False)]
        assert gaps[3] > gaps[0]
        seen = remote.cycles
        pace._due = time.monotonic() + 1000
        pace.urge()
        await until(lambda: remote.cycles > seen, 10)

    play(scene, interval=0.1, failing=True)


def test_after_a_success_it_is_as_quick_as_ever() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles >= 3)
        remote.failing = False
        await until(lambda: pace._failures == 0)

    play(scene, interval=0.05, failing=True)


def test_while_somebody_waits_the_remote_is_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "PEEK", 0.05)

    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.peeks >= 3)
        seen = remote.cycles
        assert seen <= 2
        remote.tip = "b"
        await until(lambda: remote.cycles > seen)

    play(scene, waited=True)


def test_a_look_that_fails_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "PEEK", 0.05)

    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.peeks >= 2)
        remote.failing = False
        await until(lambda: remote.peeks >= 4)

    play(scene, waited=True, failing=True)


def test_nobody_waits_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "PEEK", 0.02)

    async def scene(remote: Remote, pace: Pace) -> None:
        await asyncio.sleep(0.3)
        assert remote.peeks == 0

    play(scene)


def test_a_forced_cycle_begins_after_the_call() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles == 1)
        forced = [asyncio.create_task(pace.force()) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in forced)
        remote.gate.set()
        reports = await asyncio.wait_for(asyncio.gather(*forced), 10)
        assert {report["number"] for report in reports} == {2}

    play(scene, gate=threading.Event())


def test_a_forced_cycle_runs_without_a_remote_too() -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        assert (await asyncio.wait_for(pace.force(), 10))["ok"]

    play(scene, exists=False)


def test_who_forces_a_sync_that_stops_is_told() -> None:
    async def whole() -> None:
        remote = Remote()
        remote.gate.clear()
        pace = Pace(remote.sync, 3600.0, lambda: False)
        task = asyncio.create_task(pace.run())
        await until(lambda: remote.cycles == 1)
        forced = asyncio.create_task(pace.force())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(DaemonError):
            await asyncio.wait_for(forced, 5)
        with pytest.raises(DaemonError):
            await pace.force()
        remote.gate.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    eventloop.run(whole())


def test_a_cycle_that_breaks_does_not_end_the_sync(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(remote: Remote, pace: Pace) -> None:
        await until(lambda: remote.cycles >= 2)
        assert "nobody foresaw" in caplog.text

    class Broken(Remote):
        def run(self) -> Report:
            super().run()
            raise ValueError("oops")

    async def whole() -> None:
        remote = Broken()
        pace = Pace(remote.sync, 0.05, lambda: False)
        task = asyncio.create_task(pace.run())
        await scene(remote, pace)
        with pytest.raises(ValueError, match="oops"):
            await asyncio.wait_for(pace.force(), 10)
        pace.stop()
        await asyncio.wait_for(task, 10)

    eventloop.run(whole())
