"""A long text made short enough for a list."""

from __future__ import annotations

from collections.abc import Iterable


def preview(text: str, length: int = 100) -> str:
    """The first `length` characters of a text, with an ellipsis when that is not all of it."""
    return text if len(text) <= length else text[:length] + "…"


def snippet(text: str, words: Iterable[str], length: int = 160) -> str:
    """Some `length` characters around the first of `words` that the text holds, on one line; its beginning if it holds none."""
    line = " ".join(text.split())
    lowered = line.lower()
    first = min((place for place in (lowered.find(word.lower()) for word in words) if place >= 0), default=0)
    start = max(first - length // 3, 0)
    start = start and (line.find(" ", start, first) + 1 or start)
    end = start + length
    return ("…" if start else "") + line[start:end] + ("…" if end < len(line) else "")
