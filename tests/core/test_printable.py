"""What a stranger wrote can be shown: nothing in it steers a terminal or hides."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.core import printable

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\n\ttext é 漢 🎉", "plain\n\ttext é 漢 🎉"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\u202eb\u200bc", "a\\u202eb\\u200bc"),
        ("tag \U000e0041", "tag \\U000e0041"),
        ("\r\x07", "\\x0d\\x07"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥", "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥"),
        ("नि\u200cर क्\u200dष", "नि\u200cर क्\u200dष"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("ad\u200dmin a\u200c \u200d", "ad\\u200dmin a\\u200c \\u200d"),
        ("م\u200c\u200c\u200dم", "م\\u200c\\u200c\\u200dم"),
    ],
)
def test_what_steers_or_hides_is_written_out(raw, shown):
    assert printable.safe(raw) == shown


@given(JSON)
def test_a_whole_value_is_made_safe_and_keeps_its_shape(value):
    safe = printable.all_safe(value)
    text = json.dumps(safe, ensure_ascii=False)
    assert printable.safe(text) == text
    assert printable.all_safe(safe) == safe
    assert type(safe) is type(value)
    if isinstance(value, list):
        assert len(safe) == len(value)


def test_keys_are_texts_too():
    assert printable.all_safe({"a\x1b": [{"b": "\u200b"}, 1, None]}) == {"a\\x1b": [{"b": "\\u200b"}, 1, None]}
