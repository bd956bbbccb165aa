"""The engine's thread: one call at a time, and together what may be done together."""

import asyncio
import select
import socket
import threading
import time
from concurrent.futures import Future

import pytest

from thrum import eventloop
from thrum.daemon import worker as module
from thrum.daemon.worker import MOST_TOGETHER, Worker


class Desk:
    """Notes what was done together."""

    def __init__(self):
        self.rounds = []
        self.gate = threading.Event()

    def work(self, words):
        self.rounds.append(list(words))
        return [ValueError(word) if word.startswith("bad") else word.upper() for word in words]

    def other(self, words):
        self.rounds.append(["other", *words])
        return words

    def look(self):
        self.rounds.append("look")
        return "seen"

    def fail(self, words):
        raise RuntimeError("all of them")


def play(scene):
    async def whole():
        desk, worker = Desk(), Worker()
        try:
            return await scene(desk, worker)
        finally:
            worker.close()

    return eventloop.run(whole())


async def behind_a_busy_moment(desk, worker, *calls):
    """Has all calls wait in the queue, then lets the worker begin; their outcomes."""
    busy = asyncio.ensure_future(worker.run(desk.gate.wait, 10))
    waiting = [asyncio.ensure_future(call) for call in calls]
    while worker.waiting < len(calls):
        await asyncio.sleep(0.001)
    desk.gate.set()
    await busy
    return await asyncio.gather(*waiting, return_exceptions=True)


def test_what_waits_for_the_same_is_done_together_and_everybody_has_his_own_outcome():
    async def scene(desk, worker):
        words = ["a", "bad b", "c"]
        found = await behind_a_busy_moment(desk, worker, *(worker.run_together(desk.work, word) for word in words))
        assert (found[0], str(found[1]), found[2]) == ("A", "bad b", "C") and isinstance(found[1], ValueError)
        assert desk.rounds == [words]

    play(scene)


def test_nobody_waits_for_company_and_nobody_is_overtaken():
    async def scene(desk, worker):
        assert await worker.run_together(desk.work, "alone") == "ALONE"
        calls = [worker.run_together(desk.work, word) for word in "ab"]
        calls += [worker.run(desk.look), worker.run_together(desk.work, "c"), worker.run_together(desk.other, "d")]
        assert await behind_a_busy_moment(desk, worker, *calls) == ["A", "B", "seen", "C", "d"]
        assert desk.rounds == [["alone"], ["a", "b"], "look", ["c"], ["other", "d"]]

    play(scene)


def test_a_crowd_is_done_in_portions():
    async def scene(desk, worker):
        many = MOST_TOGETHER * 2 + 1
        calls = (worker.run_together(desk.work, f"w{number}") for number in range(many))
        found = await behind_a_busy_moment(desk, worker, *calls)
        assert found == [f"W{number}" for number in range(many)]
        assert [len(words) for words in desk.rounds] == [MOST_TOGETHER, MOST_TOGETHER, 1]

    play(scene)


def test_what_fails_as_a_whole_fails_for_everybody_and_the_worker_goes_on():
    async def scene(desk, worker):
        calls = (worker.run_together(desk.fail, word) for word in "abc")
        found = await behind_a_busy_moment(desk, worker, *calls)
        assert [str(error) for error in found] == ["all of them"] * 3
        assert await worker.run(desk.look) == "seen"

    play(scene)


def test_who_is_gone_before_his_turn_is_left_out():
    async def scene(desk, worker):
        async def impatient():
            async with asyncio.timeout(0):
                await worker.run_together(desk.work, "gone")

        found = await behind_a_busy_moment(desk, worker, worker.run_together(desk.work, "a"), impatient())
        assert found[0] == "A" and isinstance(found[1], TimeoutError)
        assert desk.rounds == [["a"]]

    play(scene)


class Leftovers:
    """Settled by what is to be done then."""

    def __init__(self, settle):
        self.is_settled, self._settle = False, settle

    def settle(self):
        if not self.is_settled:
            self.is_settled = True
            self._settle()


def test_what_need_not_be_waited_for_comes_after_the_outcomes_and_before_the_next_job():
    async def scene(desk, worker):
        held = threading.Event()
        worker.leftovers = Leftovers(lambda: held.wait(10) and desk.rounds.append("settled"))
        assert await worker.run_together(desk.work, "a") == "A"
        later = asyncio.ensure_future(worker.run(desk.look))
        await asyncio.sleep(0.01)
        assert desk.rounds == [["a"]]
        held.set()
        await later
        assert desk.rounds[:3] == [["a"], "settled", "look"]

    play(scene)


@pytest.mark.parametrize("pause", [0, 0.1])
def test_what_need_not_be_waited_for_comes_when_the_answer_is_on_its_way(loops, monkeypatch, pause):
    monkeypatch.setattr(module, "PASSING_ON", 30.0)

    async def scene(desk, worker):
        here, there = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, sock=here)
        arrived = Future()
        worker.leftovers = Leftovers(lambda: arrived.set_result(select.select([there], [], [], 0)[0]))
        answer = await worker.run_together(desk.work, "a")
        time.sleep(pause)  # the worker has the interpreter meanwhile
        transport.write(answer.encode())
        assert await asyncio.wait_for(asyncio.wrap_future(arrived), 20) == [there]
        transport.close(), there.close()

    play(scene)


def test_a_loop_that_is_busy_is_not_waited_for(loops):
    async def scene(desk, worker):
        settled = threading.Event()
        worker.leftovers = Leftovers(settled.set)
        await worker.run_together(desk.work, "a")
        assert settled.wait(20)  # meanwhile the loop stands still

    play(scene)


def test_who_waits_for_his_turn_need_not_wait_for_the_loop(monkeypatch):
    monkeypatch.setattr(module, "PASSING_ON", 30.0)

    async def scene(desk, worker):
        settled = threading.Event()
        worker.leftovers = Leftovers(settled.set)
        busy = asyncio.ensure_future(worker.run_together(lambda words: [desk.gate.wait(10)], "a"))
        later = asyncio.ensure_future(worker.run(desk.look))
        while worker.waiting < 1:
            await asyncio.sleep(0.001)
        desk.gate.set()
        assert settled.wait(20)  # meanwhile the loop stands still
        assert await busy and await later == "seen"

    play(scene)


def test_what_cannot_be_settled_stops_nobody():
    async def scene(desk, worker):
        worker.leftovers = Leftovers(lambda: desk.fail("x"))
        assert await worker.run_together(desk.work, "a") == "A"
        assert await worker.run(desk.look) == "seen"

    play(scene)


def test_what_is_queued_is_done_before_the_end():
    async def scene(desk, worker):
        waiting = [asyncio.ensure_future(worker.run_together(desk.work, word)) for word in "ab"]
        await asyncio.sleep(0)
        assert await asyncio.to_thread(worker.close, 5.0)
        assert await asyncio.gather(*waiting) == ["A", "B"]
        with pytest.raises(RuntimeError):
            await worker.run_together(desk.work, "late")

    play(scene)
