"""The whole program in this process, for whoever no daemon answers (`thrum.door`)."""

from __future__ import annotations

import sys

from thrum.door import connect

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from thrum.caller import Claim
    from thrum.cli.plan import Plan
    from thrum.config import Settings
    from thrum.git.place import Place

interrupts: list[int] = []
"""The interrupts this process was sent. The exception alone can get lost: Python ignores what a destructor raises."""
_POLL = 0.1
_CYCLE = 5.0


class InProcess:
    """The whole program on one repository, in this process."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        claim: Claim,
        began: float,
        is_unwanted: Callable[[], bool] = lambda: bool(interrupts),
    ) -> None:
        """`began`: when the command started (monotonic), so that a wait ends when it was to end.

        `is_unwanted` is asked between two looks of a wait; when it says so, the wait ends as by an interrupt.
        """
        from thrum.engine import Engine

        self._engine = Engine(place, settings)
        self._claim, self._began, self._is_unwanted = claim, began, is_unwanted

    def close(self) -> None:
        """Lets go of everything."""
        self._engine.close()

    def run(self, plan: Plan) -> Any:
        """Makes the plan's calls; its result. Raises ThrumError."""
        from thrum.errors import ThrumError

        steps = plan.steps()
        try:
            step = next(steps)
            while True:
                try:
                    answer = self.call(*step)
                except ThrumError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """One call. Raises ThrumError."""
        if self._engine.methods[method].waits:
            return self._wait(method, params)
        return self._engine.call(method, params, self._claim)

    def _wait(self, method: str, params: dict[str, Any]) -> Any:
        """Looks again and again; somebody else's mail comes in by a cycle of the sync now and then."""
        import time

        end = self._began + float(params.get("timeout", 30.0))
        cycles = _Cycles(self._engine)
        while True:
            if self._is_unwanted():
                raise KeyboardInterrupt
            found = self._engine.poll(method, params, self._claim)
            left = end - time.monotonic()
            if found is not None or left <= 0:
                return found or {"status": "timeout"}
            cycles.keep_going()
            time.sleep(min(_POLL, left))


class _Cycles:
    """The sync while somebody waits and no daemon does it: a cycle every few seconds, beside the waiting."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._thread: Any = None
        self._next = 0.0
        self._is_wanted = self._has_remote() and connect(engine.place.socket) is None

    def keep_going(self) -> None:
        """Starts a cycle when one is due."""
        import threading
        import time

        is_busy = self._thread is not None and self._thread.is_alive()
        if self._is_wanted and not is_busy and time.monotonic() >= self._next:
            self._next = time.monotonic() + min(self._engine.settings.interval, _CYCLE)
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def _run(self) -> None:
        from thrum.errors import ThrumError
        from thrum.sync.cycle import Cycle

        engine = self._engine
        try:
            Cycle(engine.place, engine.settings, engine.origin, lambda: None).run()
        except ThrumError:
            return  # it is told by `sync status`, and tried again

    def _has_remote(self) -> bool:
        from thrum.errors import ThrumError
        from thrum.git import remote

        engine = self._engine
        try:
            return engine.settings.sync and remote.pick(engine.place, engine.settings.remote) is not None
        except ThrumError:
            return False


def spoken() -> bytes:
    """Standard input to its end."""
    return sys.stdin.buffer.read() if sys.stdin is not None else b""
