"""How a filter becomes a question: a list in order to walk along (`heads`), what to leave out of it, and how long it is.

Each head is a range of one index whose order is (at, message_id), so that a page is read off its end. How many there are in all
is remembered for the usual questions (fold_tally.py) and counted for the others.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from thrum.core import clock
from thrum.core.selection import Filter
from thrum.store import unread
from thrum.store.fold_tally import EVERY, LOOSE, both, mention_topic, scope_topic
from thrum.store.unread import INBOX, READ, VISIBLE

Arguments = dict[str, Any]
_MENTIONED = "c.kind = 'refs' AND c.type = 'mention' AND c.value"
_UNREAD = f"NOT {READ.format(id='c.message_id')}"
_BOTH = 2


class Listing:
    """The messages that a filter asks for, for an agent."""

    def __init__(self, sql: sqlite3.Connection, agent_id: str, wanted: Filter, deleted: Sequence[str] = ()) -> None:
        """`deleted`: ids of the deleted messages that an inbox would show if they were not."""
        self._sql, self._wanted, self._agent_id = sql, wanted, agent_id
        self._arguments = {**unread.arguments(sql, agent_id), **_arguments(wanted), "deleted": json.dumps(deleted)}
        self._arguments.update(lo=0, hi=clock.LATEST)
        heads = _heads(wanted)
        self._selects = [_select(wanted, *head) for head in heads]
        self._is_unread_mail = heads[0][0] == "unread"

    def ids(self, size: int, skip: int, *, ascending: bool = False, by_change: bool = False) -> list[str]:
        """Up to `size` ids behind the first `skip`, newest first; `by_change`: by when they were last edited."""
        if by_change:
            return self._by_change(size, skip, "ASC" if ascending else "DESC")
        if not self._is_unread_mail:
            return [row[0] for row in self._walk(size, skip, ascending, 0, clock.LATEST)]
        found: list[str] = []
        for lo, hi in unread.spans(self._sql, self._agent_id, ascending=ascending):
            found += (row[0] for row in self._walk(size + skip - len(found), 0, ascending, lo, hi))
            if len(found) >= size + skip:
                break
        return found[skip:]

    def total(self) -> int:
        """How many there are."""
        remembered = self._remembered()
        return remembered if remembered is not None else self._count()

    def query(self, *, ascending: bool = False) -> str:
        """The SQL of a page; its arguments are `arguments()` with `size` and `skip`."""
        order = "ASC" if ascending else "DESC"
        return f"{' UNION '.join(self._selects)} ORDER BY 2 {order}, 1 {order} LIMIT :size OFFSET :skip"

    def arguments(self, **more: Any) -> Arguments:
        """The named arguments of `query`."""
        return {**self._arguments, **more}

    def _walk(self, size: int, skip: int, ascending: bool, lo: int, hi: int) -> Iterator[tuple[str, int]]:
        if lo <= hi and size > 0:
            yield from self._sql.execute(
                self.query(ascending=ascending), self.arguments(size=size, skip=skip, lo=lo, hi=hi)
            )

    def _by_change(self, size: int, skip: int, order: str) -> list[str]:
        query = (
            f"SELECT m.message_id FROM ({' UNION '.join(self._selects)}) f JOIN message m USING (message_id) "
            f"ORDER BY COALESCE(m.changed, m.at) {order}, m.message_id {order} LIMIT :size OFFSET :skip"
        )
        return [row[0] for row in self._sql.execute(query, self.arguments(size=size, skip=skip))]

    def _count(self) -> int:
        query = f"SELECT COUNT(*) FROM ({' UNION '.join(self._selects)})"
        spans = unread.spans(self._sql, self._agent_id) if self._is_unread_mail else [(0, clock.LATEST)]
        return sum(self._number(query, lo=lo, hi=hi) for lo, hi in spans if lo <= hi)

    def _number(self, query: str, **more: Any) -> int:
        return int(self._sql.execute(query, self.arguments(**more)).fetchone()[0] or 0)

    def _remembered(self) -> int | None:
        """The total, by what is remembered; None when that does not tell."""
        wanted = self._wanted
        if wanted.unread:
            plain = Filter(unread=True, everything=wanted.everything, with_own=wanted.with_own)
            return self._unread_mail() if wanted == plain else None
        topics = _topics(wanted)
        if topics is None or wanted.thread_id or wanted.priority or wanted.ref or wanted.with_deleted:
            return None
        return self._counted(topics) + self._legacy(topics) + self._loose(topics)

    def _unread_mail(self) -> int:
        return Listing(self._sql, self._agent_id, Filter()).total() - unread.seen(self._sql, self._agent_id)

    def _counted(self, topics: Sequence[str]) -> int:
        """How many messages have any of one or two topics, of those that are counted."""
        found = sum(self._tally(topic) for topic in topics)
        return found - self._tally(both(*topics)) if len(topics) == _BOTH else found

    def _tally(self, topic: str) -> int:
        wanted = self._wanted
        ways = ["address = :every"] if wanted.everything else ["address = '*' AND author <> :me", "address = :me"]
        if wanted.with_own and not wanted.everything:
            ways.append("address = :every AND author = :me")
        mine = " AND author = :agent_id" if wanted.author else ""
        parts = (f"SELECT COALESCE(SUM(messages), 0) FROM tally WHERE topic = :topic AND {way}{mine}" for way in ways)
        return self._number(f"SELECT ({') + ('.join(parts)})", topic=topic, every=EVERY)

    def _legacy(self, topics: Sequence[str]) -> int:
        """How many there are that v0.1.0 addressed to a word, and that are not filed under the agent itself as well."""
        if self._wanted.everything:
            return 0
        conditions = _leave_out(self._wanted, "audience")
        if topics != ("",):
            conditions.append(f"NOT {_loose('c')}")
        query = (
            "SELECT COUNT(DISTINCT c.message_id) FROM audience c WHERE c.address IN (:a2, :a3) AND c.author <> :me "
            "AND NOT EXISTS (SELECT 1 FROM audience b WHERE b.address IN ('*', :me) AND b.at = c.at "
            f"AND b.message_id = c.message_id){_also(conditions)}"
        )
        return self._number(query, topics=json.dumps(topics))

    def _loose(self, topics: Sequence[str]) -> int:
        """How many there are of messages that have too many topics to be counted."""
        if topics == ("",):
            return 0
        conditions = _leave_out(self._wanted, "loose")
        query = (
            "SELECT COUNT(DISTINCT c.message_id) FROM tag c CROSS JOIN message m ON m.message_id = c.message_id "
            f"WHERE c.kind = '{LOOSE}' AND c.type IN (SELECT value FROM json_each(:topics)) AND c.value = ''"
            f"{_also(conditions)}"
        )
        return self._number(query, topics=json.dumps(topics))


def _heads(wanted: Filter) -> list[tuple[str, str]]:
    """Where to walk, as (kind of list, range): together they hold everything the filter asks for."""
    if wanted.thread_id:
        return [("message", "m.thread_id = :thread_id")]
    if wanted.ref:
        return [("ref", "c.kind = 'refs' AND c.type = :ref_type AND c.value = :ref_value")]
    if wanted.mention:
        return [("mention", f"{_MENTIONED} = :mention{i}") for i in range(len(_spellings(wanted.mention)))]
    if wanted.scope:
        return [("scope", "c.kind = 'scopes' AND c.type = :scope_type AND c.value = :scope_value")]
    if wanted.unread:
        return [("unread", part.partition(" WHERE ")[2]) for part in INBOX]
    if wanted.author:
        return [("message", "m.agent_id = :agent_id")]
    return _whole(wanted)


def _whole(wanted: Filter) -> list[tuple[str, str]]:
    if wanted.everything or wanted.with_deleted:
        return [("message", "")]
    inbox = [("audience", part.partition(" WHERE ")[2]) for part in INBOX]
    return [*inbox, ("own", "m.agent_id = :me")] if wanted.with_own else inbox


def _select(wanted: Filter, kind: str, span: str) -> str:
    conditions = _leave_out(wanted, kind)
    if kind in ("message", "own"):
        return f"SELECT m.message_id, m.at FROM message m WHERE {' AND '.join([span] * bool(span) + conditions) or '1'}"
    table = "audience" if kind in ("audience", "unread") else "tag"
    joined = " CROSS JOIN message m ON m.message_id = c.message_id" if " m." in " " + " ".join(conditions) else ""
    return f"SELECT c.message_id, c.at FROM {table} c{joined} WHERE {span}{_also(conditions)}"


def _leave_out(wanted: Filter, kind: str) -> list[str]:
    """What else a message of a list has to be: whom it is for, then what the list itself does not say."""
    is_mail = kind in ("audience", "unread")
    conditions = [] if is_mail or wanted.with_deleted else ["m.deleted_at IS NULL"]
    if kind == "unread":
        conditions += ["c.at BETWEEN :lo AND :hi", _UNREAD]
    elif wanted.unread:
        conditions += [VISIBLE, f"NOT {READ.format(id='m.message_id')}"]
    elif not (is_mail or kind == "own" or wanted.everything):
        conditions.append(_visibility(wanted))
    place = "c" if is_mail else "m"
    if wanted.scope and kind not in ("scope", "loose"):
        conditions.append(_tagged(place, "scopes", "t.type = :scope_type AND t.value = :scope_value"))
    if wanted.mention and kind not in ("mention", "loose"):
        words = ", ".join(f":mention{i}" for i in range(len(_spellings(wanted.mention))))
        conditions.append(_tagged(place, "refs", f"t.type = 'mention' AND t.value IN ({words})"))
    conditions += _plain(wanted, is_mail)
    return conditions


def _plain(wanted: Filter, is_mail: bool) -> Iterator[str]:
    if wanted.priority:
        yield "m.priority = :priority"
    if wanted.author:
        column = "c.author" if is_mail else "m.agent_id"
        yield f"+{column} = :agent_id" if wanted.thread_id else f"{column} = :agent_id"


def _visibility(wanted: Filter) -> str:
    ways = [VISIBLE]
    if wanted.with_deleted:
        ways.append("m.message_id IN (SELECT value FROM json_each(:deleted))")
    if wanted.with_own:
        ways.append("m.agent_id = :me")
    return f"({' OR '.join(f'({way})' for way in ways)})"


def _tagged(place: str, kind: str, what: str) -> str:
    return (
        f"EXISTS (SELECT 1 FROM tag t WHERE t.kind = '{kind}' AND {what} AND t.at = {place}.at "
        f"AND t.message_id = {place}.message_id)"
    )


def _loose(place: str) -> str:
    return _tagged(place, LOOSE, "t.type IN (SELECT value FROM json_each(:topics)) AND t.value = ''")


def _also(conditions: Sequence[str]) -> str:
    return "".join(f" AND {condition}" for condition in conditions)


def _topics(wanted: Filter) -> tuple[str, ...] | None:
    """The topics of which a message has to have one; None where they do not say it."""
    words = dict.fromkeys(wanted.mention)
    if wanted.scope:
        return None if words else (scope_topic(*wanted.scope),)
    if not words:
        return ("",)
    is_plain = len(words) <= _BOTH and not any(word.startswith("@") or not word for word in words)
    return tuple(mention_topic(word) for word in words) if is_plain else None


def _spellings(words: tuple[str, ...]) -> list[str]:
    """Mentions are written with and without `@`."""
    return [spelling for word in words for spelling in (word, "@" + word)]


def _arguments(wanted: Filter) -> Arguments:
    found: Arguments = {"thread_id": wanted.thread_id, "agent_id": wanted.author, "priority": wanted.priority}
    for name, pair in (("scope", wanted.scope), ("ref", wanted.ref)):
        if pair:
            found[f"{name}_type"], found[f"{name}_value"] = pair
    for index, word in enumerate(_spellings(wanted.mention)):
        found[f"mention{index}"] = word
    return found
