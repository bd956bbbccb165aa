"""The logs read as they lie there: in order, whatever is in them, and with little in memory."""

import itertools
import os
import tracemalloc

import pytest

from tests import kit
from thrum.store import disk, history
from thrum.store.history import UNFINISHED


def put(root, path, *lines, end=b"\n"):
    os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
    with open(f"{root}/{path}", "wb") as file:
        file.write(b"\n".join(map(kit.raw, lines)) + end)


def segment(owner, number=0, origin=kit.HERE):
    return f"messages/{owner}/{origin}/0000/{number:02x}.jsonl"


def texts(lines):
    return [line.said.event["body"]["content"] if line.said else line.reason for line in lines]


@pytest.fixture
def root(tmp_path):
    return str(tmp_path)


def everything(root, **options):
    return list(history.merged(root, history.logs(root), **options))


def test_every_log_is_found_and_nothing_else(root):
    put(root, "events.jsonl", kit.register("old"))
    put(root, "messages/old.jsonl", kit.message("old"))
    put(root, segment("bob"), kit.message("bob"))
    put(root, "messages/bob/notanorigin!/0000/00.jsonl", kit.message("bob"))
    put(root, "messages/.hidden/0000000000aa/0000/00.jsonl", kit.message("bob"))
    assert history.logs(root) == ["events.jsonl", "messages/old.jsonl", "messages/bob/0000000000aa"]


def test_a_log_is_read_from_either_end_across_its_segments(root):
    put(root, segment("bob", 0), kit.message("bob", "1"), kit.message("bob", "2"))
    put(root, segment("bob", 1), kit.message("bob", "3"))
    assert texts(everything(root)) == ["1", "2", "3"]
    assert texts(everything(root, backwards=True)) == ["3", "2", "1"]


def test_several_logs_are_merged_by_time(root):
    put(root, segment("bob"), kit.message("bob", "1", 1), kit.message("bob", "3", 3))
    put(root, segment("ann"), kit.message("ann", "2", 2), kit.message("ann", "4", 4))
    assert texts(everything(root)) == ["1", "2", "3", "4"]
    assert texts(everything(root, backwards=True)) == ["4", "3", "2", "1"]


def test_a_clock_that_jumps_leaves_a_log_its_order(root):
    put(root, segment("bob"), kit.message("bob", "1", 9), kit.message("bob", "2", 1))
    put(root, segment("ann"), kit.message("ann", "a", 5))
    found = texts(everything(root))
    assert found.index("1") < found.index("2") and len(found) == 3


def test_what_counts_for_nothing_is_told_with_its_place_and_keeps_no_neighbour(root):
    lines = [b"no json", kit.message("bob", "1", 5), kit.message("rita", "x"), kit.message("bob", "2", 6)]
    put(root, segment("bob"), *lines)
    put(root, segment("ann"), kit.message("ann", "a", 1))
    found = everything(root)
    assert texts(found) == ["a", found[1].reason, "1", "claims to be rita's", "2"]
    assert found[1].reason.startswith("not JSON") and found[1].offset == 0
    assert disk.read(f"{root}/{segment('bob')}", found[3].offset).startswith(found[3].raw + b"\n")
    assert texts(everything(root, backwards=True)) == texts(found)[::-1]


def test_an_unfinished_end_is_no_line(root):
    put(root, segment("bob"), kit.message("bob", "1"), b'{"half', end=b"")
    assert texts(everything(root)) == ["1", UNFINISHED]


def test_a_file_that_cannot_be_read_is_one_bad_line(root, tmp_path):
    os.makedirs(f"{root}/{segment('bob')}")
    put(root, segment("bob", 1), kit.message("bob", "2"))
    os.makedirs(f"{root}/messages/ann/{kit.HERE}/0000")
    os.symlink("/etc/passwd", f"{root}/{segment('ann')}")
    found = everything(root)
    assert sorted(texts(found)) == ["2", *["cannot be read: it is no plain file"] * 2]


def test_reading_the_newest_of_a_long_log_reads_one_segment(root, monkeypatch):
    for number in range(40):
        put(root, segment("bob", number), *(kit.message("bob", "x" * 300, number) for _ in range(20)))
    opened = []
    read = history.disk.read
    monkeypatch.setattr(history.disk, "read", lambda path: opened.append(path) or read(path))
    newest = list(itertools.islice(history.merged(root, history.logs(root), backwards=True), 5))
    assert (len(newest), len(opened)) == (5, 1)


def test_memory_does_not_grow_with_the_log(root):
    for number in range(60):
        put(root, segment("bob", number), *(kit.message("bob", "x" * 1000, number) for _ in range(60)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in history.merged(root, history.logs(root))) == 3600
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # the whole log has 4 million bytes
    finally:
        tracemalloc.stop()
