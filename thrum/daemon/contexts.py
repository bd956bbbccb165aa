"""Keeps what agents work on fresh without being asked. git is looked at beside the worker, which has others to serve."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from thrum.daemon.worker import Worker
from thrum.engine import Claim, Engine
from thrum.git.place import Place, worktrees
from thrum.store import identities


async def refresh_online(worker: Worker, engine: Engine) -> None:
    """Looks at the worktrees whose agents are online. Raises ThrumError."""
    agents = (await worker.run(engine.call, "agent.list", {}, Claim()))["agents"]
    online = {agent["agent_id"] for agent in agents if agent["status"] == "online"}
    await _refresh(worker, engine, [p for p in worktrees(engine.place) if not online.isdisjoint(_agents(p))])


async def refresh_marked(worker: Worker, engine: Engine, git_dirs: Collection[str]) -> None:
    """Looks at the worktrees in whose git directories something happened. Raises ThrumError."""
    await _refresh(worker, engine, [place for place in worktrees(engine.place) if place.git_dir in git_dirs])


async def _refresh(worker: Worker, engine: Engine, wanted: list[Place]) -> None:
    if wanted:
        readings = await asyncio.to_thread(engine.read_contexts, wanted)
        await worker.run(engine.state_contexts, readings)


def _agents(place: Place) -> set[str]:
    folder = place.identities_dir
    return {identity.agent_id for identity in identities.present(folder)} if folder else set()
