"""`make mutants`: breaks a copy of the program in one place, runs the tests that should notice, and says who survived."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

from tests.mutants.seeded import MUTANTS, Mutant, apply

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPIED = (
    "thrum",
    "tests",
    "fixtures",
    "githooks",
    "docs",
    "bench",
    "git-thrum",
    "bin",
    "pyproject.toml",
    "README.md",
    "man",
    "Makefile",
)
MAY_SURVIVE = 0.05
LONGEST = 600.0
"""Seconds for one mutant's tests; a mutant that hangs them counts as noticed."""


def main() -> int:
    """0 when enough mutants were noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    wanted = parser.parse_args().names
    chosen = [mutant for mutant in MUTANTS if not wanted or mutant.name in wanted]
    _require_sound({test for mutant in chosen for test in mutant.tests})
    survivors = [mutant for mutant in chosen if not _is_noticed(mutant)]
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} mutants were noticed")
    for mutant in survivors:
        print(f"  survived: {mutant.name} ({mutant.what})")
    return int(len(survivors) > MAY_SURVIVE * len(chosen))


def _require_sound(tests: set[str]) -> None:
    """The tests pass on the program as it is: else whatever they say of a mutant says nothing. Raises SystemExit."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thrum-mutant-") as folder:
        _copy(folder)
        done = _run(folder, sorted(tests), 2 * LONGEST)
    if done is None or done.returncode:
        said = done.stdout[-4000:] if done else "they took too long"
        raise SystemExit(f"the tests fail on the program as it is:\n{said}")
    print(f"sound     {'the program as it is':32}  {time.monotonic() - began:5.0f} s", flush=True)


def _is_noticed(mutant: Mutant) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="thrum-mutant-") as folder:
        _copy(folder)
        apply(mutant, folder)
        outcome = _test(folder, mutant.tests)
    word = "noticed " if outcome else "SURVIVED"
    print(f"{word}  {mutant.name:32}  {time.monotonic() - began:5.0f} s  {mutant.what}", flush=True)
    return outcome


def _copy(folder: str) -> None:
    for name in COPIED:
        source = os.path.join(ROOT, name)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
        elif os.path.exists(source):
            shutil.copy2(source, folder)


def _test(folder: str, tests: Sequence[str]) -> bool:
    """Whether the tests noticed. Raises RuntimeError when they did not even run."""
    done = _run(folder, tests, LONGEST)
    if done is not None and done.returncode not in (0, 1, 2):
        raise RuntimeError(f"the tests did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done is None or done.returncode != 0


def _run(folder: str, tests: Sequence[str], longest: float) -> subprocess.CompletedProcess[str] | None:
    """Runs tests on the program in `folder`, until one fails; None when they took longer than that."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-n", "2", *tests]
    environ = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=longest)
    except subprocess.TimeoutExpired:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
