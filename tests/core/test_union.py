import random

from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import codec, union

LINE = st.one_of(
    st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")),
    st.sampled_from(
        [b"{}", b"[1]", b'{"seq":1}', b'{"seq":1e0}', b'{"seq":-1}', b'{"seq":"x","timestamp":7}', b'{"seq":1,"a":2}']
    ),
    st.builds(
        lambda seq, at, number: codec.encode({"seq": seq, "timestamp": at, "event_id": f"evt_{number}", "type": "x"}),
        st.integers(-2, 5) | st.none() | st.floats(0, 3),
        st.sampled_from(["2026-02-10T12:00:00.12Z", "2026-02-10T12:00:00.123Z", "", "2026"]),
        st.integers(0, 3),
    ),
)
COPY = st.builds(lambda lines, end: b"\n".join(lines) + end, st.lists(LINE, max_size=6), st.sampled_from([b"\n", b""]))


@given(COPY, COPY)
def test_the_union_is_commutative_to_the_byte(one, other):
    assert union.unite(one, other) == union.unite(other, one)


@given(COPY, COPY, COPY)
def test_the_union_is_associative_to_the_byte(one, other, third):
    assert union.unite(union.unite(one, other), third) == union.unite(one, union.unite(other, third))


@given(COPY, COPY)
def test_the_union_is_idempotent_to_the_byte(one, other):
    both = union.unite(one, other)
    assert union.unite(one, one) == one
    assert union.unite(both, one) == both == union.unite(both, other)


@given(COPY, COPY)
def test_the_union_holds_every_line_of_either_once_and_no_other(one, other):
    lines = union.split(union.unite(one, other))
    assert set(lines) == set(union.split(one)) | set(union.split(other))
    assert one == other or len(lines) == len(set(lines))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_of_two_copies_of_one_log_the_longer_wins_unchanged(cut, length, seed):
    rng = random.Random(seed)
    said = [kit.message("ann", rng.choice(["a", "<b>", "\u2028"]), at=rng.randint(-99, 99)) for _ in range(length)]
    lines = kit.chained(said)
    longer = b"".join(line + b"\n" for line in lines)
    shorter = b"".join(line + b"\n" for line in lines[:cut])
    assert union.unite(shorter, longer) == longer == union.unite(longer, shorter)


@given(st.permutations(range(8)), st.integers(0, 8))
def test_two_branches_of_one_log_become_one_whatever_is_merged_first(order, cut):
    lines = kit.chained([kit.event("x", n) for n in range(8)])
    shuffled = [lines[i] for i in order]
    one, other = union.join(shuffled[:cut]), union.join(shuffled[cut:])
    assert union.unite(one, other) == union.join(lines) == b"".join(line + b"\n" for line in lines)


def test_lines_of_v010_come_by_timestamp_text_and_then_by_id():
    lines = [
        codec.encode({"timestamp": at, "event_id": event_id})
        for at, event_id in [
            ("2026-02-10T12:00:00.123Z", "a"),
            ("2026-02-10T12:00:00.12Z", "a"),
            ("2026-02-10T12:00:00.12Z", "b"),
        ]
    ]
    assert union.split(union.join(reversed(lines))) == lines


def test_what_is_no_event_comes_last_and_is_kept_byte_for_byte():
    event = codec.encode(kit.event("x"))
    assert union.unite(b"\xff\n{broken\n", event + b"\n") == event + b"\n{broken\n\xff\n"


def test_unknown_types_and_fields_are_kept_byte_for_byte():
    line = b'{ "type":"from.the.future", "n":1.000, "b":"\\u0041", "seq":7 }'
    assert union.unite(line + b"\n", b'{"seq":1}\n') == b'{"seq":1}\n' + line + b"\n"


def test_only_a_newline_ends_a_line():
    assert union.split("a\u2028b\x0b\x85\r\nc\n\n".encode()) == ["a\u2028b\x0b\x85\r".encode(), b"c"]


def test_complete_ends_with_the_last_newline():
    assert union.complete(b"a\nb\nunfin") == b"a\nb\n"
    assert union.complete(b"unfinished") == b""
    assert union.complete(b"") == b""
