"""The logs as files: lines are added, never taken away, and only what is ours to understand is read."""

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import layout, union
from thrum.git import branch
from thrum.git.objects import BLOB, Entry, open_objects
from thrum.store import disk, journal
from thrum.sync import files

LOG = f"messages/ann/{kit.HERE}"
LINES = [kit.raw(kit.message("ann", f"number {number}" + "." * number, number)) for number in range(4)]


def path(segment):
    return layout.segment_path("ann", kit.HERE, segment)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "logs" / "a-sync"
    folder.mkdir(parents=True)
    return str(folder)


@pytest.fixture
def objects(repository):
    opened = open_objects(str(repository / ".git"))
    yield opened
    opened.close()


def write(root, name, data):
    os.makedirs(os.path.dirname(f"{root}/{name}"), exist_ok=True)
    with open(f"{root}/{name}", "wb") as file:
        file.write(data)


def tree_of(objects, leaves):
    made = {
        name: leaf if isinstance(leaf, Entry) else Entry(BLOB, objects.write_blob(leaf))
        for name, leaf in leaves.items()
    }
    return branch.graft(objects, objects.empty_tree(), made)


def differing(root, objects, tree, thorough=True):
    return {source.path: entry for source, entry in files.differing(root, objects, tree, thorough=thorough)}


def test_what_is_readable_is_a_plain_file_of_a_sane_size_at_a_path_of_ours(objects, monkeypatch):
    blob = objects.write_blob(b"x" * 100)
    plain = Entry(BLOB, blob)
    assert files.is_readable(objects, path(3), plain).segment == 3
    assert files.is_readable(objects, "events.jsonl", plain).is_legacy
    for mode in (0o100755, 0o120000, 0o160000, 0o40000):
        assert files.is_readable(objects, path(0), Entry(mode, blob)) is None
    for name in ("x", "messages/x", "../x", "messages/../x.jsonl", f"{LOG}/0000/00.json", f"{LOG}/0000/00.jsonl/x", ""):
        assert files.is_readable(objects, name, plain) is None
    monkeypatch.setattr(files, "LARGEST_SEGMENT", 99)
    assert files.is_readable(objects, path(0), plain) is None
    monkeypatch.setattr(files, "LARGEST_LEGACY", 99)
    assert files.is_readable(objects, "messages/x.jsonl", plain) is None


@given(st.permutations(range(4)), st.integers(0, 4), st.integers(0, 4), st.booleans())
def test_copies_become_one_whatever_the_order(order, one, other, is_cut):
    lines = [LINES[at] + b"\n" for at in order]
    first, second = b"".join(lines[:one]), b"".join(lines[4 - other :])
    theirs = second[:-1] if is_cut else second
    whole = files.united(first, theirs)
    assert set(union.split(whole)) == set(union.split(first)) | set(union.split(second))
    assert not whole or whole.endswith(b"\n")
    assert files.united(whole, first) == whole and files.united(whole, whole) == whole
    assert files.united(second, first) == whole or files.united(files.united(second, first), whole) == whole


def test_the_longer_copy_is_kept_to_the_byte():
    odd = LINES[2] + b"\n\n" + LINES[0] + b"\n"
    longer = odd + LINES[1] + b"\n"
    assert files.united(odd, longer) == longer == files.united(longer, odd)
    assert files.united(b"", longer) == longer == files.united(longer, b"")
    assert files.united(LINES[0] + b"\n", LINES[0][:10]) == union.join([LINES[0], LINES[0][:10]]), (
        "half a line is a line"
    )


def test_lines_are_appended_to_the_last_file_and_others_replaced(root):
    source, sealed = layout.parse_path(path(1)), layout.parse_path(path(0))
    one, two = LINES[0] + b"\n", LINES[0] + b"\n" + LINES[1] + b"\n"
    assert files.hold(root, source, one) == (one, True)
    inode = os.stat(f"{root}/{path(1)}").st_ino
    assert files.hold(root, source, two) == (two, True)
    assert os.stat(f"{root}/{path(1)}").st_ino == inode
    write(root, path(0), one)
    inode = os.stat(f"{root}/{path(0)}").st_ino
    assert files.hold(root, sealed, two) == (two, True)
    assert os.stat(f"{root}/{path(0)}").st_ino != inode, "the read model looks at the last file of a folder only"
    assert files.hold(root, sealed, one) == (two, False)
    assert files.hold(root, sealed) == (two, False)


def test_an_unfinished_line_is_nobodys(root):
    source = layout.parse_path(path(0))
    write(root, path(0), LINES[0] + b"\n" + LINES[1][:20])
    assert files.hold(root, source) == (LINES[0] + b"\n", False)
    assert disk.read(f"{root}/{path(0)}").endswith(LINES[1][:20]), "its writer will move it to quarantine"
    files.hold(root, source, LINES[2] + b"\n")
    assert disk.read(f"{root}/{path(0)}") == union.join([LINES[0], LINES[2]])


def test_what_differs_is_found(root, objects):
    both = LINES[0] + b"\n"
    for segment in range(4):
        write(root, path(segment), both)
    write(root, path(4), both * 2)
    write(root, "events.jsonl", both)
    write(root, f"{LOG}/0000/.00.jsonl.tmp", both)
    write(root, f"{LOG}/0000/notes", both)
    tree = tree_of(
        objects, {path(0): both, path(1): both + both, path(2): b"", path(5): both, "messages/old.jsonl": both}
    )
    assert set(differing(root, objects, tree)) == {path(1), path(2), path(3), path(4), path(5), "events.jsonl",
                                                   "messages/old.jsonl"}  # fmt: skip
    quick = differing(root, objects, tree, thorough=False)
    assert set(quick) == {path(2), path(3), path(4), path(5), "events.jsonl", "messages/old.jsonl"}, (
        "1 counts as sealed"
    )
    assert quick[path(3)] is None and quick["events.jsonl"] is None and quick[path(5)].mode == BLOB


def test_what_cannot_be_read_is_not_there(root, objects):
    blob = objects.write_blob(LINES[0] + b"\n")
    tree = tree_of(objects, {
        path(0): Entry(0o120000, blob), path(1): Entry(0o100755, blob), f"{path(2)}/x": Entry(BLOB, blob),
        "messages/eve": Entry(BLOB, blob), "messages/UP/x/0000/00.jsonl": Entry(BLOB, blob),
        path(256 * 256 - 1): Entry(BLOB, blob), path(600): Entry(BLOB, blob), "events.jsonl": Entry(0o160000, "1" * 40),
    })  # fmt: skip
    assert differing(root, objects, tree) == {}
    write(root, path(0), LINES[0] + b"\n")
    assert differing(root, objects, tree) == {path(0): None}
    os.symlink("/nowhere", f"{root}/events.jsonl")
    assert differing(root, objects, tree) == {path(0): None}


def test_refill_brings_back_what_is_missing_or_behind(root, objects):
    one, two = LINES[0] + b"\n", LINES[0] + b"\n" + LINES[1] + b"\n"
    ahead = union.join([LINES[2], LINES[3]])
    tree = tree_of(objects, {path(0): two, path(1): two, path(2): one, "events.jsonl": two})
    write(root, path(1), one)
    write(root, path(2), ahead)
    assert files.refill(root, objects, tree) == 4
    assert [disk.read(f"{root}/{path(number)}") for number in range(3)] == [
        two,
        two,
        union.join([*LINES[2:], LINES[0]]),
    ]
    assert files.refill(root, objects, tree) == 0


def test_a_gap_of_a_few_segments_is_a_loss_and_a_wide_one_a_forgery(root, objects):
    near, far = 3 + layout.REACH, 4 + 2 * layout.REACH
    leaves = {path(number): LINES[0] + b"\n" for number in (0, 1, 3, near, far, far + 1)}
    tree = tree_of(objects, leaves)
    assert files.refill(root, objects, tree) == 4
    assert not os.path.exists(f"{root}/{path(far)}") and os.path.exists(f"{root}/{path(near)}")
    assert files.refill(root, objects, tree) == 0
    write(root, path(far - 1), LINES[1] + b"\n")
    assert files.refill(root, objects, tree) == 2


def test_uniting_waits_for_an_append_and_the_writer_notices(root):
    """The writer goes on behind what came, with the next number; nothing of either is lost."""
    writer = journal.Journal(root, kit.HERE)
    source = layout.parse_path(path(0))
    twin = [kit.message("ann", f"twin {number}") for number in range(20)]
    lines = kit.chained(twin, kit.HERE)
    mine = []
    for number, upto in itertools.product(range(2), range(1, 11)):
        mine.append(kit.message("ann", f"{number} {upto}"))
        writer.append("ann", mine[-1])
        files.hold(root, source, b"".join(line + b"\n" for line in lines[: number * 10 + upto]))
    whole = disk.read(f"{root}/{path(0)}")
    assert all(event["event_id"].encode() in whole for event in [*twin, *mine])
    assert whole.count(b"\n") == 40
