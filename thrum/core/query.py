"""What somebody types to search for, as terms; no text is an error, and none has a meaning beyond its words.

`"two words"` is a phrase, `merg*` a beginning, anything else a word. Signs, and scripts written without spaces, are looked for
as they stand, since no index of words helps there.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Term(NamedTuple):
    """One thing to find: a word, a phrase, or (`is_prefix`) how a word begins."""

    text: str
    is_prefix: bool = False

    @property
    def is_indexed(self) -> bool:
        """Whether the index of words knows it; else it is looked for in the text itself."""
        return not _UNSPACED.search(self.text) and any(character.isalnum() for character in self.text)


class Wanted(NamedTuple):
    """What to find: terms, and who said it, about what `(type, value)`, since when (nanoseconds)."""

    terms: list[Term]
    author: str = ""
    scope: tuple[str, str] | None = None
    since: int = 0


def parse(query: str) -> list[Term]:
    """The terms of a query, all of which a message must hold; [] when there is nothing in it."""
    found = []
    for phrase, word in _TERM.findall(query.replace("\0", " ")):
        is_prefix = word.endswith("*")
        text = (word.rstrip("*") if is_prefix else word or phrase).replace('"', " ").strip()
        if text:
            found.append(Term(text, is_prefix))
    return found


def expression(terms: list[Term]) -> str:
    """The terms the index knows as an FTS5 expression; "" when it knows none."""
    indexed = [term for term in terms if term.is_indexed]
    return " AND ".join('"' + term.text + '"' + ("*" if term.is_prefix else "") for term in indexed)
