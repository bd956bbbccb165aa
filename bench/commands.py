"""Whole commands, from start to end, with a warm daemon beside the interpreter and without one beside the libraries."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from bench import playground
from bench.goals import row
from bench.measure import Row, command, in_turn, medians
from bench.scale import Scale

PASS = (sys.executable, "-I", "-S", "-c", "pass")
LIBRARIES = (sys.executable, "-c", "import typer, sqlite3, pygit2")
LINES = {
    "send": ("send", "hello", "--quiet"),
    "inbox": ("inbox", "--peek"),
    "who-has": ("who-has", "part0/file1.py"),
    "status": ("status",),
}


def measure(root: str, env: dict[str, str], scale: Scale, samples: dict[str, list[float]]) -> Iterator[Row]:
    """Into `samples` goes what each run of the shortest way took, for its distribution."""
    path = playground.repository(root, "commands", env)
    ours = {name: command(("git", "thrum", *words), path, env) for name, words in LINES.items()}
    took = medians(in_turn((*ours.values(), command(LIBRARIES, path, env)), scale.slow))
    for name, spent in zip(ours, took, strict=False):
        yield row(f"cold.{name}", spent, took[-1], scale.slow)
    with playground.daemon(path, env):
        with contextlib.closing(playground.Line(path, "lead")) as line:
            playground.warm(line)
        shortest = command(("git-thrum", *LINES["send"]), path, env)
        runs = in_turn((shortest, *ours.values(), command(PASS, path, env)), scale.whole, warm=3)
    samples.update({"git-thrum send": runs[0], "git thrum send": runs[1], "python -I -S -c pass": runs[-1]})
    took = medians(runs)
    for key, spent in zip(("warm.send", *(f"warm.git.{name}" for name in ours)), took, strict=False):
        yield row(key, spent, took[-1], scale.whole)
