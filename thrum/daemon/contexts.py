"""Keeps what agents work on fresh without being asked. git is looked at beside the worker, which has others to serve.

Who asks gets what is known while no file on disk speaks against it, else what git says now. Never what may have become wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence

from thrum.caller import Claim
from thrum.core import clock
from thrum.daemon.tasks import Tasks, guarded, in_thread
from thrum.daemon.worker import Worker
from thrum.engine import Engine
from thrum.git import context
from thrum.git.context import Context
from thrum.git.memory import Memory
from thrum.git.place import Place, worktrees
from thrum.workcontexts import agents_of

REST = clock.SETTLED / clock.SECOND + 0.2
"""Seconds from a look that had to ask git to one that is kept in mind: what changed just before the look is settled by then."""


class Contexts:
    """What the daemon knows of the worktrees it was asked about."""

    def __init__(self, tasks: Tasks, rest: float = REST) -> None:
        """On the event loop, on which `tasks` run."""
        self._loop, self._tasks, self._rest = asyncio.get_running_loop(), tasks, rest
        self._memory = Memory()
        self._due: set[Place] = set()

    def glance(self, places: Sequence[Place]) -> Sequence[Context] | None:
        """What `look` would give of each, if that takes no more than a moment; else None."""
        return self._memory.glance(places)

    def look(self, place: Place) -> Context:
        """The context of a worktree now. On any thread. Raises GitError."""
        found = self._memory.recall(place)
        if found is None:
            found = context.read(place)
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._plan, place)
        return found

    def _plan(self, place: Place) -> None:
        if place not in self._due:
            self._due.add(place)
            self._tasks.begin(guarded(lambda: self._learn(place)))

    async def _learn(self, place: Place) -> None:
        try:
            await asyncio.sleep(self._rest)
            await in_thread(self._memory.learn, place)
        finally:
            self._due.discard(place)


async def refresh_online(worker: Worker, engine: Engine) -> None:
    """Looks at the worktrees whose agents are online. Raises ThrumError."""
    agents = (await worker.run(engine.call, "agent.list", {}, Claim()))["agents"]
    online = {agent["agent_id"] for agent in agents if agent["status"] == "online"}
    await _refresh(worker, engine, [p for p in worktrees(engine.place) if not online.isdisjoint(agents_of(p))])


async def refresh_marked(worker: Worker, engine: Engine, git_dirs: Collection[str]) -> None:
    """Looks at the worktrees in whose git directories something happened. Raises ThrumError."""
    await _refresh(worker, engine, [place for place in worktrees(engine.place) if place.git_dir in git_dirs])


async def _refresh(worker: Worker, engine: Engine, wanted: list[Place]) -> None:
    if wanted:
        readings = await asyncio.to_thread(engine.contexts.read, wanted)
        await worker.run(engine.contexts.state, readings)
