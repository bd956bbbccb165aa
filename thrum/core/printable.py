"""A stranger's text made safe to show: what steers a terminal or hides from the eye is written out."""

from __future__ import annotations

import re
from typing import Any

_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_JOINED = (
    "\u0600-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u17dd\ufb50-\ufdff\ufe70-\ufefc"  # scripts that join letters
    "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"  # pictures, and what picks their look
)
_DANGEROUS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls, ESC among them, but neither newline nor tab
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # invisible
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"  # zero width, line ends, direction
    "\ud800-\udfff"  # halves of pairs: bytes of a file name that are no UTF-8
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"  # layout of rare scripts and of music
    "\U000e0000-\U000e0fff]"  # tags and other carriers of hidden text
    f"|[\u200c\u200d](?:(?<![{_JOINED}][\u200c\u200d])|(?![{_JOINED}]))"  # joiners where nothing is to be joined
    "|[\ufe00-\ufe0f](?<=[\ufe00-\ufe0f]{2})"  # one picks the look of a sign, a row of them carries bytes
    f"|[{_MARKS}](?<=[{_MARKS}]{{17}})"  # accents that pile up over the lines above
)


def safe(text: str) -> str:
    """`text` with everything that steers a terminal or hides from the eye shown as an escape: `\\x1b`, `\\u202e`."""
    return _DANGEROUS.sub(_escape, text)


def all_safe(value: Any) -> Any:
    """A JSON value with every text in it made safe, keys included."""
    if isinstance(value, str):
        return safe(value)
    if isinstance(value, dict):
        return {safe(key): all_safe(item) for key, item in value.items()}
    return [all_safe(item) for item in value] if isinstance(value, list) else value


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
