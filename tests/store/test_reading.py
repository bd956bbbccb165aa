import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from tests.store import scenes
from thrum.core import codec, events
from thrum.core.codec import BadLine
from thrum.store import reading


def outcome(parse, line):
    """The event with its numbers' types told apart; or why it is none. What an unknown event says has no effect."""
    try:
        event = parse(line)
    except BadLine as bad:
        return bad.args
    return repr({name: value for name, value in event.items() if name not in ("more", "y")})


HEAD = b'{"event_id":"e","timestamp":"2026-02-10T12:00:00Z","type":'
PLAIN = HEAD + b'"agent.update","agent_id":"ann","work_contexts":[{"x":VALUE}]}'
VERSION = HEAD + b'"message.delete","message_id":"m","version":VALUE}'
CREATE = HEAD + b'"message.create","message_id":"m","agent_id":"ann","body":{"content":"x"},"seq":VALUE}'
BODY = HEAD + b'"message.create","message_id":"m","agent_id":"ann","seq":1,"body":{"content":VALUE}}'
UNKNOWN = HEAD + b'"x","y":VALUE}'
ODD = [
    "1", "1.0", "-0", " -0", "-0 ", "\t-0\r", "-0.0", "0", "1e0", "1E2", "1e-7", "1e20", "1e400", "-1e400", "1e-400",
    "9007199254740992", "9007199254740993", "9007199254740993.0", "18446744073709551615", "18446744073709551616",
    "-9223372036854775809", "9" * 400, "9" * 5000, "NaN", "Infinity", "01", "+1", ".5", "1.", "true", "null", '"x"',
    '"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\x7f"', '"\t"', '"\ufeff"',
    '{"a":1,"a":2}', '{"\\ud800":1}', "[]", "[1.0]", "[" * 99 + "]" * 99, "[" * 101 + "]" * 101, "[" * 5000 + "]" * 5000,
    "{", "tru", '"' + "[" * 200 + '"', "1 ", "/**/1", "'x'", '"\\x"', '"\\ud8"',
]  # fmt: skip


@pytest.mark.parametrize(
    "around", [PLAIN, VERSION, CREATE, BODY, UNKNOWN], ids=["context", "version", "create", "body", "unknown"]
)
@pytest.mark.parametrize("value", ODD, ids=lambda value: ascii(value)[:30])
def test_both_parsers_read_the_same_out_of_odd_json(around, value):
    line = around.replace(b"VALUE", value.encode())
    assert outcome(reading.faster_parse(), line) == outcome(events.parse, line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b"[]",
        b"null",
        b"{}",
        b"{}{}",
        b"{} x",
        b"{}\r",
        b"\x00",
        b"{\x0b}",
        b"{\xc2\xa0}",
    ],
)
def test_both_parsers_agree_on_what_is_no_event(line):
    assert outcome(reading.faster_parse(), line) == outcome(events.parse, line)


@pytest.mark.parametrize("space", [b" ", b"\t", b"\r", b"\x0b", b"\x0c", b"\xc2\xa0", b"\xe2\x80\xa8"])
def test_both_parsers_agree_on_white_space(space):
    line = kit.raw(kit.message("ann"))
    for written in (space + line, line + space, line.replace(b",", b"," + space, 1)):
        assert outcome(reading.faster_parse(), written) == outcome(events.parse, written)


def test_both_parsers_refuse_a_line_that_is_too_long():
    line = kit.raw(kit.message("ann", "x" * (codec.LONGEST_LINE - 10)))
    assert len(line) > codec.LONGEST_LINE
    assert outcome(reading.faster_parse(), line) == outcome(events.parse, line)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=4), v, max_size=3),
    max_leaves=8,
)


@given(
    scenes.forged("ann") | scenes.spoken_by("ann"),
    st.dictionaries(st.sampled_from(["seq", "version", "more", "to", "intent"]), VALUES),
)
def test_both_parsers_read_the_same_out_of_anything_that_is_in_a_log(said, more):
    line = said if isinstance(said, bytes) else json.dumps({**said, **more}).encode()
    assert outcome(reading.faster_parse(), line) == outcome(events.parse, line)


@given(st.binary(max_size=60).filter(lambda noise: b"\n" not in noise), st.integers(0, 200), st.integers(0, 5))
def test_both_parsers_agree_on_damaged_lines(noise, at, cut):
    line = kit.raw(kit.message("ann", "é\u2028<", scopes=[{"type": "a", "value": "b"}]))
    damaged = line[:at] + noise + line[at + cut :]
    assert outcome(reading.faster_parse(), damaged) == outcome(events.parse, damaged)


def test_much_at_once_and_little_by_little_give_the_same_tables(tmp_path):
    lines = [PLAIN.replace(b"VALUE", value.encode()).replace(b'"e"', b'"evt_%d"' % n) for n, value in enumerate(ODD)]
    lines += [kit.raw(kit.message("ann", "x" * 5000, n)) for n in range(120)]
    slow, fast = kit.Branch(tmp_path / "slow"), kit.Branch(tmp_path / "fast")
    slow.catch_up()
    for number, line in enumerate(lines):
        slow.say("ann", line, segment=number)
        slow.catch_up()
        fast.say("ann", line, segment=number)
    fast.catch_up()
    assert sum(map(len, lines)) > reading.WORTH_ORJSON
    assert slow.tables() == fast.tables()
    slow.close()
    fast.close()
