"""How many messages there are of everything a list is asked for: by topic, by whom they reach, by who wrote them.

A row counts what is not deleted of one author under one address (`EVERY`: whoever it reaches), with one topic: none, a scope,
a name that is mentioned, or two names at once, without which those who mention either could not be counted. A message with
more than a few topics is not counted but listed in the table `tag` under `LOOSE`, and counted when somebody asks: otherwise a
line could make rows by the square of its length. What v0.1.0 addressed to `@word` is not counted either.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple

from thrum.core import routing
from thrum.core.codec import Event

EVERY = "**"
"""The address under which every message is counted; no agent's."""
LOOSE = "loose"
"""The kind of the tags that are topics of a message which has too many of them to be counted."""
_MOST = 5
_TAGGED = ("scopes", "refs")
_MOVE = "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET messages = messages + excluded.messages"


Tag = tuple[str, str, str]
"""`scopes` or `refs`, type, value."""


class Topics(NamedTuple):
    """What a message is counted under, beside itself, and what it is listed under because it has too much of that."""

    counted: tuple[str, ...]
    loose: tuple[str, ...]


class Tally:
    """Moves the counts along with the rows they count, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.sql = connection
        self._moved: dict[tuple[tuple[str, ...], tuple[str, ...], str], int] = {}

    def count(self, topics: Topics, addresses: tuple[str, ...], author: str, number: int) -> None:
        """`number` more (or, below 0, less) messages of `author` with these topics under each of these addresses."""
        key = topics.counted, addresses, author
        self._moved[key] = self._moved.get(key, 0) + number

    def flush(self) -> None:
        """Writes the counts down."""
        moved: dict[tuple[str, str, str], int] = {}
        for (topics, addresses, author), number in self._moved.items():
            for topic, address in product(topics, addresses):
                if address[:1] != "@":
                    moved[topic, address, author] = moved.get((topic, address, author), 0) + number
        self.sql.executemany(_MOVE, [(*key, number) for key, number in moved.items() if number])
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


def tags(event: Event) -> tuple[Tag, ...]:
    """What a message is tagged with."""
    return tuple([(kind, pair["type"], pair["value"]) for kind in _TAGGED for pair in event.get(kind) or ()])


@lru_cache(maxsize=4096)
def topics(tagged: tuple[Tag, ...]) -> Topics:
    """The topics of a message with these tags."""
    scopes = {scope_topic(type_, value) for kind, type_, value in tagged if kind == "scopes"}
    refs = [{"type": type_, "value": value} for kind, type_, value in tagged if kind == "refs"]
    words = {mention_topic(word) for word in routing.mentions(refs)}
    if len(scopes) + len(words) > _MOST:
        return Topics(("",), (*scopes, *words))
    return Topics(("", *scopes, *words, *(both(*pair) for pair in combinations(words, 2))), ())


def topics_of(event: Event) -> Topics:
    """The topics of a message."""
    return topics(tags(event))
