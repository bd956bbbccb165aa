"""`python -m bench [--quick]`: prints the table and writes `bench/results.json`."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from bench import playground, rows
from bench.measure import table


def main() -> int:
    """Runs every row; 0 when all goals that are set were met."""
    quick = "--quick" in sys.argv
    times, sizes = (5, (1_000, 2_000, 5_000)) if quick else (20, (1_000, 10_000, 100_000))
    found = []
    with playground.temporary() as root:
        env = playground.environment(root)
        os.environ.update(env)
        for part in (
            rows.commands(root, env, times),
            rows.hooks(root, env, times),
            rows.appends(root, env, times),
            rows.histories(root, env, sizes, times),
        ):
            for row in part:
                found.append(row)
                sys.stderr.write(f"  {row.name}\n")
    print(table(found))
    document = {
        "python": platform.python_version(),
        "quick": quick,
        "rows": [{**r._asdict(), "ratio": r.ratio} for r in found],
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(document, indent=1) + "\n")
    missed = [row.name for row in found if row.met is False]
    if missed:
        print(f"\nnot reached: {'; '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
