"""How often each method was called and how long it took, in bounded memory."""

from __future__ import annotations

from collections import deque

KEPT = 512
"""Durations kept per method: the latest ones."""


class Tally:
    """Counts and durations by method."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._durations: dict[str, deque[float]] = {}

    def note(self, method: str, seconds: float) -> None:
        """One call of a known method has ended."""
        self._counts[method] = self._counts.get(method, 0) + 1
        self._durations.setdefault(method, deque(maxlen=KEPT)).append(seconds)

    @property
    def total(self) -> int:
        """How many calls there were."""
        return sum(self._counts.values())

    def as_json(self) -> dict[str, dict[str, float]]:
        """`{method: {count, p50_ms, p99_ms}}`."""
        return {method: self._describe(method) for method in sorted(self._counts)}

    def _describe(self, method: str) -> dict[str, float]:
        ordered = sorted(self._durations[method])
        return {
            "count": self._counts[method],
            "p50_ms": _percentile(ordered, 0.50),
            "p99_ms": _percentile(ordered, 0.99),
        }


def _percentile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 3)
