"""How large and how often: the whole measurement, and a glance at it."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """Sizes of what is measured, and how often it is."""

    name: str
    sizes: tuple[int, ...]
    """Events in the histories, growing; the first, the last but one and the last have rows, all are in the chart."""
    files: int
    times: int
    """Runs of what takes milliseconds; a median is of so many."""
    whole: int
    """Runs of the whole command, for its distribution."""
    slow: int
    """Runs of what takes a quarter of a second or more."""
    rebuilds: tuple[int, ...]
    """Rebuilds of each history."""
    listeners: int
    sends: int
    """Sends of one connection in one run."""
    idle: float
    """Seconds for which the daemon is watched doing nothing."""

    @property
    def words(self) -> dict[str, int]:
        """The sizes as the rows name them."""
        *_, middle, large = self.sizes
        return {
            "small": self.sizes[0],
            "middle": middle,
            "large": large,
            "files": self.files,
            "listeners": self.listeners,
        }


FULL = Scale("full", (1_000, 10_000, 100_000, 1_000_000), 50_000, 60, 100, 30, (30, 30, 7, 2), 100, 100, 20.0)
QUICK = Scale("quick", (1_000, 10_000, 20_000), 2_000, 8, 10, 3, (2, 2, 2), 20, 30, 2.0)
TINY = Scale("tiny", (200, 300, 400), 60, 1, 2, 1, (1, 1, 1), 3, 3, 0.2)
"""For the tests: whether everything works, not how long it takes."""
