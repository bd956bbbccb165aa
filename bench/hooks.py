"""What our hooks add to a commit and a checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from bench import playground
from bench.goals import row
from bench.measure import Row, command, in_turn, medians
from bench.scale import Scale

LINES = {
    "commit": ("git", "commit", "-q", "--allow-empty", "-m", "x"),
    "checkout": ("git", "checkout", "-q", "@{-1}"),
}


def measure(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """The same repository twice, with hooks and without."""
    hooked, bare = playground.repository(root, "hooked", env, remote=False), f"{root}/bare"
    playground.run(hooked, env, "git", "branch", "other")
    subprocess.run(("cp", "-r", hooked, bare), check=True)
    playground.run(bare, env, "git", "thrum", "hooks", "uninstall")
    for name, line in LINES.items():
        for where in (hooked, bare):
            playground.run(where, env, "git", "checkout", "-q", "other")
            playground.run(where, env, "git", "checkout", "-q", "main")
        runs = in_turn((command(line, hooked, env), command(line, bare, env)), scale.times * 2, warm=3)
        yield row(f"hooks.{name}", *medians(runs), runs=scale.times * 2)
