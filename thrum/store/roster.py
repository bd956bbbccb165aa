"""Every question about agents, sessions and what they work on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection
from typing import Any

from thrum.core import clock
from thrum.core.ids import stem
from thrum.core.routing import Known
from thrum.store.stated import version_of

Json = dict[str, Any]
_ALIVE = (
    "NOT EXISTS (SELECT 1 FROM retirement x WHERE x.agent_id = g.agent_id AND (x.version > g.version "
    "OR (x.version = g.version AND (x.version > 0 OR x.rank >= g.rank))))"
)
"""A deletion wins over a registration that knew nothing of it; only between v0.1.0's does the time decide."""
_AGENTS = (
    "SELECT g.agent_id, g.kind, g.role, g.module, g.display, g.worktree, g.origin, g.registered_at, g.version, "
    f"COALESCE(p.last_seen, 0) AS seen FROM agent g LEFT JOIN presence p USING (agent_id) WHERE {_ALIVE}"
)
_SESSIONS = """
SELECT s.session_id, s.agent_id, s.started_at, s.origin, s.worktree, s.at,
  e.ended_at, e.reason AS end_reason, i.value AS intent, i.changed_at AS intent_updated_at,
  t.value AS current_task, t.changed_at AS task_updated_at, MAX(s.at, COALESCE(CAST(l.value AS INTEGER), 0)) AS seen
FROM session s
LEFT JOIN session_end e ON e.session_id = s.session_id AND e.agent_id =
  (SELECT MAX(x.agent_id) FROM session_end x WHERE x.session_id = s.session_id AND x.agent_id IN (s.agent_id, ''))
LEFT JOIN session_field i ON i.session_id = s.session_id AND i.agent_id = s.agent_id AND i.field = 'intent'
LEFT JOIN session_field t ON t.session_id = s.session_id AND t.agent_id = s.agent_id AND t.field = 'current_task'
LEFT JOIN session_field l ON l.session_id = s.session_id AND l.agent_id = s.agent_id AND l.field = 'last_seen'
"""
_MOST_KEPT = 10_000
"""Answers that are kept, so that nobody who asks for strange names fills the memory."""


class Roster:
    """Questions about who there is, asked of the connection that `connect` gives."""

    def __init__(
        self, connect: Callable[[], sqlite3.Connection], edition: Callable[[], object] = lambda: object()
    ) -> None:
        """`edition` gives the same as before as long as nothing of agents and sessions has changed but when they were seen."""
        self._connect, self._edition = connect, edition
        self._kept: dict[object, Any] = {}
        self._kept_of: object = None

    def agents(self) -> list[Json]:
        """Everyone who is registered, newest first. `seen`: nanoseconds; `origin`: the clone that registered them."""
        return _rows(self._connect().execute(_AGENTS + " ORDER BY g.at DESC, g.agent_id"))

    def agent(self, agent_id: str) -> Json | None:
        """One agent; None if nobody is registered by that id."""
        found = _rows(self._connect().execute(_AGENTS + " AND g.agent_id = ?", (agent_id,)))
        return found[0] if found else None

    def registered(self, agent_id: str) -> Json | None:
        """The same without asking anew as long as nothing has changed; `seen` may be out of date."""
        found: Json | None = self._keep(("agent", agent_id), lambda: self.agent(agent_id))
        return found

    def heard(self, agent_id: str) -> int:
        """When an agent's logs last grew in this clone, by this machine's clock (nanoseconds); 0 if it has none."""
        query = "SELECT COALESCE(MAX(mtime), 0) FROM segment WHERE path > ?1 || '/' AND path < ?1 || '0'"
        return int(self._connect().execute(query, (f"messages/{stem(agent_id)}",)).fetchone()[0])

    def retired(self) -> set[str]:
        """Everyone who was registered and has been deleted since."""
        query = f"SELECT g.agent_id FROM agent g WHERE NOT {_ALIVE}"
        return {row[0] for row in self._connect().execute(query)}

    def known(self) -> list[Known]:
        """Everyone, as routing sees them."""
        found: tuple[Known, ...] = self._keep("known", lambda: _as_known(self.agents()))
        return list(found)

    def last_version(self, agent_id: str) -> int:
        """The highest version any statement about an agent's registration has used."""
        query = (
            "SELECT MAX(version) FROM (SELECT version FROM agent WHERE agent_id = ?1 "
            "UNION ALL SELECT version FROM retirement WHERE agent_id = ?1)"
        )
        return int(self._connect().execute(query, (agent_id,)).fetchone()[0] or 0)

    def sessions(self, agent_id: str = "", *, active_only: bool = False) -> list[Json]:
        """Sessions, newest first, of one agent or all."""
        where = [clause for clause, on in (("s.agent_id = :agent", agent_id), ("s.is_open", active_only)) if on]
        query = (
            _SESSIONS + (" WHERE " + " AND ".join(where) if where else "") + " ORDER BY s.at DESC, s.session_id DESC"
        )
        return [_session(row) for row in _rows(self._connect().execute(query, {"agent": agent_id}))]

    def session(self, session_id: str) -> Json | None:
        """One session; None if unknown."""
        found = _rows(self._connect().execute(_SESSIONS + " WHERE s.session_id = ?", (session_id,)))
        return _session(found[0]) if found else None

    def open_session(self, agent_id: str, origin: str = "") -> Json | None:
        """The newest session of an agent that has not ended (of one clone, if `origin` is given)."""
        for session in self.sessions(agent_id, active_only=True):
            if not origin or session["origin"] == origin:
                return session
        return None

    def working_session(self, agent_id: str, origin: str) -> str:
        """The id of the open session an agent works in: of this clone if it has one here; "" if it has none."""
        found: str = self._keep(("session", agent_id, origin), lambda: self._working_session(agent_id, origin))
        return found

    def last_update(self, session_id: str) -> int:
        """The highest version anything stated about a session's intent, task, scopes or refs has used, in whatever clone."""
        query = (
            "SELECT MAX(rank) FROM (SELECT rank FROM session_field WHERE session_id = ?1 AND field <> 'last_seen' "
            "UNION ALL SELECT rank FROM session_pair WHERE session_id = ?1)"
        )
        found = self._connect().execute(query, (session_id,)).fetchone()[0]
        return version_of(found) if found else 0

    def pairs(self, session_id: str, kind: str) -> list[Json]:
        """A session's `scopes` or `refs`."""
        query = (
            "SELECT p.type, p.value FROM session_pair p JOIN session s USING (session_id, agent_id) "
            "WHERE p.session_id = ? AND p.kind = ? AND p.present ORDER BY p.type, p.value"
        )
        return [{"type": kind_, "value": value} for kind_, value in self._connect().execute(query, (session_id, kind))]

    def contexts(self, agent_id: str = "") -> list[Json]:
        """What agents work on, as stated: one entry an agent and clone, plus `agent_id` and `origin`."""
        query = "SELECT agent_id, origin, slot, document FROM context" + (" WHERE agent_id = ?" if agent_id else "")
        rows = self._connect().execute(query, (agent_id,) if agent_id else ())
        found = [{**json.loads(document), "agent_id": who, "origin": origin} for who, origin, _, document in rows]
        return sorted(found, key=lambda context: context.get("git_updated_at") or "", reverse=True)

    def stated_context(self, agent_id: str, origin: str) -> Json | None:
        """What this clone last stated of an agent's work."""
        query = "SELECT document FROM context WHERE agent_id = ? AND origin = ? AND slot = ''"
        row = self._connect().execute(query, (agent_id, origin)).fetchone()
        return json.loads(row[0]) if row else None

    def contexts_without(self, origin: str, agents: Collection[str]) -> dict[str, Json]:
        """What a clone last stated of the work of everybody but these, by agent."""
        query = "SELECT agent_id, document FROM context WHERE origin = ? AND slot = ''"
        rows = self._connect().execute(query, (origin,))
        return {agent_id: json.loads(document) for agent_id, document in rows if agent_id not in agents}

    def _working_session(self, agent_id: str, origin: str) -> str:
        found = self.open_session(agent_id, origin) or self.open_session(agent_id)
        return str(found["session_id"]) if found else ""

    def _keep(self, key: object, ask: Callable[[], Any]) -> Any:
        """What `ask` gave last time, in this edition."""
        edition = self._edition()
        if edition != self._kept_of or len(self._kept) > _MOST_KEPT:
            self._kept, self._kept_of = {}, edition
        if key not in self._kept:
            self._kept[key] = ask()
        return self._kept[key]


def _as_known(agents: list[Json]) -> tuple[Known, ...]:
    return tuple(Known(agent["agent_id"], agent["role"]) for agent in agents)


def _rows(cursor: sqlite3.Cursor) -> list[Json]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def _session(row: Json) -> Json:
    row["last_seen_at"] = clock.text(row["seen"])
    row["status"] = "ended" if row["ended_at"] else "active"
    return row
