"""Frames that no honest client sends, each with the codes that may answer it."""

from __future__ import annotations

import json
import types
import typing

from thrum import __version__
from thrum.methods import registry

PARSE, INVALID, UNKNOWN, PARAMS = -32700, -32600, -32601, -32602
QUIET = None
"""The code of an answer that must not come: a notification's."""
DONE = 0
"""No code: the answer is a result."""
REFUSALS = frozenset({PARSE, INVALID, UNKNOWN, PARAMS, *range(-32099, -31999)})
"""Every code but that of a mistake of ours."""

_VALUES = (5, -1, 1.5, True, "x", "", [], [5], [[]], {}, {"x": 1}, [None], [{"type": 5}], {"type": 5}, 10**30)
_EXTREMES = {
    str: (
        "",
        "\0",
        "\ud800",
        "x" * 10_000,
        "\x1b[2J",
        "../..",
        "-rf",
        "\n",
        "@",
        "user:",
        "9999-99-99",
        "%",
        "\u202e",
    ),
    int: (10**30, -(10**30), 2**63, -1, 0, 10**9),
    float: (0.0, -1.0, -1e308, -(10**30)),
    bool: (True, False),
    list: ([], [""] * 1000, ["\0"], ["\ud800"], [{"type": "\0", "value": "\x1b"}] * 300, [{"type": "x" * 10_000}]),
    dict: ({}, {"": ""}, {"type": "\0", "value": "x"}, {"type": "x" * 10_000}, {"content": "\0"}, {"a": 10**30}),
}
"""What is of the right kind and of no sense."""
_LEFT_ALONE = frozenset({"sync.force", "user.register", "agent.cleanup"})
"""Methods whose success would cost something outside the daemon, or its crowd."""
_JSON_KINDS = {str: "text", int: "number", float: "number", bool: "truth", list: "list", dict: "object"}
_COMMAND_LINE = {"argv": "list", "cwd": "text", "environ": "object", "width": "number", "now": "number"}


def malformed(rng):
    """One frame (bytes, without a newline) and the set of codes that may answer it."""
    make = rng.choice(
        (
            _bytes,
            _json_of_another_shape,
            _envelope,
            _wrong_parameter,
            _unknown_method,
            _batch,
            _mutated,
            _extreme,
            _command_line,
        )
    )
    return make(rng)


def wrong_parameters():
    """Every parameter of every method with every value of another kind: [(method, params)]."""
    found = []
    for name, method in sorted(registry.load().items()):
        for parameter in method.parameters:
            taken = set(_kinds(parameter.kind))
            found += [(name, {parameter.name: value}) for value in _VALUES if _kind(value) not in taken]
    return found


def _bytes(rng):
    deep = rng.choice((b"[", b'{"a":'))
    choices = (
        lambda: bytes(rng.randrange(128, 256) for _ in range(rng.randrange(1, 40))),
        lambda: b'{"jsonrpc":"2.0","id":1,"method":"health","params":{"x":"' + b"\xff\xfe" + b'"}}',
        lambda: deep * rng.choice((2000, 2000, 2000, 100_000)),
        lambda: b"[" * 2000 + b"]" * 2000,
        lambda: b'{"jsonrpc":"2.0","id":1,"method":"health"',
        lambda: b"",
        lambda: b'{"jsonrpc":"2.0","id":NaN,"method":"health"}',
        lambda: b'{"jsonrpc":"2.0","id":1e999,"method":"health"}',
        lambda: b'{"jsonrpc":"2.0","id":1,"method":"health"} trailing',
        lambda: b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"health"}',
        lambda: b"GET / HTTP/1.1",
        lambda: b"\x00" * rng.randrange(1, 50),
    )
    return rng.choice(choices)(), {PARSE}


def _json_of_another_shape(rng):
    return json.dumps(rng.choice((None, 5, "x", True, [], 1.5))).encode(), {INVALID}


def _envelope(rng):
    sound = {"jsonrpc": "2.0", "id": rng.choice((7, "a", None, 1.5)), "method": "health", "params": {}}
    key, values, code = rng.choice(
        (
            ("jsonrpc", (None, "1.0", 2.0, [], {}), INVALID),
            ("method", (None, 5, [], {}, True), INVALID),
            ("params", (5, "x", [], [1], True), PARAMS),
        )
    )
    return json.dumps({**sound, key: rng.choice(values)}).encode(), {code}


def _wrong_parameter(rng):
    method, params = rng.choice(_wrong())
    said = {"jsonrpc": "2.0", "id": rng.choice((1, 1, "same", None)), "method": method, "params": params}
    return json.dumps(said).encode(), {PARAMS}


def _command_line(rng):
    """What the thin client asks, badly; the WebSocket has no such method."""
    name, kind = rng.choice(list(_COMMAND_LINE.items()))
    params = {"version": __version__, "argv": ["whoami"], "cwd": "/", "environ": {"THRUM_NAME": "x"}}
    params[name] = rng.choice([value for value in _VALUES if _kind(value) != kind and value not in ([], {})])
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "cli.run", "params": params}).encode(), {PARAMS, UNKNOWN}


def _unknown_method(rng):
    name = rng.choice(("", "no.such", "x" * 5000, "__init__", "message.send\n", "../health", "health\0", "\ud800"))
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": name}).encode(), {UNKNOWN}


def _batch(rng):
    silent = {"jsonrpc": "2.0", "method": "no.such"}
    choices = (
        (b"[]", {INVALID}),
        (json.dumps([silent] * 101).encode(), {INVALID}),
        (b"[" + b",".join([b"1"] * 100_000) + b"]", {INVALID}),
        (json.dumps([silent] * 3).encode(), {QUIET}),
        (json.dumps([1, [], None]).encode(), {INVALID}),
        (json.dumps([{**silent, "id": 1}] * 3).encode(), {UNKNOWN}),
        (json.dumps(silent).encode(), {QUIET}),
    )
    return rng.choice(choices)


def _mutated(rng):
    """A request that was sound, with a few bytes of it changed. A newline would make two of it, so none is put in."""
    line = bytearray(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "message.get", "params": {"message_id": "x"}}).encode()
    )
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(line))
        if rng.random() < 0.5:
            line[at] = rng.choice((*range(10), *range(11, 256)))
        else:
            del line[at]
    return bytes(line), REFUSALS | {QUIET}


def _extreme(rng):
    """Every required parameter and some of the others, of the right kind and out of bounds."""
    method = rng.choice([one for name, one in sorted(registry.load().items()) if name not in _LEFT_ALONE])
    params = {"caller_agent_id": "omar"}
    for parameter in method.parameters:
        if parameter.required or rng.random() < 0.3:
            kind = rng.choice(_plain_kinds(parameter.kind))
            params[parameter.name] = rng.choice(_EXTREMES[kind])
    if method.waits:
        params["timeout"] = 0
    if rng.random() < 0.1:
        params["structured"] = _deep(rng.choice((90, 200, 900)))
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method.name, "params": params}).encode(), REFUSALS | {DONE}


def _deep(levels):
    found = {}
    for _ in range(levels):
        found = {"a": found}
    return found


_known = []


def _wrong():
    if not _known:
        _known.extend(wrong_parameters())
        for value in (5, "x", [], True):
            _known.append(("health", {"caller": value}))
            _known.append(("health", {"caller": {"environ": value}}))
        _known.extend(("health", {"caller": {"cwd": value}}) for value in (5, [], {}, True, "a\0b"))
        _known.append(("message.wait", {"timeout": -1}))
    return _known


def _kinds(kind):
    """The kinds of JSON value that a declared type is made from."""
    return [_JSON_KINDS[one] for one in _plain_kinds(kind)]


def _plain_kinds(kind):
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return [plain for one in typing.get_args(kind) if one is not type(None) for plain in _plain_kinds(one)]
    return [dict if hasattr(kind, "_fields") else typing.get_origin(kind) or kind]


def _kind(value):
    return _JSON_KINDS[type(value)]
