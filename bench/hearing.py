"""From a message's being handed to the daemon, storing included, to those who wait having it."""

from __future__ import annotations

import itertools
import selectors
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bench import playground
from bench.ears import Browser, Ear, Tool, Waiting
from bench.goals import row
from bench.measure import Row, percentile
from bench.playground import Line
from bench.scale import Scale

SETTLE = 0.02
"""Seconds in which whoever began to wait is really waiting."""
PATIENCE = 30.0
_words = itertools.count()


class Kind(NamedTuple):
    """A way to listen, and the agent that does."""

    agent: str
    make: Callable[[], Ear]


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """Each kind of listener alone, then among many."""
    path = playground.repository(root, "hearing", env, remote=False)
    for name in ("rita", "omar", "mona"):
        playground.hire(path, name, "reviewer")
    kinds = {
        "wait": Kind("rita", lambda: Waiting(path, "rita")),
        "websocket": Kind("omar", lambda: Browser(path, "omar")),
        "mcp": Kind("mona", lambda: Tool(path, "mona", env)),
    }
    with playground.daemon(path, env):
        for name, kind in kinds.items():
            for crowd, late in (("", _alone(path, kind, scale)), (".crowd", _among_many(path, name, kind, scale))):
                for point, value in (("median", statistics.median(late)), ("p99", percentile(late, 99))):
                    yield row(f"hearing.{name}{crowd}.{point}", value, runs=len(late), **scale.words)


def _alone(path: str, kind: Kind, scale: Scale) -> list[float]:
    return _listen(path, kind.agent, [kind.make()], [], scale.whole)


def _among_many(path: str, name: str, kind: Kind, scale: Scale) -> list[float]:
    if name == "mcp":  # a server is a process: a hundred of them would measure the machine
        others = [Browser(path, kind.agent) for _ in range(scale.listeners)]
        return _listen(path, kind.agent, [kind.make()], others, scale.whole)
    return _listen(path, kind.agent, [kind.make() for _ in range(scale.listeners)], [], scale.times)


def _listen(path: str, agent: str, ears: Sequence[Ear], others: Sequence[Ear], times: int) -> list[float]:
    """How late each of `ears` heard each of `times` messages to `agent`, in milliseconds."""
    sender, reader = Line(path, "lead"), Line(path, agent)
    late: list[float] = []
    for number in range(times + 1):
        heard = hear_one(sender, ears, others, to=[f"@{agent}"])
        late += heard if number else []
        reader("message.markRead", message_ids=[sender.hear()["message_id"]])
    for one in (*ears, *others, sender, reader):
        one.close()
    return late


def hear_one(sender: Line, ears: Sequence[Ear], others: Sequence[Ear], **more: Any) -> list[float]:
    """Sends one message, and says how late each of `ears` heard it (milliseconds) once all have; leaves the answer unread."""
    deaf, late, word = {*ears, *others}, [], f"word {next(_words)} over"
    with selectors.DefaultSelector() as selector:
        for ear in deaf:
            selector.register(ear.fileno(), selectors.EVENT_READ, ear)
            ear.listen()
        time.sleep(SETTLE)
        start = time.perf_counter()
        sender.say("message.send", content=word, **more)
        while deaf:
            ready = selector.select(PATIENCE)
            if not ready:
                raise RuntimeError(f"{len(deaf)} listeners heard nothing for {PATIENCE:.0f} s")
            for key, _ in ready:
                if key.data.takes(word.encode()):
                    deaf.discard(key.data)
                    if key.data in ears:
                        late.append((time.perf_counter() - start) * 1000)
    return late
