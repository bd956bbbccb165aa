"""The wire's grammar: any chunking, any garbage, ids as they came."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.core import jsonrpc
from thrum.core.jsonrpc import Lines, Problem, Request, parse


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(position % (len(data) + 1) for position in at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.binary(max_size=12), max_size=8), st.lists(st.integers(0, 200), max_size=12), st.integers(1, 10))
def test_any_chunking_of_a_stream_gives_the_same_lines(pieces: list[bytes], at: list[int], limit: int) -> None:
    stream = b"\n".join(pieces)
    whole, chunked = Lines(limit), Lines(limit)
    expected = whole.feed(stream)
    found = [line for chunk in cut(stream, at) for line in chunked.feed(chunk)]
    assert found == expected
    assert chunked.held == whole.held <= limit
    assert all(line is None or len(line) <= limit for line in found)


def test_complete_lines_come_without_their_newline() -> None:
    lines = Lines()
    assert lines.feed(b"a\n\nb") == [b"a", b""]
    assert lines.feed(b"c\n") == [b"bc"]


def test_an_endless_line_is_reported_once_and_not_kept() -> None:
    lines = Lines(10)
    assert lines.feed(b"x" * 11) == [None]
    for _ in range(1000):
        assert lines.feed(b"y" * 1000) == []
    assert lines.held == 0
    assert lines.feed(b"tail\nnext\n") == [b"next"]


def test_a_request_is_read() -> None:
    asked = parse(b'{"jsonrpc":"2.0","id":2,"method":"health","params":{"a":1}}')
    assert asked == Request("2", "health", {"a": 1}, False)


@pytest.mark.parametrize("params", ["", ',"params":null', ',"params":{}'])
def test_absent_params_are_empty(params: str) -> None:
    asked = parse(f'{{"jsonrpc":"2.0","id":1,"method":"m"{params}}}'.encode())
    assert isinstance(asked, Request)
    assert asked.params == {}


@pytest.mark.parametrize("id", ["1.50", '"abc"', '{"a":1}', "[1]", "18446744073709551615", "-0.0", "1e3", "true"])
def test_an_id_is_answered_as_it_came(id: str) -> None:
    asked = parse(f'{{"id":{id},"jsonrpc":"2.0","method":"m"}}'.encode())
    assert isinstance(asked, Request)
    assert jsonrpc.result(asked.id, b"{}") == b'{"jsonrpc":"2.0","result":{},"id":' + id.encode() + b"}"


@pytest.mark.parametrize(("id", "is_notification"), [("", True), ('"id":null,', False)])
def test_without_an_id_the_answer_has_none(id: str, is_notification: bool) -> None:
    asked = parse(f'{{{id}"jsonrpc":"2.0","method":"m"}}'.encode())
    assert isinstance(asked, Request)
    assert asked.is_notification is is_notification
    assert jsonrpc.result(asked.id, b"1") == b'{"jsonrpc":"2.0","result":1}'


GARBAGE: list[tuple[bytes, int]] = [
    (b"", -32700),
    (b"{", -32700),
    (b"\xff\xfe", -32700),
    (b"[" * 100_000, -32700),
    (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"m"}', -32700),
    (b'{"jsonrpc":"2.0","id":NaN,"method":"m"}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e999}}', -32700),
    (b'{"a":1}', -32600),
    (b"1", -32600),
    (b'"x"', -32600),
    (b"[]", -32600),
    (b"[" + b"1," * 100 + b"1]", -32600),
    (b'{"jsonrpc":"1.0","id":1,"method":"m"}', -32600),
    (b'{"jsonrpc":"2.0","id":1}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":7}', -32600),
    (b'{"jsonrpc":"2.0","id":1,"method":"m","params":[1]}', -32602),
    (b'{"jsonrpc":"2.0","id":1,"method":"m","params":"x"}', -32602),
]


@pytest.mark.parametrize(("line", "code"), GARBAGE)
def test_garbage_has_its_code(line: bytes, code: int) -> None:
    problem = parse(line)
    assert isinstance(problem, Problem)
    assert problem.code == code
    json.loads(jsonrpc.failure(*problem))


def test_a_line_that_was_too_long_is_a_problem() -> None:
    problem = parse(None)
    assert isinstance(problem, Problem)
    assert problem.code == jsonrpc.INVALID_REQUEST


def test_the_version_error_echoes_the_id() -> None:
    problem = parse(b'{"id":7,"method":"m"}')
    assert isinstance(problem, Problem)
    assert json.loads(jsonrpc.failure(*problem))["id"] == 7


@given(st.binary(max_size=200))
def test_no_bytes_raise(line: bytes) -> None:
    parse(line)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(), st.lists, max_leaves=5))
def test_no_json_raises(value: Any) -> None:
    parse(json.dumps({"jsonrpc": "2.0", "method": "m", "id": value, "params": value}).encode())
    parse(json.dumps([value, value]).encode())


def test_half_a_surrogate_pair_becomes_a_replacement_character() -> None:
    asked = parse(b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":"x\\ud800y","\\udc00":"\\ud83d\\ude00"}}')
    assert isinstance(asked, Request)
    assert asked.params == {"a": "x\ufffdy", "\ufffd": "\U0001f600"}


def test_a_batch_is_read_and_answered_in_order() -> None:
    asked = parse(b'[{"jsonrpc":"2.0","id":1,"method":"a"},3,{"jsonrpc":"2.0","method":"b"}]')
    assert isinstance(asked, list)
    assert [type(one) for one in asked] == [Request, Problem, Request]
    assert jsonrpc.batch([jsonrpc.result("1", b"1"), jsonrpc.result("2", b"2")]).startswith(b'[{"jsonrpc"')
    assert jsonrpc.batch([]) == b""


def test_an_answer_is_one_line_whatever_is_in_it() -> None:
    answer = jsonrpc.result("1", jsonrpc.encode({"text": "a\nb\u2028\ud800 <é>"}))
    assert b"\n" not in answer
    assert json.loads(answer)["result"]["text"] == "a\nb\u2028\ud800 <é>"


def test_a_refusal_carries_code_message_and_data() -> None:
    said = json.loads(jsonrpc.failure("3", -32017, "nobody", {"kind": "UnknownRecipient", "hint": "look"}))
    assert said["error"] == {"code": -32017, "message": "nobody", "data": {"kind": "UnknownRecipient", "hint": "look"}}
