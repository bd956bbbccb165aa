"""Work beside the requests: it goes on whatever fails, and notices what other processes say."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests import kit
from thrum import eventloop
from thrum.daemon import chores, offspring
from thrum.daemon.feed import Feed
from thrum.daemon.pace import Pace
from thrum.daemon.tails import Tails
from thrum.daemon.tasks import Coalesced, Tasks, every
from thrum.daemon.worker import Worker
from thrum.engine import Engine
from thrum.errors import StorageError
from thrum.sync import state

from .conftest import until


def chores_of(engine: Engine, worker: Worker) -> chores.Chores:
    """A daemon's chores, without a sync."""
    feed = Feed(asyncio.get_running_loop())
    return chores.Chores(engine, worker, feed, Pace(None, 60, lambda: False), None, lambda: asyncio.sleep(0))


def test_a_chore_that_fails_is_logged_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        ran: list[int] = []

        async def fail() -> None:
            ran.append(1)
            raise ValueError("oops") if len(ran) == 1 else StorageError("the disk is full")

        tasks = Tasks()
        tasks.begin(every(0.01, fail))
        await until(lambda: len(ran) > 3)
        await tasks.cancel()

    eventloop.run(scene())
    assert "oops" in caplog.text
    assert "the disk is full" in caplog.text


def test_pokes_during_a_run_cause_one_more() -> None:
    async def scene() -> None:
        ran: list[int] = []

        async def work() -> None:
            ran.append(1)
            await asyncio.sleep(0.05)

        coalesced = Coalesced(Tasks(), work)
        for _ in range(10):
            coalesced.poke()
        await asyncio.sleep(0.01)
        for _ in range(10):
            coalesced.poke()
        await until(lambda: not coalesced._is_running)
        assert len(ran) == 2
        coalesced.poke()
        await until(lambda: len(ran) == 3)

    eventloop.run(scene())


def test_only_new_urgent_lines_of_our_own_count(repository: Path) -> None:
    engine = kit.set_up(repository)
    nadia = kit.hire(engine, repository, "nadia")
    tails = Tails(engine.place, engine.origin)
    assert tails.read() == []
    nadia("session.heartbeat", session_id=engine.roster.open_session("nadia")["session_id"])  # type: ignore[index]
    assert tails.read() == []
    nadia("message.send", content="hello")
    found = tails.read()
    assert len(found) == 1
    assert tails.read() == []
    assert tails.are_pending(found)
    path, end = found[0]
    known = {"remote": "origin", "reached": {path.rsplit("/", 2)[0]: [0, end]}}
    state.save(engine.place.sync_dir, known)
    assert not tails.are_pending(found)
    engine.close()


def test_tails_of_a_repository_without_logs_are_empty(repository: Path) -> None:
    engine = kit.set_up(repository)
    assert Tails(engine.place, engine.origin).read() == []
    engine.close()


def test_the_worker_does_one_thing_at_a_time_and_ends() -> None:
    async def scene() -> None:
        worker = Worker()
        busy: list[int] = []

        def work(number: int) -> int:
            busy.append(number)
            assert len(busy) == 1
            busy.remove(number)
            return number

        assert await asyncio.gather(*(worker.run(work, n) for n in range(50))) == list(range(50))
        with pytest.raises(ZeroDivisionError):
            await worker.run(lambda: 1 // 0)
        assert await asyncio.to_thread(worker.run_blocking, work, 7) == 7
        assert worker.close()
        with pytest.raises(RuntimeError):
            await worker.run(work, 1)

    eventloop.run(scene())


def test_our_children_can_be_ended() -> None:
    import subprocess

    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    assert child.pid in offspring._children()
    offspring.end([child.pid])
    assert child.wait(10) < 0


def test_questions_are_answered_from_what_the_daemon_knows(repository: Path) -> None:
    async def scene() -> None:
        engine, worker = kit.set_up(repository), Worker()
        assert engine.contexts.glance([]) is None
        at_work = chores_of(engine, worker)
        assert engine.contexts.glance([]) == [] and engine.contexts.glance([engine.place]) is None
        assert engine.contexts.look(engine.place)["branch"] == "main"
        await at_work.close()
        worker.close()
        engine.close()

    eventloop.run(scene())


def test_our_objects_are_packed_when_they_become_many_and_never_without_gain(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    answers = [700, 500, 0]

    def pack(_: object) -> int:
        packed.append(answers[len(packed)])
        return packed[-1]

    monkeypatch.setattr(chores, "PACKING", 0.01)
    monkeypatch.setattr(chores.packing, "is_due", lambda _: True)
    monkeypatch.setattr(chores.packing, "pack", pack)

    async def scene() -> None:
        engine, worker = kit.set_up(repository), Worker()
        at_work = chores_of(engine, worker)
        await until(lambda: len(packed) == 3)
        await asyncio.sleep(0.1)
        await at_work.close()
        worker.close()
        engine.close()

    eventloop.run(scene())
    assert packed == answers


def test_a_rebase_is_one_look_after_the_other(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[set[str]] = []
    may_go_on = asyncio.Event()

    async def refresh(worker: Worker, engine: object, git_dirs: set[str]) -> None:
        looks.append(git_dirs)
        await may_go_on.wait()

    monkeypatch.setattr(chores.contexts, "refresh_marked", refresh)

    async def scene() -> None:
        engine, worker = kit.set_up(repository), Worker()
        at_work = chores_of(engine, worker)
        for number in range(20):
            at_work._mark(frozenset({f"/{number % 3}"}))
            await asyncio.sleep(0.001)
        assert looks == [{"/0"}]
        may_go_on.set()
        await until(lambda: len(looks) == 2)
        assert looks[1] == {"/0", "/1", "/2"}
        await at_work.close()
        worker.close()
        engine.close()

    eventloop.run(scene())
