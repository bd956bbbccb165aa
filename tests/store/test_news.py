import os
import sqlite3

import pytest

from tests import kit
from thrum.store import news, schema


@pytest.fixture
def root(tmp_path):
    os.makedirs(tmp_path / "a-sync")
    return f"{tmp_path}/a-sync"


@pytest.fixture
def fresh():
    connection = sqlite3.connect(":memory:")
    schema.create(connection)
    yield connection
    connection.close()


def put(root, path, data):
    os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
    with open(f"{root}/{path}", "ab") as file:
        file.write(data)


def unread(connection, root):
    return [item for item in news.find(connection, root) if isinstance(item, news.Unread)]


def test_where_there_is_nothing_nothing_is_new(fresh, root):
    assert list(news.find(fresh, root)) == [] and list(news.find(fresh, root + "/missing")) == []


def test_every_log_file_is_new_to_a_fresh_database(fresh, root):
    paths = [
        "events.jsonl",
        "messages/ann.jsonl",
        f"messages/ann/{kit.HERE}/0000/00.jsonl",
        f"messages/ann/{kit.HERE}/0001/00.jsonl",
    ]
    for path in paths:
        put(root, path, b"{}\n")
    assert [item.source.path for item in unread(fresh, root)] == paths


def test_unread_bytes_end_with_the_last_newline(fresh, root):
    put(root, "events.jsonl", b"{}\n{}\nunfin")
    (item,) = unread(fresh, root)
    assert news.read(root, item)[0] == b"{}\n{}\n"


def test_an_empty_file_is_no_news(fresh, root):
    put(root, "events.jsonl", b"")
    assert unread(fresh, root) == []
