import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from thrum.core import codec
from thrum.core.codec import BadLine, decode, encode

TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from('<>&\u2028\u2029\x7f\x00\x0b\x85\ufeff/"\\\n\r\t'))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS.filter(lambda n: abs(n) < 1e300) | TEXT
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=4) | st.dictionaries(TEXT, v, max_size=4), max_leaves=20)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=6)


def as_floats(value):
    """`value` as a program sees it to which every number is a 64-bit float."""
    if isinstance(value, dict):
        return {key: as_floats(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_floats(item) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (float(value), math.copysign(1, value))
    return value


@given(OBJECTS)
def test_decode_undoes_encode(value):
    assert as_floats(decode(encode(value))) == as_floats(value)


@given(OBJECTS)
def test_what_was_decoded_encodes_to_the_same_bytes(value):
    line = encode(value)
    assert encode(decode(line)) == line


@given(OBJECTS)
def test_a_line_is_valid_utf8_json_without_anything_that_breaks_lines_or_pages(value):
    line = encode(value)
    text = line.decode()
    assert not set(text) & set("\n\r<>&\u2028\u2029")
    assert as_floats(json.loads(text, parse_int=float)) == as_floats(value)


@given(OBJECTS)
def test_keys_are_sorted_by_their_bytes_at_every_level(value):
    def check(pairs):
        keys = [key.encode() for key, _ in pairs]
        assert keys == sorted(keys)
        return dict(pairs)

    json.loads(encode(value), object_pairs_hook=check)


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"b": 1, "a": [True, None, {"d": 2, "c": "x"}]}, '{"a":[true,null,{"c":"x","d":2}],"b":1}'),
        ({"k": "<a> & \u2028\u2029"}, r'{"k":"\u003ca\u003e \u0026 \u2028\u2029"}'),
        ({"<": 1}, r'{"\u003c":1}'),
        ({"k": '\b\t\n\f\r"\\'}, r'{"k":"\b\t\n\f\r\"\\"}'),
        ({"k": "\x00\x0b\x1f"}, r'{"k":"\u0000\u000b\u001f"}'),
        ({"k": "\x7f/é😀\u0085\ufeff"}, '{"k":"\x7f/é😀\u0085\ufeff"}'),
        ({"k": "a\ud800b"}, '{"k":"a\ufffdb"}'),
        ({"\udfff": "\ud83d\ude00"}, '{"\ufffd":"😀"}'),
        ({}, "{}"),
    ],
)
def test_the_canonical_form_is_that_of_v010(value, line):
    assert encode(value) == line.encode()


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0"), (-0.0, "-0"), (0.0, "0"), (1, "1"), (1.0, "1"), (-1.5, "-1.5"), (0.1, "0.1"), (100, "100"),
        (2**53, "9007199254740992"), (2**53 + 1, "9007199254740992"), (-(2**53) - 1, "-9007199254740992"),
        (12345678901234567890, "12345678901234567000"), (2**63, "9223372036854776000"), (1e20, "100000000000000000000"),
        (123456789012345680000, "123456789012345680000"), (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"), (10**21, "1e+21"), (1.5e300, "1.5e+300"), (1e-6, "0.000001"), (0.00000123, "0.00000123"),
        (1e-7, "1e-7"), (1.25e-9, "1.25e-9"), (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_go_writes_a_float64(number, written):
    assert codec.number(number) == written
    assert encode({"n": number}) == b'{"n":%s}' % written.encode()
    assert encode(decode(b'{"n":%s}' % written.encode())) == b'{"n":%s}' % written.encode()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 10**400, -(10**400)])
def test_what_no_json_number_can_hold_is_a_value_error(value):
    with pytest.raises(ValueError):
        encode({"n": [value]})


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b' {"a" : 1.0 , "b":1e2}\t', {"a": 1, "b": 100}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'{"a":12345678901234567890}', {"a": 12345678901234567890}),
        (rb'{"a":"\u003c\ud83d\ude00\/"}', {"a": "<😀/"}),
        (rb'{"\ud800":"\udc00x"}', {"\ufffd": "\ufffdx"}),
        (b'{"a":-0}', {"a": -0.0}),
        (b'{"a":1}\r', {"a": 1}),
        (b'{"a":"\\u0000"}', {"a": "\0"}),
    ],
)
def test_other_peoples_json_is_read(line, value):
    assert decode(line) == value


POISON = [
    b"",
    b" ",
    b"{",
    b"null",
    b"[]",
    b'"x"',
    b"17",
    b"{}{}",
    b"{}\n{}",
    b"{'a':1}",
    b'{"a":1,}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":-1e999}',
    b'{"a":01}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":-' + b"9" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' + b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"a":1}',
    b'{"a":"\x01"}',
    b'{"a":"\n"}',
    b'{"a":"\\x"}',
    b'{"a":"\\ud8"}',
    b'\xff\xfe{\x00"\x00',
    b'{"a":"' + b"x" * codec.LONGEST_LINE + b'"}',
]


@pytest.mark.parametrize("line", POISON, ids=lambda line: repr(line[:24]))
def test_poison_is_a_bad_line(line):
    with pytest.raises(BadLine):
        decode(line)


LITTLE = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b":", b",", b"1", b"-", b"e", b".", b"\\u", b"d8", b"00", b"\xff"]
)


@given(st.binary(max_size=200) | st.lists(LITTLE, max_size=40).map(b"".join))
@example(b'{"":-0e1}')
@example(rb'{"\ud800\udc00\ud800":"\udc00\ud800"}')
def test_any_bytes_are_an_event_or_a_bad_line_and_nothing_else(line):
    try:
        value = decode(line)
    except BadLine:
        return
    assert isinstance(value, dict)
    assert decode(encode(value)) == value or "\ufffd" in str(value)


@pytest.mark.parametrize("inner", [b'"x"', rb'"\ud800"'])
@pytest.mark.parametrize("shape", [(b"[", b"]"), (b'{"k":', b"}")])
def test_deep_nesting_is_a_bad_line_or_an_event_but_never_an_accident(inner, shape):
    for depth in [*range(1, 100, 10), *range(100, 1100, 7)]:
        line = b'{"a":' + shape[0] * depth + inner + shape[1] * depth + b"}"
        try:
            value = decode(line)
        except BadLine:
            continue
        assert encode(value)


def test_what_is_nested_too_deeply_to_encode_is_a_value_error():
    for depth in [10, 150, *range(200, 1100, 23), 5000]:
        value = "\ud800"
        for _ in range(depth):
            value = [value]
        try:
            assert encode({"a": value})
        except ValueError:
            assert depth > 50


def test_whether_a_line_is_an_event_does_not_depend_on_the_callers_stack():
    def is_event(line):
        try:
            decode(line)
        except BadLine:
            return False
        return True

    def from_deep_down(frames, line):
        return from_deep_down(frames - 1, line) if frames else is_event(line)

    for depth in range(20, 1000, 20):
        line = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        assert is_event(line) == from_deep_down(300, line), depth


def test_an_unterminated_string_of_quotes_is_refused_at_once():
    for end in (b"", b'"', b"}"):
        with pytest.raises(BadLine):
            decode(b'{"a":' + b"[" * 150 + b'"' + rb"\"" * 200_000 + end)
