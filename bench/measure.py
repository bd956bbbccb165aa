"""Measuring: runs in turn, medians, and rows that know by themselves whether their goal was met."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Action = Callable[[], object]


class Goal(NamedTuple):
    """What is to be reached; every limit that is set has to hold.

    `ratio`: the value is at most so many times its reference; `share`: at least so many times; `extra`: at most so much more;
    `most`, `least`: bounds of the value itself. All but the first two are in the row's unit.
    """

    ratio: float | None = None
    share: float | None = None
    extra: float | None = None
    most: float | None = None
    least: float | None = None

    def is_met(self, value: float, against: float | None) -> bool | None:
        """Whether `value` reaches it; None when nothing is to be reached. A limit without its reference is missed."""
        beside = math.nan if against is None else against
        held = (
            self.ratio is None or value <= self.ratio * beside,
            self.share is None or value >= self.share * beside,
            self.extra is None or value - beside <= self.extra,
            self.most is None or value <= self.most,
            self.least is None or value >= self.least,
        )
        return all(held) if any(limit is not None for limit in self) else None

    def words(self, unit: str) -> str:
        """The goal as people read it."""
        said = (
            (self.ratio, "≤ {} x", ""),
            (self.share, "≥ {} x", ""),
            (self.extra, "+ ≤ {}", unit),
            (self.most, "≤ {}" if self.most else "{}", unit),
            (self.least, "≥ {}", unit),
        )
        return ", ".join(_joined(text.format(f"{limit:,g}"), own) for limit, text, own in said if limit is not None)


class Row(NamedTuple):
    """One measurement and what it is measured against; `runs`: how many of each its median is taken from."""

    key: str
    name: str
    value: float
    unit: str
    reference: str = ""
    against: float | None = None
    goal: Goal = Goal()
    runs: int = 1

    @property
    def ratio(self) -> float | None:
        """The value over its reference."""
        return self.value / self.against if self.against else None

    @property
    def met(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        return self.goal.is_met(self.value, self.against)

    def as_json(self) -> dict[str, Any]:
        """The row as `results.json` keeps it."""
        goal = {name: limit for name, limit in self.goal._asdict().items() if limit is not None}
        return {**self._asdict(), "goal": goal, "ratio": self.ratio, "met": self.met}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Row:
        """The row that `as_json` kept."""
        return cls(**{**{name: kept[name] for name in cls._fields}, "goal": Goal(**kept["goal"])})

    def cells(self) -> list[str]:
        """What, here, reference, ratio, goal, met: as people read them."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f} x"
        beside = "" if self.against is None else number(self.against, self.unit)
        met = {True: "met", False: "MISSED", None: ""}[self.met]
        return [
            self.name, number(self.value, self.unit), f"{self.reference} {beside}".strip(), ratio,
            self.goal.words(self.unit), met,
        ]  # fmt: skip


HEAD = ["what", "here", "reference", "ratio", "goal", ""]


def seconds(action: Action) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


FEWEST = 5


def in_turn(actions: Sequence[Action], times: int, *, warm: int = 1, within: float = math.inf) -> list[list[float]]:
    """How long each run of each action took, in milliseconds; they take turns, so that noise falls on all alike.

    Each round has an order of its own: what an action leaves behind, e.g. a sync soon after a send, falls on all alike, too.
    The first `warm` rounds do not count. What is so slow that `within` seconds are over gets `FEWEST` rounds, but no more.
    """
    took: list[list[float]] = [[] for _ in actions]
    end = time.monotonic() + within
    for round_ in range(times + warm):
        if round_ >= FEWEST + warm and time.monotonic() > end:
            break
        turns = list(zip(actions, took, strict=True))
        random.Random(round_).shuffle(turns)  # the same in every run
        for action, mine in turns:
            spent = seconds(action)
            if round_ >= warm:
                mine.append(spent * 1000)
    return took


def medians(runs: Sequence[Sequence[float]]) -> list[float]:
    """The median of each."""
    return [statistics.median(mine) for mine in runs]


def percentile(values: Sequence[float], hundredths: float) -> float:
    """The smallest value that so many hundredths of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * hundredths / 100) - 1, 0)]


def command(line: Sequence[str], cwd: str, env: dict[str, str]) -> Action:
    """An action that runs a command to its end, and insists that it works."""

    def run() -> None:
        subprocess.run(line, cwd=cwd, env=env, stdout=subprocess.DEVNULL, check=True)

    return run


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    cells = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def number(value: float, unit: str) -> str:
    """A value with its unit, in as many digits as mean something."""
    digits = 0 if value >= 1000 or value == int(value) else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return _joined(f"{value:,.{digits}f}", unit)


def _joined(text: str, unit: str) -> str:
    return text + unit if unit.startswith("/") else f"{text} {unit}".strip()
