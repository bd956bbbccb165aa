"""The proof that the read model is what the logs say: fold them again from nothing, and compare row by row."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import sqlite_utils

from thrum.store import schema
from thrum.store.projection import Projection

_ARRIVAL = {"message": {"seq"}}
"""Columns that only say in which order things came in."""
_SHOWN = 3


def check(root: str, database: str, origin: str) -> list[str]:
    """Sentences on what differs between the database and a fold of the logs below `root`; [] when nothing does."""
    with tempfile.TemporaryDirectory(prefix="thrum-proof-", dir=os.path.dirname(database)) as folder:
        told, folded = Projection(root, database, origin), Projection(root, f"{folder}/fold.db", origin)
        try:
            told.catch_up()
            folded.catch_up()
            told.catch_up()
            return list(_differences(_open(told), _open(folded)))
        finally:
            told.database.close()
            folded.database.close()


def _open(projection: Projection) -> sqlite_utils.Database:
    return sqlite_utils.Database(projection.connection, execute_plugins=False)


def _differences(told: sqlite_utils.Database, folded: sqlite_utils.Database) -> Iterator[str]:
    for name in sorted({*told.table_names(), *folded.table_names()} - schema.LOCAL):
        if not (told[name].exists() and folded[name].exists()):
            yield f"the table {name} is missing on one side"
            continue
        here, there = _rows(told, name), _rows(folded, name)
        lacking, surplus = there - here, here - there
        if lacking or surplus:
            example = "; ".join(str(row)[:120] for row in sorted(lacking | surplus, key=str)[:_SHOWN])
            yield f"{name}: {len(lacking)} rows are missing, {len(surplus)} should not be there: {example}"


def _rows(database: sqlite_utils.Database, name: str) -> set[tuple[Any, ...]]:
    left_out = _ARRIVAL.get(name, set())
    columns = [column.name for column in database[name].columns if column.name not in left_out]
    listed = ", ".join(f'"{column}"' for column in columns)
    where = " WHERE messages <> 0" if name in schema.COUNTED else ""
    return set(database.execute(f'SELECT {listed} FROM "{name}"{where}').fetchall())
