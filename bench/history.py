"""What may grow with history, and what must not: the rebuild, the questions, the start."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from bench import alone, playground, scribe, syncing
from bench.goals import row
from bench.measure import Row, in_turn, medians
from bench.scale import Scale
from thrum.engine import Engine

ENOUGH = 20.0
"""Seconds after which a slow question is not asked again."""
Curves = dict[str, dict[int, float]]


class House(NamedTuple):
    """A repository with a history in it; `events` is its size as the rows name it."""

    events: int
    path: str
    engine: Engine
    written: scribe.Written


def measure(root: str, env: dict[str, str], scale: Scale, curves: Curves) -> Iterator[Row]:
    """Into `curves` goes every cost by the size of the history. The histories are made once, for all rows."""
    houses: list[House] = []
    for events, times in zip(scale.sizes, scale.rebuilds, strict=True):
        house = _build(root, env, events)
        houses.append(house)
        yield from _rebuild(house, env, times, scale, curves)
    yield from _ask(houses, scale, curves)
    yield from _start(houses, scale)
    yield from syncing.measure(root, env, houses, scale, curves)
    for house in houses:
        house.engine.close()


def _build(root: str, env: dict[str, str], events: int) -> House:
    path = playground.repository(root, f"history{events}", env)
    own = playground.engine(path)
    return House(events, path, own, scribe.write(own, events))


def _rebuild(house: House, env: dict[str, str], times: int, scale: Scale, curves: Curves) -> Iterator[Row]:
    pairs = [(alone.run("rebuild", house.path, env), alone.run("decode", house.path, env)) for _ in range(times)]
    built, decoded = (statistics.median(done.seconds for done in side) for side in zip(*pairs, strict=True))
    curves.setdefault("rebuild", {})[house.events] = built * 1000
    key = {scale.words[word]: word for word in ("middle", "large")}.get(house.events)
    if key:
        lines = house.written.events
        yield row(f"rebuild.{key}", lines / built, lines / decoded, times, **scale.words)
        if key == "middle":
            least = statistics.median(alone.run("insert", house.path, env).seconds for _ in range(times))
            yield row("rebuild.least", lines / least, lines / decoded, times, **scale.words)
        yield row(f"rebuild.{key}.memory", max(ours.megabytes for ours, _ in pairs), runs=times, **scale.words)


def _ask(houses: list[House], scale: Scale, curves: Curves) -> Iterator[Row]:
    """Everything is asked as a daemon is."""
    for house in houses:
        house.engine.serve()
    asked = [scribe.questions(house.engine, house.path, house.written) for house in houses]
    for key in asked[0]:
        runs = in_turn([one[key] for one in asked], scale.times, warm=3, within=ENOUGH)
        took = medians(runs)
        curves[key] = {house.events: spent for house, spent in zip(houses, took, strict=True)}
        yield row(f"query.{key}", took[-1], took[0], len(runs[0]), **scale.words)


def _start(houses: list[House], scale: Scale) -> Iterator[Row]:
    small, large = houses[0], houses[-1]
    took = medians(in_turn([lambda: _open(small.path), lambda: _open(large.path)], scale.slow))
    yield row("start.nothing", took[1], took[0], scale.slow, **scale.words)


def _open(path: str) -> None:
    own = playground.engine(path)
    own.catch_up()
    own.close()
