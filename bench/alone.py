"""One job in a process of its own, so that its memory is its own: `python -m bench.alone rebuild|decode|insert PATH`."""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench import playground
from bench.measure import seconds
from thrum.core import codec
from thrum.git import place
from thrum.store import database, disk, schema

ROOT = str(Path(__file__).parent.parent)


AT_ONCE = 2000
"""Rows that SQLite is given at a time, as a fold does."""


class Table(NamedTuple):
    """A table of the read model, and all its rows."""

    name: str
    rows: list[tuple[Any, ...]]


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


def insert(path: str) -> float:
    """Makes the read model's database from its own rows: all that SQLite has to do in a rebuild, and nothing of what we do."""
    own = playground.engine(path)
    own.catch_up()
    tables = list(_filled(own.projection.connection))
    own.close()
    with tempfile.TemporaryDirectory(dir=place.find(path).var_dir) as folder:
        return seconds(lambda: _make(f"{folder}/copy.db", tables))


def _filled(connection: sqlite3.Connection) -> Iterator[Table]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in names:
        rows = connection.execute(f"SELECT * FROM {name}").fetchall()
        if rows:
            yield Table(name, rows)


def _make(path: str, tables: list[Table]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in database.BUILD_PRAGMAS:
        connection.execute(pragma)
    schema.create(connection)
    connection.execute("BEGIN")
    for table in tables:
        for start in range(0, len(table.rows), AT_ONCE):
            some = table.rows[start : start + AT_ONCE]
            connection.executemany(f"INSERT INTO {table.name} VALUES ({','.join('?' * len(some[0]))})", some)
    connection.execute("COMMIT")
    schema.finish(connection)
    connection.close()
    disk.flush(path, os.path.dirname(path))


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
    spent = {"rebuild": rebuild, "decode": decode, "insert": insert}[job](path)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(Done(spent, memory)._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
