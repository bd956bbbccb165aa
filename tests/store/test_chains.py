"""A log that lacks a line, has one twice, or was changed, is told from one that is whole."""

import pytest

from tests import kit
from thrum.core import codec, events, purging
from thrum.store import chains, history

PATH = f"messages/bob/{kit.HERE}/0000/00.jsonl"


def breaks(tmp_path, lines, purged=()):
    path = tmp_path / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    (log,) = history.logs(str(tmp_path))
    marks = b"".join(map(purging.mark, purged))
    was_purged = chains.purged_by(purging.Purged(1, {PATH: marks}))
    found = chains.breaks(history.read(str(tmp_path), log, events.parse), was_purged)
    return [(one.kind, one.first, one.last) for one in found]


@pytest.fixture
def lines():
    return kit.chained([kit.message("bob", f"number {number}") for number in range(1, 9)])


def test_a_whole_log_has_none(tmp_path, lines):
    assert breaks(tmp_path, lines) == []


def test_a_lost_line(tmp_path, lines):
    assert breaks(tmp_path, lines[:2] + lines[4:]) == [("gap", 3, 4)]
    assert breaks(tmp_path, lines[1:]) == [("gap", 1, 1)]


def test_a_gap_that_a_purge_explains_is_none(tmp_path, lines):
    assert breaks(tmp_path, lines[:2] + lines[4:], purged=lines[2:4]) == []
    assert breaks(tmp_path, lines[:2] + lines[4:], purged=lines[:3]) == [("gap", 3, 4)]


def test_a_changed_line_shows_in_the_next_one(tmp_path, lines):
    lines[2] = lines[2].replace(b"number 3", b"number E")
    assert breaks(tmp_path, lines) == [("changed", 4, 4)]


def test_two_copies_of_one_clone_are_one_fork(tmp_path, lines):
    others = kit.chained(
        [kit.message("bob", f"other {n}") for n in range(3)], start=6, prev=codec.decode(lines[5])["prev"]
    )
    both = sorted([*lines, *others], key=lambda line: codec.decode(line)["seq"])
    assert breaks(tmp_path, both) == [("fork", 6, 8)]


def test_the_same_line_again(tmp_path, lines):
    assert breaks(tmp_path, [*lines, lines[-1]]) == [("fork", 8, 8)]
    assert breaks(tmp_path, [*lines, lines[2]]) == [("fork", 3, 3)]


def test_lines_without_numbers(tmp_path, lines):
    assert breaks(tmp_path, [*lines[:1], kit.raw(kit.message("bob")), *lines[1:]]) == [("unnumbered", 1, 1)]


def test_a_line_that_counts_for_nothing_may_still_be_a_link(tmp_path):
    lines = kit.chained([kit.message("bob"), kit.message("rita"), kit.message("bob")])
    assert breaks(tmp_path, lines) == []
    assert breaks(tmp_path, [lines[0], b"garbage", *lines[1:]]) == []


def test_every_break_is_one_sentence():
    for kind in ("gap", "fork", "changed", "unnumbered"):
        assert chains.Break("p", kind, 3, 4).sentence.startswith("p: ")
