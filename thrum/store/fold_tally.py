"""How many messages there are of everything a list is asked for: by topic, by whom they reach, by who wrote them.

A row counts what is not deleted of one author under one address (`EVERY`: whoever it reaches), with one topic: none, a scope,
a name that is mentioned, or two names at once, without which those who mention either could not be counted. A message with
more than a few topics is not counted but listed in the table `tag` under `LOOSE`, and counted when somebody asks: otherwise a
line could make rows by the square of its length. What v0.1.0 addressed to `@word` is not counted either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import combinations

from thrum.core import routing
from thrum.core.codec import Event

EVERY = "**"
"""The address under which every message is counted; no agent's."""
LOOSE = "loose"
"""The kind of the tags that are topics of a message which has too many of them to be counted."""
_MOST = 5
_PLAIN = ("",)
_MOVE = "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"


class Tally:
    """Moves the counts along with the rows they count, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection
        self._moved: dict[tuple[str, str, str], int] = {}

    def count(self, topics: Iterable[str], addresses: Iterable[str], author: str, number: int) -> None:
        """`number` more (or, below 0, less) messages of `author` with these topics under each of these addresses."""
        moved = self._moved
        for address in addresses:
            if address[:1] != "@":
                for topic in topics:
                    key = topic, address, author
                    moved[key] = moved.get(key, 0) + number

    def flush(self) -> None:
        """Writes the counts down."""
        self.sql.executemany(_MOVE, [(*key, number) for key, number in self._moved.items() if number])
        self._moved.clear()


def scope_topic(type_: str, value: str) -> str:
    """The topic of what has this scope."""
    return f"scope {len(type_)} {type_} {value}"


def mention_topic(word: str) -> str:
    """The topic of what mentions a name, written without `@`."""
    return f"mention {len(word)} {word}"


def both(one: str, other: str) -> str:
    """The topic of what has two topics at once."""
    return " ".join(sorted((one, other)))


def topics(event: Event) -> Sequence[str]:
    """The topics under which a message is counted."""
    scopes, words = _single(event)
    if len(scopes) + len(words) > _MOST:
        return _PLAIN
    if len(words) > 1:
        return (*_PLAIN, *scopes, *words, *(both(*pair) for pair in combinations(words, 2)))
    return (*_PLAIN, *scopes, *words)


def loose_topics(event: Event) -> Sequence[str]:
    """The topics of a message that has too many to be counted; () for any other."""
    scopes, words = _single(event)
    return (*scopes, *words) if len(scopes) + len(words) > _MOST else ()


def _single(event: Event) -> tuple[set[str], set[str]]:
    """The topics of every scope, and of every name mentioned."""
    scopes, refs = event.get("scopes"), event.get("refs")
    return (
        {scope_topic(pair["type"], pair["value"]) for pair in scopes} if scopes else set(),
        {mention_topic(word) for word in routing.mentions(refs)} if refs else set(),
    )
