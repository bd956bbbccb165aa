import sqlite3

import pytest

from thrum.store import schema


@pytest.fixture
def tables():
    connection = sqlite3.connect(":memory:")
    schema.create(connection)
    yield connection
    connection.close()


def tally(connection):
    return dict(connection.execute("SELECT address, messages FROM tally WHERE messages > 0"))


ROWS = [
    ("*", 1, "m1", "ann"),
    ("*", 2, "m2", "bob"),
    ("bob", 3, "m3", "ann"),
    ("@reviewer", 3, "m3", "ann"),
    ("*", 4, "m4", "ann"),
]


def test_counting_row_by_row_and_counting_at_the_end_agree(tables):
    schema.finish(tables)
    tables.executemany("INSERT INTO audience VALUES (?, ?, ?, ?)", ROWS)
    other = sqlite3.connect(":memory:")
    schema.create(other)
    other.executemany("INSERT INTO audience VALUES (?, ?, ?, ?)", ROWS)
    schema.finish(other)
    assert tally(tables) == tally(other)
    other.close()


def test_what_is_taken_out_is_not_counted_any_more(tables):
    schema.finish(tables)
    tables.executemany("INSERT INTO audience VALUES (?, ?, ?, ?)", ROWS)
    tables.executemany("INSERT OR IGNORE INTO audience VALUES (?, ?, ?, ?)", ROWS)
    tables.execute("DELETE FROM audience")
    assert tally(tables) == {}


def test_every_local_table_exists(tables):
    names = {row[0] for row in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names > schema.LOCAL - schema.SEARCH
