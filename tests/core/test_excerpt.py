from hypothesis import given
from hypothesis import strategies as st

from thrum.core.excerpt import preview, snippet


def test_a_preview_is_cut_between_characters_and_says_so():
    assert preview("é" * 100) == "é" * 100
    assert preview("é" * 101) == "é" * 100 + "…"


def test_a_snippet_is_around_the_first_word_found():
    text = "one " * 100 + "NEEDLE\n" + "two " * 100
    shown = snippet(text, ["missing", "needle"])
    assert "NEEDLE two" in shown and shown.startswith("…one ") and shown.endswith("…") and "\n" not in shown


def test_without_the_word_it_is_the_beginning():
    assert snippet("short\ttext", ["x"]) == "short text"
    assert snippet("y" * 200, ["x"]) == "y" * 160 + "…"


@given(st.text(max_size=600), st.lists(st.text(max_size=3), max_size=3))
def test_a_snippet_is_short_and_of_the_text(text, words):
    shown = snippet(text, words).removeprefix("…").removesuffix("…")
    assert len(shown) <= 160 and shown in " ".join(text.split())
