"""Nothing that came from outside steers the terminal, and columns are what a terminal shows."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcswidth

from thrum.cli import text
from thrum.cli.plan import Style
from thrum.core import clock

ANYTHING = st.text(st.characters())
PLAIN = st.text(st.sampled_from("ab 日本é-\n"), max_size=200)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\x1b[31mred", "a\\x1b[31mred"),
        ("\x1b]52;c;Zm9v\x07", "\\x1b]52;c;Zm9v\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb\u2066c", "a\\u202eb\\u2066c"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("hi\U000e0041", "hi\\U000e0041"),
        ("one\r\ntwo\tx\n", "one\\x0d\ntwo\tx\n"),
        ("file\udcff", "file\\udcff"),
        ("Grüße 日本 👍🏽", "Grüße 日本 👍🏽"),
    ],
)
def test_what_hides_or_steers_is_shown(raw, shown):
    assert text.safe(raw) == shown


@given(ANYTHING)
def test_safe_text_has_no_control_and_no_hidden_character(raw):
    shown = text.safe(raw)
    assert text.safe(shown) == shown
    for character in shown:
        assert character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs"), repr(character)
        assert unicodedata.bidirectional(character) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
            "FSI",
            "PDI",
        )
        assert not 0xE0000 <= ord(character) <= 0xE0FFF
    shown.encode()


@given(ANYTHING)
def test_a_line_is_one_line(raw):
    assert len(text.line(raw).splitlines()) <= 1


@given(PLAIN.map(lambda raw: raw.replace("\n", "")), st.integers(1, 30))
def test_cut_text_fits_and_padded_text_fills(raw, columns):
    cut = text.cut(raw, columns)
    assert wcswidth(cut) <= columns
    assert cut == raw or cut.endswith("…")
    assert wcswidth(text.pad(cut, columns)) == columns


@given(PLAIN, st.integers(30, 80))
def test_wrapping_keeps_words_lines_and_indentation(raw, columns):
    wrapped = text.wrap(raw, columns, "  ")
    assert wrapped.split() == raw.split()
    for line in wrapped.split("\n"):
        assert wcswidth(line) <= columns or len(line.split()) == 1
    assert wrapped.count("\n") >= raw.count("\n")


def test_a_code_block_stays_one():
    code = "def f():\n    return 1\n\n\tdone"
    assert text.wrap(code, 80) == "def f():\n    return 1\n\n    done"


def test_columns_line_up_with_wide_characters():
    table = text.table(("NAME", "X"), [("日本", "1"), ("é", "2")], 80).split("\n")
    assert [wcswidth(line[: line.rindex(mark)]) for line, mark in zip(table, "X12", strict=True)] == [6, 6, 6]


def test_fields_line_up_although_they_are_coloured():
    style = Style(color=True)
    lines = text.fields([("a", text.color("x", "red", style)), ("long", "y"), ("none", "")]).split("\n")
    assert lines == ["a     \x1b[31mx\x1b[0m", "long  y"]


def test_pieces_flow_over_lines():
    assert text.flow(["aaaa", "bbbb", "", "cccc"], 10, "  ") == "aaaa  bbbb\n  cccc"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "just now"), (59, "just now"), (60, "1m ago"), (7200, "2h ago"), (200000, "2d ago"), (-5, "just now")],
)
def test_times_are_told_as_people_tell_them(seconds, shown):
    now = clock.instant("2026-02-10T12:00:00Z")
    assert text.when(clock.text(now - seconds * clock.SECOND), Style(now=now)) == shown


def test_verbose_times_are_absolute():
    assert text.when("2026-02-10T12:00:00.5Z", Style(verbose=True)) == "2026-02-10 12:00:00 UTC"
    assert text.when("nonsense\x1b", Style()) == "nonsense\\x1b"
    assert text.when(None, Style()) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.25, "250ms"),
        (0, "0s"),
        (59.9, "59s"),
        (90, "1m30s"),
        (120, "2m"),
        (3600, "1h"),
        (3660, "1h1m"),
        (90000, "1d1h"),
    ],
)
def test_lengths_of_time(seconds, shown):
    assert text.lasting(seconds) == shown


def test_a_long_line_is_folded_by_measuring_each_word_once(monkeypatch):
    """A megabyte in one line took minutes, during which the daemon served nobody."""
    long, measured = "wörd " * 2_000, []
    width = text.width
    monkeypatch.setattr(text, "width", lambda piece: measured.append(len(piece)) or width(piece))
    assert text.wrap(long, 1_000).split() == long.split()
    assert sum(measured) < 4 * len(long)
