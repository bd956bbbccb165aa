"""What the daemon knows of worktrees: it answers at once, and never with what has become wrong."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from tests import kit
from thrum import eventloop
from thrum.core import clock
from thrum.daemon.contexts import Contexts
from thrum.daemon.tasks import Tasks
from thrum.git import context, evidence
from thrum.git.context import Context
from thrum.git.place import Place, find

from .conftest import until


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Place]:
    """The places git was asked about; what has just been written counts as old."""
    asked: list[Place] = []
    real = context.read

    def read(place: Place) -> Context:
        asked.append(place)
        return real(place)

    monkeypatch.setattr(context, "read", read)
    monkeypatch.setattr(evidence, "now", lambda: time.time_ns() + 2 * clock.SETTLED)
    return asked


def test_what_was_looked_at_is_known_until_it_changes(repository: Path, reads: list[Place]) -> None:
    here = find(str(repository))

    async def scene() -> None:
        tasks = Tasks()
        known = Contexts(tasks, rest=0.0)
        assert known.look(here)["uncommitted_files"] == []
        await until(lambda: known._memory.recall(here))
        asked = len(reads)
        assert [known.look(here)] == known.glance([here]) and len(reads) == asked
        (repository / "readme").write_text("changed")
        assert known.glance([here]) is None and len(reads) == asked
        assert (await asyncio.to_thread(known.look, here))["uncommitted_files"] == ["readme"]
        assert len(reads) == asked + 1
        await until(lambda: known._memory.recall(here))
        await tasks.cancel()

    eventloop.run(scene())


def test_many_who_ask_at_once_are_one_reason_to_learn(repository: Path, reads: list[Place]) -> None:
    here = find(str(repository))

    async def scene() -> None:
        tasks = Tasks()
        known = Contexts(tasks, rest=0.3)
        await asyncio.gather(*(asyncio.to_thread(known.look, here) for _ in range(5)))
        asked = len(reads)
        await until(lambda: known._memory.recall(here))
        assert len(reads) == asked + 1
        await tasks.cancel()

    eventloop.run(scene())


def test_a_worktree_that_takes_long_to_learn_is_learned_once_at_a_time(
    repository: Path, reads: list[Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, begun, done = find(str(repository)), list[Place](), threading.Event()

    async def scene() -> None:
        tasks = Tasks()
        known = Contexts(tasks, rest=0.0)
        monkeypatch.setattr(known._memory, "learn", lambda place: begun.append(place) or done.wait(30))
        for _ in range(5):
            await asyncio.to_thread(known.look, here)
            await asyncio.sleep(0.02)
        assert begun == [here]
        done.set()
        await until(lambda: not known._due)
        await asyncio.to_thread(known.look, here)
        await until(lambda: len(begun) == 2)
        await tasks.cancel()

    eventloop.run(scene())


def test_who_asks_after_the_end_is_answered(repository: Path, reads: list[Place]) -> None:
    made: list[Contexts] = []

    async def scene() -> None:
        made.append(Contexts(Tasks()))

    eventloop.run(scene())
    assert made[0].look(find(str(repository)))["branch"] == "main"


def test_an_engine_with_a_daemon_around_it_asks_that(repository: Path, reads: list[Place]) -> None:
    engine = kit.set_up(repository)
    ann = kit.hire(engine, repository, "ann")
    (repository / "readme").write_text("changed")
    threads: list[threading.Thread] = []

    def look(place: Place) -> Context:
        threads.append(threading.current_thread())
        return context.read(place)

    engine.contexts.look = look
    assert [holder["agent_id"] for holder in ann("agent.whoHas", file="readme")["holders"]] == ["ann"]
    assert len(threads) == 1
    engine.close()
