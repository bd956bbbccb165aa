"""No wake-up is lost: whoever waits hears, whenever he began; whoever comes back hears what he missed, once."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import kit
from tests.faults.crowd import Browser, RawSocket, Wire

SPREAD = 0.005
"""Seconds between the one and the other, at most."""


def hire(daemon, name):
    """One more agent with a session: a caller."""
    caller = {"cwd": str(daemon.path), "name": name}
    with Wire(daemon) as wire:
        wire("agent.register", name=name, role="implementer", module="core", caller=caller)
        wire("session.start", caller=caller)
    return caller


class Beside:
    """A process without the daemon: its own engine, the same files."""

    def __init__(self, daemon):
        self._daemon, self._engine = daemon, kit.open_engine(daemon.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._engine.close()

    def __call__(self, method, caller, **params):
        return kit.Caller(self._engine, self._daemon.path, caller["name"])(method, **params)


@pytest.mark.parametrize(("waits", "sends"), [(Wire, Wire), (Browser, Browser), (Wire, Beside), (Browser, Wire)])
def test_a_wait_that_began_about_when_the_message_was_sent_hears_it(daemon, ledger, rng, effort, waits, sends):
    sender, receiver = hire(daemon, "sender"), hire(daemon, "receiver")
    count, chances = effort(250, 2500), random.Random(rng.random())
    sent, start = [], threading.Barrier(2, timeout=120)

    def send():
        with sends(daemon) as client:
            for number in range(count):
                start.wait()
                time.sleep(delays[number][0])
                sent.append(client("message.send", content=str(number), to=["@receiver"], caller=sender)["message_id"])

    def wait():
        heard = []
        with waits(daemon) as client:
            for number in range(count):
                start.wait()
                time.sleep(delays[number][1])
                found = client("message.wait", timeout=60, caller=receiver)
                assert found["status"] == "received", number
                heard.append(found["message"]["message_id"])
                client("message.markRead", message_ids=heard[-1:], caller=receiver)
        return heard

    delays = [(chances.uniform(0, SPREAD), chances.uniform(0, SPREAD)) for _ in range(count)]
    with ThreadPoolExecutor(2) as pool:
        sending, waiting = pool.submit(send), pool.submit(wait)
        heard = waiting.result()
        sending.result()
    ledger.fault(count)
    ledger.acknowledge(*sent)
    ledger.find(*heard)
    ledger.balance()
    assert heard == sent


@pytest.mark.parametrize("door", [Wire, RawSocket])
def test_who_reconnects_with_a_cursor_has_neither_a_gap_nor_a_double(daemon, ledger, rng, effort, door):
    count, sender = effort(300, 4000), hire(daemon, "sender")
    is_cut = random.Random(rng.random())

    def send():
        with Wire(daemon) as wire:
            return [wire("message.send", content=str(n), caller=sender)["message_id"] for n in range(count)]

    heard, last = [], None
    with Wire(daemon) as wire:
        last = wire("message.send", content="the first", caller=sender)["message_id"]
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send)
        while len(heard) < count:
            with door(daemon) as client:
                client.say("subscribe", all=True, push=True, since=last, caller=daemon.omar)
                assert "result" in client.receive()
                for _ in range(is_cut.randrange(1, 30)):
                    told = client.receive()["params"]
                    heard.append(told["message_id"])
                    last = told["event_id"]
                    if len(heard) == count:
                        break
            ledger.fault()
        ledger.acknowledge(*sending.result())
    ledger.find(*heard)
    ledger.balance()
    assert heard == sending.result()


def test_two_that_answer_each_other_by_themselves_grow_by_what_they_say_and_no_more(daemon, ledger, effort, patience):
    """Two loops of replies: each message costs one message, and others are served meanwhile."""
    left, right = hire(daemon, "left"), hire(daemon, "right")
    more = patience(effort(2, 60))

    def reply(me):
        said = 0
        with Wire(daemon) as wire:
            while more():
                found = wire("message.wait", timeout=0.2, caller=me)
                if found["status"] == "received":
                    message_id = found["message"]["message_id"]
                    wire("message.reply", message_id=message_id, content="and you?", caller=me)
                    wire("message.markRead", message_ids=[message_id], caller=me)
                    said += 1
        return said

    with Wire(daemon) as wire, ThreadPoolExecutor(2) as pool:
        wire("message.send", content="how are you?", to=["@right"], caller=left)
        loops = [pool.submit(reply, me) for me in (left, right)]
        while more():
            began = time.monotonic()
            wire("message.list", page_size=100, caller=daemon.omar)
            ledger.recovered(time.monotonic() - began)
            time.sleep(0.02)
        said = sum(loop.result() for loop in loops)
        ledger.fault(said)
        assert said > 10
        assert wire("message.list", all=True, page_size=1, caller=daemon.omar)["total"] == said + 1


def test_no_page_is_larger_than_a_page(daemon):
    with Wire(daemon) as wire:
        for number in range(120):
            wire("message.send", content=str(number), caller=daemon.anna)
            wire("thread.create", title=str(number), caller=daemon.anna)
        for method, field in (("message.list", "messages"), ("message.sent", "messages"), ("thread.list", "threads")):
            for size in (101, 10_000, 2**62):
                answer = wire.ask(method, page_size=size, caller=daemon.anna)
                assert "error" in answer or len(answer["result"][field]) <= 100, (method, size)
