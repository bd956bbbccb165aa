"""Whoever waits hears, and nobody is left behind."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from thrum import eventloop
from thrum.daemon.feed import Feed
from thrum.errors import DaemonError


def test_a_waiter_is_woken_from_another_thread() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        task = asyncio.create_task(feed.later_than(feed.generation))
        await asyncio.sleep(0)
        threading.Thread(target=feed.tell).start()
        await asyncio.wait_for(task, 5)

    eventloop.run(scene())


def test_what_arrives_between_looking_and_sleeping_is_not_missed() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        seen = feed.generation
        feed.tell()
        await asyncio.sleep(0.01)
        await asyncio.wait_for(feed.later_than(seen), 5)

    eventloop.run(scene())


def test_no_wake_up_is_lost_in_a_thousand_races() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        stored: list[int] = []

        def store() -> None:
            for number in range(1000):
                stored.append(number)
                feed.tell()
                if random.random() < 0.1:
                    threading.Event().wait(0.0005)

        thread = threading.Thread(target=store)
        thread.start()
        while True:
            seen = feed.generation
            if len(stored) == 1000:
                break
            await asyncio.wait_for(feed.later_than(seen), 5)
        thread.join()

    eventloop.run(scene())


def test_many_tellings_wake_once() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        for _ in range(100):
            feed.tell()
        await asyncio.sleep(0.01)
        assert feed.generation == 1

    eventloop.run(scene())


def test_closing_sends_everybody_away() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        tasks = [asyncio.create_task(feed.later_than(0)) for _ in range(5)]
        await asyncio.sleep(0)
        feed.close()
        for task in tasks:
            with pytest.raises(DaemonError, match="stopping"):
                await task
        with pytest.raises(DaemonError):
            await feed.later_than(0)

    eventloop.run(scene())


def test_a_cancelled_waiter_leaves_nothing_behind() -> None:
    async def scene() -> None:
        feed = Feed(asyncio.get_running_loop())
        task = asyncio.create_task(feed.later_than(0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not feed._sleepers
        with feed.listening():
            assert feed.listeners == 1
        assert feed.listeners == 0

    eventloop.run(scene())


def test_telling_after_the_loop_has_ended_is_harmless() -> None:
    async def scene() -> Feed:
        return Feed(asyncio.get_running_loop())

    eventloop.run(scene()).tell()
