"""What it costs to know what an agent works on, right after a commit in a large repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from bench import playground
from bench.goals import row
from bench.measure import Row, command, medians, seconds
from bench.playground import Line
from bench.scale import Scale


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """By an engine that has never looked, then asked of a daemon that has; both beside `git status`."""
    path = playground.repository(root, "large", env, files=scale.files, remote=False)
    playground.run(path, env, "git", "checkout", "-qb", "work")
    status = command(("git", "status", "--porcelain"), path, env)
    looks = iter(lambda: playground.engine(path), None)
    spent = _after_commits(path, env, [lambda: next(looks).contexts.refresh, lambda: status], scale.slow)
    yield row("context.cold", *spent, runs=scale.slow, **scale.words)
    with playground.daemon(path, env):
        line = Line(path, "lead")
        playground.warm(line)
        spent = _after_commits(path, env, [lambda: lambda: line("agent.listContext"), lambda: status], scale.slow)
        line.close()
    yield row("context.warm", *spent, runs=scale.slow, **scale.words)


def _after_commits(
    path: str, env: dict[str, str], prepare: list[Callable[[], Callable[[], object]]], times: int
) -> list[float]:
    """The median of each look, in milliseconds; each gets a commit of its own to look at."""
    took: list[list[float]] = [[] for _ in prepare]
    for number in range(times + 1):
        for make, mine in zip(prepare, took, strict=True):
            look = make()
            Path(path, "part0/file0.py").write_text(f"value = {number}{len(mine)}{id(mine)}\n")
            playground.run(path, env, "git", "commit", "-qam", "x")
            spent = seconds(look)
            if number:
                mine.append(spent * 1000)
    return medians(took)
