"""What the fault suites count, and the table at the end of a run: faults, what was acknowledged, what was found afterwards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

COLUMNS = ("suite", "faults", "acknowledged", "found", "doubled", "lost", "recovery p50", "recovery max")
PROPERTY = "ledger"


class Ledger:
    """The books of one test: what happened to it, what was promised, what was there in the end."""

    def __init__(self, suite: str) -> None:
        """`suite`: the row of the table it adds to."""
        self.suite = suite
        self.faults = 0
        self.acknowledged: Counter[str] = Counter()
        self.found: Counter[str] = Counter()
        self.recoveries: list[float] = []

    def fault(self, count: int = 1) -> None:
        """Something was broken on purpose."""
        self.faults += count

    def acknowledge(self, *ids: str) -> None:
        """Operations that were answered with success, each by an id of its own."""
        self.acknowledged.update(ids)

    def find(self, *ids: str) -> None:
        """What is there afterwards; an id twice is a double."""
        self.found.update(ids)

    def recovered(self, seconds: float) -> None:
        """How long it took until the next command worked."""
        self.recoveries.append(seconds)

    @property
    def lost(self) -> list[str]:
        """Acknowledged, and not there."""
        return sorted(set(self.acknowledged) - set(self.found))

    @property
    def doubled(self) -> list[str]:
        """There more than once."""
        return sorted(name for name, count in self.found.items() if count > 1)

    def balance(self) -> None:
        """Nothing lost, nothing doubled; raises AssertionError naming what was."""
        assert not self.lost, f"lost: {self.lost[:5]} of {len(self.acknowledged)}"
        assert not self.doubled, f"doubled: {self.doubled[:5]}"

    def as_dict(self) -> dict[str, object]:
        """Everything in the books, for `add`."""
        kept = (self.faults, dict(self.acknowledged), dict(self.found), self.recoveries)
        return dict(zip(("faults", "acknowledged", "found", "recoveries"), kept, strict=True))

    def add(self, kept: dict[str, Any]) -> None:
        """Takes over what was written elsewhere."""
        self.faults += kept["faults"]
        self.acknowledged.update(kept["acknowledged"])
        self.found.update(kept["found"])
        self.recoveries += kept["recoveries"]

    def as_json(self) -> str:
        """One line for the table."""
        found = len(set(self.acknowledged) & set(self.found))
        row = (self.suite, self.faults, len(self.acknowledged), found, len(self.doubled), len(self.lost))
        return json.dumps([*row, self.recoveries])


def table(rows: Iterable[str]) -> list[str]:
    """The rows of `as_json`, added up by suite and set in columns; recovery in milliseconds, "" where nothing recovered."""
    sums: dict[str, list[int]] = {}
    recoveries: dict[str, list[float]] = {}
    for row in rows:
        suite, *numbers, seconds = json.loads(row)
        sums[suite] = [a + b for a, b in zip(sums.get(suite, [0] * len(numbers)), numbers, strict=True)]
        recoveries.setdefault(suite, []).extend(seconds)
    lines = [list(COLUMNS)]
    lines += [
        [suite, *(f"{number:,}" for number in sums[suite]), *_times(sorted(recoveries[suite]))]
        for suite in sorted(sums)
    ]
    wide = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.ljust(w) if not at else cell.rjust(w) for at, (cell, w) in enumerate(zip(line, wide, strict=True))
        )
        for line in lines
    ]


def _times(ordered: list[float]) -> tuple[str, str]:
    if not ordered:
        return "", ""
    return f"{ordered[len(ordered) // 2] * 1000:,.0f} ms", f"{ordered[-1] * 1000:,.0f} ms"
