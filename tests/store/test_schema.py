import sqlite3

import pytest

from thrum.store import schema


@pytest.fixture
def tables():
    connection = sqlite3.connect(":memory:")
    schema.create(connection)
    yield connection
    connection.close()


def test_every_local_table_exists(tables):
    names = {row[0] for row in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names > schema.LOCAL - schema.SEARCH


def test_every_table_of_counts_exists(tables):
    names = {row[0] for row in tables.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names > schema.COUNTED and not schema.COUNTED & schema.LOCAL
