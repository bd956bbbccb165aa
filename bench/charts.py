"""Charts as SVG, readable on light and on dark: a strip of runs by the time they took, and lines over two logarithmic axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

from bench.measure import percentile

WIDTH, RIGHT = 760, 736
_INKS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#6e7781")
_DARK_INKS = ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#f778ba", "#9198a1")
_COLOURS, _DARK_COLOURS = (
    " ".join(f".ink{i} {{ color: {ink} }}" for i, ink in enumerate(inks)) for inks in (_INKS, _DARK_INKS)
)
_STYLE = f"""
    text {{ font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #57606a }}
    .title {{ font-size: 14px; font-weight: 600; fill: #24292f }}
    .strong {{ font-weight: 600; fill: #24292f }}
    .middle {{ text-anchor: middle }} .end {{ text-anchor: end }}
    .grid {{ stroke: #8c959f; stroke-opacity: .28 }} .axis {{ stroke: #8c959f }}
    .floor {{ stroke: #8c959f; stroke-dasharray: 4 3 }}
    .line {{ fill: none; stroke-width: 2; stroke-linejoin: round }} .dot {{ fill-opacity: .42 }}
    {_COLOURS}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #9198a1 }} .title, .strong {{ fill: #e6edf3 }}
      {_DARK_COLOURS}
    }}
"""
MOST = 99.0
"""Hundredths of the runs that a strip shows; the slowest are told of, not drawn, or they would push the rest together."""


class Axis(NamedTuple):
    """From values to places: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where `value` lies."""
        low, high, here = (math.log10(x) if self.is_logarithmic else x for x in (self.low, self.high, value))
        return round(self.start + (here - low) / (high - low) * (self.end - self.start), 1)


def strips(title: str, samples: Mapping[str, Sequence[float]], floor: str) -> str:
    """A lane of dots for each of `samples` (milliseconds), its median marked and told as a multiple of that of `floor`."""
    lanes, left, top, lane = list(samples.items()), 168, 44, 62
    bottom = top + lane * len(lanes)
    furthest = max(percentile(runs, MOST) for runs in samples.values())
    step = _step(furthest)
    axis = Axis(0, step * math.ceil(furthest / step * 1.02), left, RIGHT)
    ticks = [step * number for number in range(int(axis.high / step) + 1)]
    parts = [_text(left, 22, title, "title")]
    for tick in ticks:
        parts += [
            _rule(axis.at(tick), top, axis.at(tick), bottom),
            _text(axis.at(tick), bottom + 18, f"{tick:g}", "middle"),
        ]
    parts += [
        _rule(left, bottom, RIGHT, bottom, "axis"),
        _text((left + RIGHT) / 2, bottom + 38, "milliseconds", "middle"),
    ]
    base = percentile(samples[floor], 50)
    parts.append(_rule(axis.at(base), top, axis.at(base), bottom, "floor"))
    for number, (name, runs) in enumerate(lanes):
        parts += _lane(axis, top + lane * (number + 0.5), number, name, runs, base)
    return _page(bottom + 50, title, parts)


def _lane(axis: Axis, y: float, number: int, name: str, runs: Sequence[float], base: float) -> Iterable[str]:
    shown = [run for run in runs if run <= axis.high]
    middle, late = percentile(runs, 50), len(runs) - len(shown)
    yield _text(axis.start - 12, y + 1, name, "strong end")
    yield _text(axis.start - 12, y + 17, f"{len(runs)} runs" + (f", {late} slower" if late else ""), "end")
    for place, run in enumerate(shown):
        spread = (place * 0.618034 % 1 - 0.5) * 26  # even, and the same in every drawing
        where = f'cx="{axis.at(run)}" cy="{y + spread + 4:.1f}"'
        yield f'<circle class="dot ink{number}" {where} r="3" fill="currentColor"/>'
    x = axis.at(middle)
    yield f'<path class="ink{number}" d="M{x} {y - 15}V{y + 23}" stroke="currentColor" stroke-width="2.5"/>'
    beside = "the floor" if middle == base else f"{middle / base:.2f} x the floor"
    yield _text(x + 5, y - 17, f"{middle:.1f} ms, {beside}", "strong")


def lines(title: str, curves: Mapping[str, Sequence[tuple[float, float]]], x_label: str, y_label: str) -> str:
    """A line for each of `curves`, [(x, y)…], over two logarithmic axes, named at its end and in the legend."""
    points = [point for curve in curves.values() for point in curve]
    left, top, right, bottom = 64, 74, 572, 404
    x_axis = Axis(min(x for x, _ in points), max(x for x, _ in points), left, right, True)
    powers = [math.log10(y) for _, y in points]
    low, high = math.floor(min(powers)), max(math.ceil(max(powers)), math.floor(min(powers)) + 1)
    y_axis = Axis(10.0**low, 10.0**high, bottom, top, True)
    parts = [_text(left, 22, title, "title"), *_grid(x_axis, y_axis)]
    parts += [_text((left + right) / 2, bottom + 40, x_label, "middle"), _text(left - 52, top - 12, y_label, "")]
    ends = _spread([y_axis.at(curve[-1][1]) for curve in curves.values()])
    along = left
    for number, ((name, curve), end) in enumerate(zip(curves.items(), ends, strict=True)):
        parts += _curve(x_axis, y_axis, number, name, curve, end)
        parts += [f'<rect class="ink{number}" x="{along}" y="36" width="14" height="4" rx="2" fill="currentColor"/>']
        parts += [_text(along + 20, 42, name, "")]
        along += 38 + 7 * len(name)
    return _page(bottom + 54, title, parts)


def _grid(x_axis: Axis, y_axis: Axis) -> Iterable[str]:
    for x in _decades(x_axis):
        yield _rule(x_axis.at(x), y_axis.end, x_axis.at(x), y_axis.start)
        yield _text(x_axis.at(x), y_axis.start + 18, f"{x:,g}" if x < 1e6 else f"{x / 1e6:g} million", "middle")
    for y in _decades(y_axis):
        yield _rule(x_axis.start, y_axis.at(y), x_axis.end, y_axis.at(y))
        yield _text(x_axis.start - 8, y_axis.at(y) + 4, f"{y:,g}", "end")
    yield _rule(x_axis.start, y_axis.start, x_axis.end, y_axis.start, "axis")


def _curve(
    x_axis: Axis, y_axis: Axis, number: int, name: str, curve: Sequence[tuple[float, float]], end: float
) -> Iterable[str]:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in curve]
    way = "L".join(f"{x} {y}" for x, y in places)
    yield f'<path class="line ink{number}" d="M{way}" stroke="currentColor"/>'
    for x, y in places:
        yield f'<circle class="ink{number}" cx="{x}" cy="{y}" r="3.5" fill="currentColor"/>'
    yield _text(x_axis.end + 10, end + 4, f"{name} {_short(curve[-1][1])} ms", "strong")


def _spread(places: Sequence[float], apart: float = 16) -> list[float]:
    """The places, moved so that no two are closer than `apart`."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    moved = list(places)
    for before, index in itertools.pairwise(order):
        moved[index] = max(moved[index], moved[before] + apart)
    return moved


def _decades(axis: Axis) -> list[float]:
    first, last = math.ceil(math.log10(axis.low) - 1e-9), math.floor(math.log10(axis.high) + 1e-9)
    return [10.0**power for power in range(first, last + 1)]


def _step(furthest: float) -> float:
    size = 10.0 ** math.floor(math.log10(furthest / 6))
    return next(size * times for times in (1, 2, 5, 10) if size * times >= furthest / 8)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _text(x: float, y: float, words: str, kind: str) -> str:
    known_as = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y:g}"{known_as}>{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str = "grid") -> str:
    return f'<path class="{kind}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'


def _page(height: float, title: str, parts: Iterable[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
    inside = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n  <title>{escape(title)}</title>\n'
        f"  <style>{_STYLE}  </style>\n  {inside}\n</svg>\n"
    )
