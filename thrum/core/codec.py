"""One event, one line: canonical JSON out, strictly checked JSON in.

The canonical form is v0.1.0's: keys sorted, no spaces, `<>&` and U+2028/9 escaped, every number a 64-bit float in Go's
notation. Lines already in a log are never encoded again: what a line holds beyond our knowledge stays as it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

Event = dict[str, Any]
LONGEST_LINE = 4 * 1024 * 1024
DEEPEST = 100
"""Levels of nesting in one event; far below where any interpreter gives up, so that all agree on what is an event."""
EXACT = 2**53
"""Beyond this a number has lost digits somewhere; none of ours gets there."""


class BadLine(ValueError):
    """A line that is no event; the text says why."""


def encode(event: Event) -> bytes:
    """The canonical line of `event`, without its newline. Raises ValueError for what JSON cannot hold."""
    try:
        try:
            return _encode(event)
        except UnicodeEncodeError:
            return _encode(_replace_surrogates(event))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _encode(event: Event) -> bytes:
    """The line. Raises UnicodeEncodeError for a lone surrogate."""
    written = _write(event) if _has_odd_number(event) else _FAST(event)
    if _is_too_deep(written):
        raise ValueError("nested too deeply")
    for raw, escaped in _ESCAPES:
        if raw in written:
            written = written.replace(raw, escaped)
    return written.encode()


_FAST = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
_ESCAPES = (
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("&", "\\u0026"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)


def settled_text(text: str) -> str:
    """`text` with every lone surrogate replaced by U+FFFD, so that it can be written as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return settled_text(value)
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_surrogates(item) for item in value]
    return value


def _has_odd_number(value: dict[str, Any] | list[Any] | tuple[Any, ...]) -> bool:
    """Whether any number in it is a float, or too large for one."""
    for item in value.values() if isinstance(value, dict) else value:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if isinstance(item, (dict, list, tuple)):
            if _has_odd_number(item):
                return True
        elif kind is not int or not -EXACT <= item <= EXACT:
            return True
    return False


def _write(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_FAST(key)}:{_write(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_write, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return _FAST(value)


def number(value: int | float) -> str:
    """A number as Go's encoding/json writes a float64: plain digits from 1e-6 up to 1e21, else an exponent."""
    try:
        value = float(value)
    except OverflowError:
        raise ValueError("a number is out of range") from None
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    digits = repr(value)
    if value == 0:
        return "-0" if digits[0] == "-" else "0"
    if 1e-6 <= abs(value) < 1e21:
        plain = format(Decimal(digits), "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    mantissa, _, exponent = digits.partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent):+d}"


def decode(line: bytes) -> Event:
    """The JSON object on `line`. Raises BadLine: not UTF-8, not JSON, not an object, too long, out of range."""
    if len(line) > LONGEST_LINE:
        raise BadLine(f"longer than {LONGEST_LINE} bytes")
    try:
        text = line.decode().strip(" \t\r")
        if _is_too_deep(text):
            raise BadLine("nested too deeply")
        value, end = (_SCAN_EXACTLY if _may_hold_minus_zero(text) else _SCAN)(text)
    except UnicodeDecodeError:
        raise BadLine("not UTF-8") from None
    except RecursionError:
        raise BadLine("nested too deeply") from None
    except BadLine:
        raise
    except ValueError as error:
        raise BadLine(f"not JSON: {str(error)[:80]}") from None
    if type(value) is not dict or end != len(text):
        raise BadLine("not one JSON object")
    event: Event = value
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        event = _replace_surrogates(value)
    return event


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = deepest = 0
    for mark in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if mark in "[{" else -1
        deepest = max(deepest, depth)
    return deepest > DEEPEST


_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


def _read_int(text: str) -> int | float:
    return int(text) or (-0.0 if text[0] == "-" else 0)


def _read_float(text: str) -> int | float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return int(value) if value.is_integer() and 0 < abs(value) <= EXACT else value


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _may_hold_minus_zero(text: str) -> bool:
    # The one whole number that a float tells apart and Python does not; a hook for every number costs a third more.
    at = text.find("-0")
    while at > 0:
        if text[at - 1] in ":,[":
            return True
        at = text.find("-0", at + 2)
    return False


_SCAN: Callable[[str], tuple[Any, int]] = json.JSONDecoder(
    parse_float=_read_float, parse_constant=_refuse_constant
).raw_decode
_SCAN_EXACTLY: Callable[[str], tuple[Any, int]] = json.JSONDecoder(
    parse_int=_read_int, parse_float=_read_float, parse_constant=_refuse_constant
).raw_decode
