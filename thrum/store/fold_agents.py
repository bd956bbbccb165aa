"""Agents, sessions and work contexts, folded into rows: for every field the highest-ranked statement holds."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from thrum.core import clock, events
from thrum.store.stated import Stated, rank
from thrum.store.unread import Readers

_OPEN = (
    "UPDATE session SET is_open = NOT EXISTS (SELECT 1 FROM session_end x WHERE x.session_id = session.session_id "
    "AND x.agent_id IN (session.agent_id, '')) WHERE session_id = ?"
)
_CONTEXT = (
    "INSERT INTO context VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
    "document = excluded.document WHERE excluded.rank > rank"
)
_FIELD = (
    "INSERT INTO session_field VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
    "value = excluded.value, changed_at = excluded.changed_at WHERE excluded.rank > rank"
)
_PAIR = (
    "INSERT INTO session_pair VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
    "present = excluded.present WHERE excluded.rank > rank"
)


class AgentFold:
    """Applies statements about agents and sessions to a database, inside the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, readers: Readers) -> None:
        """`readers`: who is to be told when a role changes."""
        self.sql, self._readers = connection, readers

    def see(self, batch: Sequence[Stated]) -> None:
        """Whatever an agent states shows that it was there."""
        seen: dict[str, int] = {}
        for stated in batch:
            agent_id = stated.event.get("agent_id")
            if stated.type == events.AGENT_CLEANUP:
                continue
            if isinstance(agent_id, str) and stated.at > seen.get(agent_id, 0):
                seen[agent_id] = stated.at
        self.sql.executemany(
            "INSERT INTO presence VALUES (?, ?) ON CONFLICT DO UPDATE SET last_seen = MAX(last_seen, excluded.last_seen)",
            list(seen.items()),
        )

    def register(self, batch: Sequence[Stated]) -> None:
        """`agent.register`: who an agent is. A new role may change which mail is its."""
        self._readers.change_roles(batch)
        self.sql.executemany(
            "INSERT INTO agent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind, "
            "role = excluded.role, module = excluded.module, display = excluded.display, worktree = excluded.worktree, "
            "origin = excluded.origin, registered_at = excluded.registered_at, at = excluded.at, "
            "version = excluded.version, rank = excluded.rank WHERE excluded.rank > rank",
            [_agent_row(stated) for stated in batch],
        )

    def retire(self, batch: Sequence[Stated]) -> None:
        """`agent.cleanup`: the agent is gone, until it registers with a higher version."""
        self.sql.executemany(
            "INSERT INTO retirement VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version, "
            "rank = excluded.rank WHERE excluded.rank > rank",
            [(s.event["agent_id"], _incarnation(s), _incarnation_rank(s)) for s in batch],
        )

    def start(self, batch: Sequence[Stated]) -> None:
        """`agent.session.start`: of two that claim one id it is whose id proves it, else the earliest."""
        self.sql.executemany(
            "INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET agent_id = excluded.agent_id, "
            "started_at = excluded.started_at, at = excluded.at, claim = excluded.claim, origin = excluded.origin, "
            "worktree = excluded.worktree WHERE "
            "(substr(excluded.claim, 1, 1), excluded.at, excluded.claim) < (substr(claim, 1, 1), at, claim)",
            [
                (
                    e["session_id"],
                    e["agent_id"],
                    e["timestamp"],
                    s.at,
                    f"{s.standing} {s.claim}",
                    s.source.origin,
                    e.get("worktree") or "",
                )
                for s in batch
                for e in (s.event,)
            ],
        )
        self._settle(batch)
        for stated in batch:
            self._pairs(stated, "scopes", stated.event.get("scopes"), 1)
            self._pairs(stated, "refs", stated.event.get("refs"), 1)

    def update(self, batch: Sequence[Stated]) -> None:
        """`agent.session.update`: intent, task, scopes and refs, or just a sign of life. Removals before additions."""
        for stated in batch:
            event = stated.event
            for field in ("intent", "current_task"):
                if isinstance(event.get(field), str):
                    row = (event["session_id"], event["agent_id"], field, stated.rank, event[field], event["timestamp"])
                    self.sql.execute(_FIELD, row)
            for kind in ("scopes", "refs"):
                removed, added = event.get(f"remove_{kind}") or [], event.get(f"add_{kind}") or []
                self._pairs(stated, kind, [pair for pair in removed if pair not in added], 0)
                self._pairs(stated, kind, added, 1)
            seen = rank(0, stated.at, stated.claim)
            row = (event["session_id"], event["agent_id"], "last_seen", seen, str(stated.at), event["timestamp"])
            self.sql.execute(_FIELD, row)

    def end(self, batch: Sequence[Stated]) -> None:
        """`agent.session.end`: by its own agent; v0.1.0 does not say whose it is."""
        self.sql.executemany(
            "INSERT INTO session_end VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET rank = excluded.rank, "
            "ended_at = excluded.ended_at, reason = excluded.reason WHERE excluded.rank > rank",
            [
                (e["session_id"], e.get("agent_id") or "", s.rank, e["timestamp"], e.get("reason") or "normal")
                for s in batch
                for e in (s.event,)
            ],
        )
        self._settle(batch)

    def _settle(self, batch: Sequence[Stated]) -> None:
        """Notes of the sessions that a batch is about whether they are over: nobody is to look through all there ever were."""
        self.sql.executemany(_OPEN, {(stated.event["session_id"],) for stated in batch})

    def context(self, batch: Sequence[Stated]) -> None:
        """`agent.update`: what an agent is working on. Ours states one context a clone, v0.1.0 one a session."""
        for stated in batch:
            for context in stated.event["work_contexts"]:
                slot = str(context.get("session_id") or "") if stated.source.is_legacy else ""
                order = _legacy_context_rank(stated, context) if stated.source.is_legacy else stated.rank
                document = json.dumps(context, sort_keys=True, ensure_ascii=False)
                self.sql.execute(_CONTEXT, (stated.event["agent_id"], stated.source.origin, slot, order, document))

    def _pairs(self, stated: Stated, kind: str, pairs: list[dict[str, str]] | None, present: int) -> None:
        event = stated.event
        if not pairs:
            return
        self.sql.executemany(
            _PAIR,
            [
                (event["session_id"], event["agent_id"], kind, pair["type"], pair["value"], stated.rank, present)
                for pair in pairs
            ],
        )


def _agent_row(stated: Stated) -> tuple[Any, ...]:
    event = stated.event
    return (
        event["agent_id"],
        event["kind"],
        event["role"],
        event["module"],
        event.get("display") or "",
        event.get("worktree") or "",
        stated.source.origin,
        event["timestamp"],
        stated.at,
        _incarnation(stated),
        _incarnation_rank(stated),
    )


def _incarnation(stated: Stated) -> int:
    """A registration's version; without one (v0.1.0) it is 0, and the clock is all there is."""
    return 0 if stated.source.is_legacy else int(stated.event.get("version") or 0)


def _incarnation_rank(stated: Stated) -> str:
    return rank(_incarnation(stated), stated.at, stated.claim)


def _legacy_context_rank(stated: Stated, context: dict[str, Any]) -> str:
    return rank(0, max(clock.instant(context.get("git_updated_at") or "") or 0, 0), stated.claim)
