"""Measuring: interleaved runs, medians, and one row of the table."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement and its reference. `goal` is what is to be reached; `met` is None where there is no goal yet."""

    name: str
    value: float
    unit: str
    reference: str = ""
    against: float | None = None
    goal: str = ""
    met: bool | None = None

    @property
    def ratio(self) -> float | None:
        """The value over its reference."""
        return self.value / self.against if self.against else None


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def interleaved(actions: Sequence[Callable[[], object]], times: int) -> list[float]:
    """The median of each action in milliseconds; all run in turn, so that noise falls on all alike."""
    took: list[list[float]] = [[] for _ in actions]
    for round_ in range(times + 1):
        for action, mine in zip(actions, took, strict=True):
            spent = seconds(action)
            if round_:
                mine.append(spent)
    return [statistics.median(mine) * 1000 for mine in took]


def command(line: Sequence[str], cwd: str, env: dict[str, str]) -> Callable[[], object]:
    """An action that runs a command to its end, and insists that it works."""

    def run() -> None:
        subprocess.run(line, cwd=cwd, env=env, stdout=subprocess.DEVNULL, check=True)

    return run


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text."""
    cells = [("what", "here", "reference", "", "ratio", "to reach")]
    for row in rows:
        met = {True: "met", False: "MISSED", None: ""}[row.met]
        cells.append(
            (
                row.name,
                _number(row.value, row.unit),
                row.reference,
                _number(row.against, row.unit) if row.against is not None else "",
                f"{row.ratio:.2f} x" if row.ratio is not None else "",
                f"{row.goal} {met}".strip(),
            )
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _number(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"
