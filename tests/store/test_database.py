import os
import sqlite3
import time

import pytest

from thrum.errors import StorageError
from thrum.store import schema
from thrum.store.database import Database, transaction


@pytest.fixture
def built(tmp_path):
    fills = []

    def fill(connection):
        fills.append(1)
        connection.execute("INSERT INTO read_mark VALUES ('msg_1', 'ann')")

    made = Database(f"{tmp_path}/var/thrum.db", fill)
    made.fills = fills
    yield made
    made.close()


def marks(database):
    return database.refresh().execute("SELECT COUNT(*) FROM read_mark").fetchone()[0]


def test_the_first_look_builds_and_the_next_ones_do_not(built):
    assert marks(built) == marks(built) == 1
    built.close()
    assert marks(built) == 1 and len(built.fills) == 1


def test_rebuild_folds_anew(built):
    with transaction(built.refresh()):
        built.connection.execute("INSERT INTO read_mark VALUES ('msg_2', 'ann')")
    built.rebuild()
    assert marks(built) == 1 and len(built.fills) == 2


def test_another_version_is_built_anew(built):
    built.refresh().execute("UPDATE state SET value = ? WHERE key = 'version'", (schema.VERSION + 1,))
    built.close()
    assert marks(built) == 1 and len(built.fills) == 2


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + b"\xff" * 5000, b"\0" * 8192])
def test_what_is_no_database_is_replaced(built, content):
    os.makedirs(os.path.dirname(built.path))
    with open(built.path, "wb") as file:
        file.write(content)
    assert marks(built) == 1


def test_who_has_the_old_one_open_notices_the_swap(built):
    other = Database(built.path, built._fill)
    assert marks(other) == marks(built) == 1
    with transaction(built.refresh()):
        built.connection.execute("INSERT INTO read_mark VALUES ('msg_2', 'ann')")
    other.rebuild()
    assert marks(built) == marks(other) == 1
    with transaction(built.refresh()):
        built.connection.execute("INSERT INTO read_mark VALUES ('msg_3', 'ann')")
    assert marks(other) == 2
    other.close()


def test_a_failed_fill_leaves_the_old_database_in_place(built):
    marks(built)

    def failing(connection):
        raise RuntimeError

    other = Database(built.path, failing)
    with pytest.raises(RuntimeError):
        other.rebuild()
    assert marks(built) == 1
    assert [name for name in os.listdir(os.path.dirname(built.path)) if ".new" in name] == []


def test_a_transaction_is_all_or_nothing(built):
    connection = built.refresh()
    with pytest.raises(RuntimeError), transaction(connection):
        connection.execute("INSERT INTO read_mark VALUES ('msg_2', 'ann')")
        raise RuntimeError
    assert marks(built) == 1


def test_a_database_that_cannot_be_made_is_a_storage_error(tmp_path):
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(StorageError):
        Database(f"{tmp_path}/var/thrum.db", lambda connection: None).refresh()


def test_a_symlink_is_replaced_and_what_it_pointed_to_is_left_alone(built, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"keep")
    os.makedirs(os.path.dirname(built.path))
    os.symlink(target, built.path)
    assert marks(built) == 1
    assert target.read_bytes() == b"keep"


def test_the_database_survives_readers_while_it_is_swapped(built):
    reader = sqlite3.connect(built.path) if marks(built) else None
    assert reader.execute("SELECT COUNT(*) FROM read_mark").fetchone() == (1,)
    built.rebuild()
    assert reader.execute("SELECT COUNT(*) FROM read_mark").fetchone() == (1,)
    reader.close()
    assert marks(built) == 1


def test_kept_in_memory_it_says_the_same_and_goes_back_to_the_file_later(built, monkeypatch):
    assert marks(built) == 1
    generation = built.generation
    built.keep_in_memory()
    assert marks(built) == 1 and built.generation == generation + 1 and len(built.fills) == 2
    assert built.connection.execute("PRAGMA database_list").fetchone()[2] == ""
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + 60)
    assert marks(built) == 1 and len(built.fills) == 2
    assert built.connection.execute("PRAGMA database_list").fetchone()[2] == built.path


def test_a_commit_that_fails_is_rolled_back(built):
    built.refresh().execute("PRAGMA foreign_keys = ON")
    for statement in (
        "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)",
    ):
        built.connection.execute(statement)
    with pytest.raises(sqlite3.IntegrityError), transaction(built.connection):
        built.connection.execute("INSERT INTO child VALUES (1)")
    with transaction(built.connection):
        assert built.connection.execute("SELECT COUNT(*) FROM child").fetchone()[0] == 0


def test_a_fresh_database_lies_on_the_disk_before_it_takes_the_place_of_the_old_one(built, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fdatasync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: flushed.append("replaced") or real(source, target))
    built.refresh()
    assert [path.endswith(".new") for path in flushed] == [True, False] and flushed[1] == "replaced"
