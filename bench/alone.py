"""One job in a process of its own, so that its memory is its own: `python -m bench.alone rebuild|decode PATH`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import playground
from bench.measure import seconds
from thrum.core import codec
from thrum.git import place
from thrum.store import disk

ROOT = str(Path(__file__).parent.parent)


class Done(NamedTuple):
    """How long the job took, and the most memory its process ever had."""

    seconds: float
    megabytes: float


def run(job: str, path: str, env: dict[str, str]) -> Done:
    """Does `job` for the repository at `path` in a new process."""
    line = (sys.executable, "-m", "bench.alone", job, path)
    said = subprocess.run(line, cwd=ROOT, env={**env, "PYTHONPATH": ROOT}, check=True, capture_output=True).stdout
    return Done(**json.loads(said))


def rebuild(path: str) -> float:
    """Builds the read model anew."""
    own = playground.engine(path)
    spent = seconds(own.projection.rebuild)
    own.close()
    return spent


def decode(path: str) -> float:
    """Reads and decodes every line of the logs, and does nothing with it."""
    root = place.find(path).log_root
    return seconds(lambda: _decode_all(root))


def _decode_all(root: str) -> None:
    for data in logs(root):
        for line in data.split(b"\n")[:-1]:
            codec.decode(line)


def logs(root: str) -> Iterator[bytes]:
    """Every log file below `root`."""
    for folder, _, names in os.walk(root + "/messages"):
        for name in sorted(names):
            if name.endswith(".jsonl"):
                yield disk.read(f"{folder}/{name}")


def main(job: str, path: str) -> None:
    """Prints what `run` reads."""
    spent = {"rebuild": rebuild, "decode": decode}[job](path)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(Done(spent, memory)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
