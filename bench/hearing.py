"""From a message's being handed to the daemon, storing included, to those who wait having it."""

from __future__ import annotations

import selectors
import statistics
import time
from collections.abc import Callable, Iterator, Sequence

from bench import playground
from bench.ears import Browser, Ear, Tool, Waiting
from bench.goals import row
from bench.measure import Row, percentile
from bench.playground import Line
from bench.scale import Scale

SETTLE = 0.02
"""Seconds in which whoever began to wait is really waiting."""
PATIENCE = 30.0


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """Each kind of listener alone, then among many."""
    path = playground.repository(root, "hearing", env, remote=False)
    for name in ("rita", "mona"):
        playground.hire(path, env, name, "reviewer")
    makers: dict[str, Callable[[], Ear]] = {
        "wait": lambda: Waiting(path, "rita"),
        "websocket": lambda: Browser(path, "rita"),
        "mcp": lambda: Tool(path, "mona", env),
    }
    with playground.daemon(path, env):
        for kind, make in makers.items():
            for crowd, late in (("", _alone(path, make, scale)), (".crowd", _among_many(path, kind, makers, scale))):
                for point, value in (("median", statistics.median(late)), ("p99", percentile(late, 99))):
                    yield row(f"hearing.{kind}{crowd}.{point}", value, runs=len(late), **scale.words)


def _alone(path: str, make: Callable[[], Ear], scale: Scale) -> list[float]:
    return _listen(path, [make()], [], scale.whole)


def _among_many(path: str, kind: str, makers: dict[str, Callable[[], Ear]], scale: Scale) -> list[float]:
    if kind == "mcp":  # a server is a process: a hundred of them would measure the machine
        return _listen(path, [makers[kind]()], [makers["websocket"]() for _ in range(scale.listeners)], scale.whole)
    return _listen(path, [makers[kind]() for _ in range(scale.listeners)], [], scale.times)


def _listen(path: str, ears: Sequence[Ear], others: Sequence[Ear], times: int) -> list[float]:
    """How late each of `ears` heard each of `times` messages, in milliseconds."""
    sender, reader = Line(path, "lead"), Line(path, "rita")
    late: list[float] = []
    for number in range(times + 1):
        heard = hear_one(sender, ears, others, number)
        late += heard if number else []
        reader("message.markRead", message_ids=[sender.hear()["message_id"]])
    for one in (*ears, *others, sender, reader):
        one.close()
    return late


def hear_one(sender: Line, ears: Sequence[Ear], others: Sequence[Ear], number: int) -> list[float]:
    """Sends one message, and says how late each of `ears` heard it (milliseconds) once all have; leaves the answer unread."""
    deaf, late = {*ears, *others}, []
    with selectors.DefaultSelector() as selector:
        for ear in deaf:
            selector.register(ear.fileno(), selectors.EVENT_READ, ear)
            ear.listen()
        time.sleep(SETTLE)
        start = time.perf_counter()
        sender.say("message.send", content=f"message {number}")
        while deaf:
            ready = selector.select(PATIENCE)
            if not ready:
                raise RuntimeError(f"{len(deaf)} listeners heard nothing for {PATIENCE:.0f} s")
            for key, _ in ready:
                if key.data.takes():
                    deaf.discard(key.data)
                    if key.data in ears:
                        late.append((time.perf_counter() - start) * 1000)
    return late
