"""What is remembered of the sync: never more than was seen, and no loss when it is gone."""

import json
import os

import pytest

from tests import kit
from thrum.core import layout
from thrum.git import branch
from thrum.git.objects import BLOB, Entry, open_objects
from thrum.store import disk
from thrum.store.log import Log
from thrum.sync import reach, state

HERE, THERE = kit.HERE, kit.THERE
LOG = f"messages/ann/{HERE}"


def path(segment, owner="ann", origin=HERE):
    return layout.segment_path(owner, origin, segment)


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "a-sync")


def write(root, name, lines):
    os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
    with open(f"{root}/{name}", "wb") as file:
        file.write(b"123456789\n" * lines)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff", b'"x"', b"[" * 100_000])
def test_a_state_that_is_damaged_is_none(tmp_path, content):
    (tmp_path / "state.json").write_bytes(content)
    assert state.load(str(tmp_path)) == {}


def test_a_state_is_kept_and_written_only_when_it_says_something_new(tmp_path):
    folder = str(tmp_path)
    assert state.load(folder) == {}
    state.save(folder, {"remote": "origin", "reached": {LOG: [0, 10]}})
    assert state.load(folder) == {"remote": "origin", "reached": {LOG: [0, 10]}}
    inode = os.stat(tmp_path / "state.json").st_ino
    state.save(folder, {"reached": {LOG: [0, 10]}, "remote": "origin"})
    assert os.stat(tmp_path / "state.json").st_ino == inode
    assert json.loads((tmp_path / "state.json").read_text())


def test_reached_is_what_was_seen_and_nothing_else():
    known = {"remote": "origin", "reached": {LOG: [2, 100]}}
    for segment, ends, wanted in ((2, 100, True), (2, 99, True), (2, 101, False), (1, 10**6, True), (3, 1, False)):
        assert state.reached(known, HERE, path(segment), ends) is wanted
    assert not state.reached(known, HERE, path(0, "bob"), 1), "nothing is known of another log of ours"
    assert state.reached(known, HERE, path(0, "bob", THERE), 1), "what others wrote came from there"
    assert not state.reached(known, HERE, "messages/max.jsonl", 1) and not state.reached(known, HERE, "nonsense", 1)
    assert not state.reached({**known, "remote": None}, HERE, path(0), 1)
    assert not state.reached({}, HERE, path(0), 1)


def test_pending_counts_the_lines_beyond(root):
    assert state.pending(root, {}, HERE) == 0
    write(root, path(0), 10)
    write(root, path(1), 5)
    write(root, path(0, "bob"), 2)
    write(root, path(0, "eve", THERE), 50)
    assert state.pending(root, {}, HERE) == 17
    assert state.pending(root, {"reached": {LOG: [0, 100]}}, HERE) == 7
    assert state.pending(root, {"reached": {LOG: [1, 20], f"messages/bob/{HERE}": [0, 20]}}, HERE) == 3
    for beyond in ([1, 50], [1, 10**9], [7, 1], [10**7, 1]):
        assert state.pending(root, {"reached": {LOG: beyond}}, HERE) == 2, "never below zero"
    with open(f"{root}/{path(1)}", "ab") as file:
        file.write(b"half a li")
    assert state.pending(root, {"reached": {LOG: [1, 50]}}, HERE) == 2


@pytest.mark.parametrize(
    ("known", "enabled", "lines", "word"),
    [
        ({}, True, 0, "idle"),
        ({}, False, 3, "off"),
        ({"last_attempt": "t", "remote": None}, True, 3, "no_remote"),
        ({"last_attempt": "t", "remote": "o", "error": "gone"}, True, 3, "error"),
        ({"last_attempt": "t", "last_success": "s", "remote": "o", "error": "gone"}, True, 0, "error"),
        ({"last_attempt": "t", "last_success": "s", "remote": "o", "error": ""}, True, 3, "pending"),
        ({"last_attempt": "t", "last_success": "s", "remote": "o", "error": ""}, True, 0, "synced"),
    ],
)
def test_the_one_word_for_it(root, known, enabled, lines, word):
    if lines:
        write(root, path(0), lines)
    told = state.describe(known, root, HERE, enabled=enabled, running=False)
    assert told["sync_state"] == word and told["pending"] == lines
    assert ("last_error" in told) == bool(known.get("error"))


@pytest.fixture
def objects(repository):
    opened = open_objects(str(repository / ".git"))
    yield opened
    opened.close()


def commit(objects, leaves, parents=()):
    made = {
        name: leaf if isinstance(leaf, Entry) else Entry(BLOB, objects.write_blob(leaf))
        for name, leaf in leaves.items()
    }
    return objects.commit(branch.graft(objects, objects.empty_tree(), made), list(parents), "x")


def test_reach_is_noted_from_what_the_remote_contains(objects):
    known = {}
    head = commit(
        objects, {path(0): b"12\n", path(1): b"1\n", path(0, "bob"): b"1234\n", path(0, "eve", THERE): b"1\n"}
    )
    reach.note(known, objects, head, HERE)
    assert known == {"reached": {LOG: [1, 2], f"messages/bob/{HERE}": [0, 5]}, "reached_head": head}


def test_names_and_modes_that_are_none_of_ours_are_not_where_a_log_ends(objects):
    blob = objects.write_blob(b"x" * 9)
    evil = {f"{LOG}/0000/{name}": Entry(BLOB, blob) for name in ("zz.jsonl", "x", "0ff.jsonl")}
    evil[f"{LOG}/0000/07.jsonl"] = Entry(0o120000, blob)
    evil[f"{LOG}/0000/08.jsonl/deep"] = Entry(BLOB, blob)
    evil |= {f"{LOG}/zzzz/00.jsonl": Entry(BLOB, blob), path(256 * 9): Entry(BLOB, blob)}
    evil |= {
        f"messages/bob/{HERE}": Entry(BLOB, blob),
        "messages/eve": Entry(BLOB, blob),
        f"messages/max/{HERE}/x": evil[path(256 * 9)],
    }
    known = {}
    reach.note(known, objects, commit(objects, {path(0): b"1\n", **evil}), HERE)
    assert known["reached"] == {LOG: [0, 2]}
    reach.note(known, objects, commit(objects, {"messages": Entry(BLOB, blob)}), HERE)
    assert known["reached"] == {}


def test_reach_is_forgotten_when_the_remote_lost_it(objects):
    first = commit(objects, {path(0): b"1\n"})
    second = commit(objects, {path(0): b"1\n2\n"}, [first])
    third = commit(objects, {path(0): b"1\n2\n3\n"}, [second])
    for tip, is_known in ((second, True), (third, True), (first, False), (None, False), ("1" * 40, False)):
        known = {"url": "u"}
        reach.note(known, objects, second, HERE)
        reach.doubt(known, objects, tip)
        assert bool(known.get("reached")) == is_known, tip
    known = {"reached": {LOG: [0, 2]}, "reached_head": 7}
    reach.doubt(known, objects, first)
    assert not known.get("reached")


def test_reach_is_forgotten_with_the_address():
    known = {"url": "here", "reached": {LOG: [0, 2]}, "reached_head": "x"}
    reach.note_address(known, "here")
    assert known["reached"]
    reach.note_address(known, "there")
    assert known == {"url": "there"}


def test_a_file_in_the_place_of_the_logs_holds_nothing_that_waits(tmp_path):
    (tmp_path / "a-sync").write_text("")
    assert state.pending(str(tmp_path / "a-sync"), {}, "0000000000aa") == 0


def test_all_of_a_log_that_nobody_has_is_counted_without_reading_it(root, monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 2000)
    for owner in ("ann", "bob"):
        Log(root, owner, HERE).append([kit.message(owner, "x" * 300) for _ in range(40)])
    Log(root, "eve", THERE).append([kit.message("eve")])
    read, real = [], disk.read
    monkeypatch.setattr(disk, "read", lambda path, start=0: read.append(path) or real(path, start))
    assert state.pending(root, {}, HERE) == 80
    assert len(read) == 4
    assert state.pending(root, {"reached": {LOG: [0, 0]}}, HERE) == 80 and len(read) > 5
    gone = real(f"{root}/{path(0, 'bob')}").count(b"\n")
    with open(f"{root}/{path(0, 'bob')}", "wb") as file:
        file.write(b"")
    assert state.pending(root, {}, HERE) == 80 - gone, "what was purged is not to be sent"
