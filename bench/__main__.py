"""`python -m bench [--quick] [--list] [THEME…]`: prints the table and keeps it; the whole of it becomes docs/benchmarks.md."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench import commands, contexts, durable, goals, hearing, history, hooks, idle, machine, page, playground, syncing
from bench.measure import Row, table
from bench.scale import FULL, QUICK, TINY, Scale

SCALES = {"--quick": QUICK, "--tiny": TINY}
RESULTS = Path(__file__).with_name("results.json")
Rows = Iterator[Row]


class Run:
    """One run of everything, or of some themes; rows are kept as they come."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.rows: list[Row] = []
        self.samples: dict[str, list[float]] = {}
        self.curves: history.Curves = {}
        self.troubles: list[str] = []

    def themes(self) -> dict[str, Callable[[str, dict[str, str]], Rows]]:
        """What can be measured, in order."""
        scale = self.scale
        return {
            "commands": lambda root, env: commands.measure(root, env, scale, self.samples),
            "hooks": lambda root, env: hooks.measure(root, env, scale),
            "hearing": lambda root, env: hearing.measure(root, env, scale),
            "durable": lambda root, env: durable.measure(root, env, scale),
            "history": lambda root, env: history.measure(root, env, scale, self.curves),
            "clones": lambda root, env: syncing.clones(root, env, scale),
            "contexts": lambda root, env: contexts.measure(root, env, scale),
        }

    def measure(self, wanted: list[str]) -> None:
        """Measures the themes named, or all. A theme that breaks down is told of, and the others go on."""
        with playground.temporary() as root:
            env = playground.environment(root)
            os.environ.update(env)
            with contextlib.closing(idle.measure(root, env, self.scale)) as idling:
                if not wanted or "idle" in wanted:
                    self._take("idle: begun", idling, 1)
                for name, theme in self.themes().items():
                    if not wanted or name in wanted:
                        self._take(name, theme(root, env))
                if not wanted or "idle" in wanted:
                    self._take("idle", idling)

    def _take(self, theme: str, found: Iterator[Row | None], most: int | None = None) -> None:
        began = time.monotonic()
        try:
            for number, row in enumerate(found, 1):
                if row is not None:
                    self.rows.append(row)
                if number == most:
                    break
        except Exception:
            self.troubles.append(theme)
            traceback.print_exc()
        sys.stderr.write(f"  {theme}: {time.monotonic() - began:.0f} s\n")

    @property
    def is_whole(self) -> bool:
        """Whether every row there is was measured."""
        return {row.key for row in self.rows} == set(goals.ROWS)

    def as_json(self) -> dict[str, Any]:
        """What `results.json` keeps: where it was made, the rows, and what the charts show."""
        order = list(goals.ROWS)
        rows = sorted(self.rows, key=lambda row: order.index(row.key))
        return {
            "made": {**machine.describe(), "scale": self.scale.name, "listeners": self.scale.listeners},
            "rows": [row.as_json() for row in rows],
            "samples": self.samples,
            "curves": {name: sorted(points.items()) for name, points in self.curves.items()},
        }


def listing() -> str:
    """Every row there is, with its goal."""
    rows = [goals.row(key, 0.0, **FULL.words) for key in goals.ROWS]
    cells = [(row.name, row.goal.words(row.unit), f"against {row.reference}" if row.reference else "") for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def main(words: list[str]) -> int:
    """0 when every row was measured and every goal reached, 1 when not, 2 for words that mean nothing."""
    if "--list" in words:
        print(listing())
        return 0
    run = Run(next((scale for word, scale in SCALES.items() if word in words), FULL))
    wanted = [word for word in words if word not in SCALES]
    unknown = [word for word in wanted if word not in (*run.themes(), "idle")]
    if unknown:
        print(f"there is no {unknown[0]}\n  try: {', '.join((*run.themes(), 'idle'))}", file=sys.stderr)
        return 2
    run.measure(wanted)
    return report(run, wanted)


def report(run: Run, wanted: list[str]) -> int:
    """Prints the table and keeps it; with everything measured in full size, it becomes the page."""
    results = run.as_json()
    rows = [Row.from_json(kept) for kept in results["rows"]]
    print(table(rows))
    if run.scale is not TINY:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if run.scale is FULL and run.is_whole:
        page.write(results)
        print(f"\nwrote {page.PAGE.relative_to(page.ROOT)}")
    missed = [row.name for row in rows if row.met is False]
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}")
    if run.troubles:
        print(f"\nbroke down, see above: {', '.join(run.troubles)}", file=sys.stderr)
    return 1 if missed or run.troubles or (not wanted and not run.is_whole) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
