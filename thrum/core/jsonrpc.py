"""JSON-RPC 2.0 as bytes and values: cuts a stream into lines, reads requests, writes answers. Moves nothing itself.

An id is kept as the JSON text it came as, so that `1.50` is answered as `1.50`. Keys and answers are v0.1.0's: an answer to
a request without an id (or with null) simply has no id key.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

LONGEST_LINE = 4 * 1024 * 1024 + 64 * 1024
"""Bytes of a message: the largest body, twice escaped, and what is around it."""
LARGEST_BATCH = 100

Json = dict[str, Any]


class Request(NamedTuple):
    """One call. `id` is the JSON text of the caller's id; None without one (`is_notification`) or for null."""

    id: str | None
    method: str
    params: Json
    is_notification: bool


class Problem(NamedTuple):
    """What stands where a request should be: everything `failure` needs."""

    id: str | None
    code: int
    message: str
    data: object = None


class Lines:
    """Cuts a byte stream into lines, whatever pieces it arrives in, and holds no more than `limit` bytes of it."""

    def __init__(self, limit: int = LONGEST_LINE) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._is_skipping = False
        self.held = 0
        """Bytes of an unfinished line that are kept."""

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines `data` completes, without their newline; None once for each line longer than the limit."""
        found: list[bytes | None] = []
        *ends, rest = data.split(b"\n")
        are_short = len(data) <= self._limit
        for end in ends[:1] if are_short else ends:
            self._take(end, found)
            if not self._is_skipping:
                found.append(b"".join(self._pieces))
            self._forget()
            self._is_skipping = False
        if are_short:
            found += ends[1:]  # a flood of tiny lines is no work
        self._take(rest, found)
        return found

    def _take(self, piece: bytes, found: list[bytes | None]) -> None:
        if self._is_skipping or not piece:
            return
        self.held += len(piece)
        if self.held <= self._limit:
            self._pieces.append(piece)
            return
        self._forget()
        self._is_skipping = True
        found.append(None)

    def _forget(self) -> None:
        self._pieces = []
        self.held = 0


def parse(line: bytes | str | None) -> Request | Problem | list[Request | Problem]:
    """What a line (or WebSocket frame) asks: a request, a batch of them, or what is wrong with it. None: it was too long."""
    if line is None:
        return Problem(None, INVALID_REQUEST, "Invalid request", f"a line may have {LONGEST_LINE} bytes")
    try:
        text = line if isinstance(line, str) else line.decode()
        value = _settle(_SCAN(text), text)
        return _read_batch(value) if isinstance(value, list) else _read_request(value, text)
    except UnicodeDecodeError:
        return Problem(None, PARSE_ERROR, "Parse error", "not UTF-8")
    except RecursionError:
        return Problem(None, PARSE_ERROR, "Parse error", "nested too deeply")
    except ValueError as error:
        return Problem(None, PARSE_ERROR, "Parse error", str(error)[:80])


def result(id: str | None, encoded: bytes) -> bytes:
    """The answer to a request, with its result as JSON: one JSON object, without a newline."""
    return _close(b'{"jsonrpc":"2.0","result":' + encoded, id)


def failure(id: str | None, code: int, message: str, data: object = None) -> bytes:
    """The refusal of a request: one JSON object, without a newline. `data` is left out when None."""
    error: Json = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return _close(b'{"jsonrpc":"2.0","error":' + encode(error), id)


def batch(answers: list[bytes]) -> bytes:
    """The answer to a batch; nothing at all when nothing in it wanted an answer."""
    return b"[" + b",".join(answers) + b"]" if answers else b""


def encode(value: object) -> bytes:
    """`value` as compact JSON on one line. Raises ValueError, TypeError or RecursionError for what JSON cannot hold."""
    try:
        return _WRITE(value).encode()
    except UnicodeEncodeError:  # half a surrogate pair, from a file name
        return _WRITE_ASCII(value).encode()


_WRITE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_WRITE_ASCII = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _close(head: bytes, id: str | None) -> bytes:
    return head + b"}" if id is None else head + b',"id":' + id.encode() + b"}"


def _read_batch(values: list[Any]) -> Problem | list[Request | Problem]:
    if not values:
        return Problem(None, INVALID_REQUEST, "Invalid request", "batch request cannot be empty")
    if len(values) > LARGEST_BATCH:
        return Problem(None, INVALID_REQUEST, "Invalid request", f"a batch may hold {LARGEST_BATCH} requests")
    return [_read_request(value, None) for value in values]


def _read_request(value: Any, text: str | None) -> Request | Problem:
    if not isinstance(value, dict):
        return Problem(None, INVALID_REQUEST, "Invalid request", "a request is a JSON object")
    id = _read_id(value.get("id"), text)
    if value.get("jsonrpc") != "2.0":
        return Problem(id, INVALID_REQUEST, "Invalid request", "jsonrpc field must be '2.0'")
    method, params = value.get("method"), value.get("params")
    if not isinstance(method, str):
        return Problem(id, INVALID_REQUEST, "Invalid request", "method must be a text")
    if params is None:
        params = {}
    if not isinstance(params, dict):
        return Problem(id, INVALID_PARAMS, "params must be an object", 'name each parameter: {"name": value}')
    return Request(id, method, params, "id" not in value)


def _read_id(id: object, text: str | None) -> str | None:
    if id is None:
        return None
    if isinstance(id, float) and text is not None:
        return str(json.loads(text, parse_float=_Spelled)["id"])
    return _WRITE_ASCII(id)


class _Spelled(str):
    """A number as it was written."""

    __slots__ = ()


def _settle(value: Any, text: str) -> Any:
    """`value` with every half of a surrogate pair replaced by U+FFFD, as Go does: neither UTF-8 nor SQLite can hold one."""
    if "\\ud" not in text and "\\uD" not in text:
        return value
    plain = _WRITE(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.loads(plain)


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


_SCAN = json.JSONDecoder(parse_float=_read_float, parse_constant=_refuse_constant).decode
