"""Everything a call needs, built in one place: the store, the caller, the worktrees, the sync, the methods.

The command line runs an engine in its own process, the daemon keeps one warm; both run the same methods. An engine lives on
one thread, one call at a time.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from thrum import __version__
from thrum.caller import Claim, Home
from thrum.config import Settings
from thrum.core import clock, ids
from thrum.core.codec import Event
from thrum.errors import NotFound, ThrumError, UnknownMethod
from thrum.git.place import Place
from thrum.methods import registry
from thrum.methods.context import Context
from thrum.methods.notices import Herald, Notices
from thrum.methods.registry import Method
from thrum.past import Past
from thrum.store import disk, origin, schema
from thrum.store.arrivals import Arrivals, Cursor
from thrum.store.journal import Journal
from thrum.store.mailbox import Mailbox
from thrum.store.projection import NOTHING, News, Projection
from thrum.store.roster import Roster
from thrum.store.search import Search
from thrum.store.stage import Alone, Stage
from thrum.store.subscriptions import Subscriptions
from thrum.store.threads import Threads
from thrum.sync.door import Door
from thrum.workcontexts import Reading, WorkContexts

if TYPE_CHECKING:
    import sqlite3

Json = dict[str, Any]
T = TypeVar("T")


class Call(NamedTuple):
    """A method, its parameters, and who calls it."""

    method: str
    params: Json
    claim: Claim


class Engine:
    """The methods of one repository, ready to be called."""

    def __init__(self, place: Place, settings: Settings) -> None:
        """Opens the repository's store. Raises NotInitialised before `git thrum init`."""
        self.place, self.settings = place, settings
        self.origin = origin.load(place.sync_dir)
        self.listeners: list[Callable[[News], None]] = []
        self.journal = Journal(place.log_root, self.origin)
        self.projection = Projection(place.log_root, database_path(place), self.origin, self._bring_back)
        self._held: sqlite3.Connection | None = None
        connect = lambda: self._held or self.projection.connection  # noqa: E731
        self.mail, self.threads = Mailbox(connect), Threads(connect)
        self.roster = Roster(connect, lambda: self.projection.edition)
        self.arrivals = Arrivals(connect, lambda: self.projection.database.generation)
        self.search = Search(connect)
        self.subscriptions = Subscriptions(place.sync_dir)
        self._herald = Herald(self.arrivals, self.mail, self.threads, self.roster, self.subscriptions)
        self.methods = registry.load()
        self._ulids = ids.Ulids()
        self._started = time.monotonic()
        self._repository_id = ""
        self._statements = 0
        self._unshown: list[str] = []
        """Files whose last lines are durable, and acknowledged, but not in the read model yet."""
        self.is_daemon = False
        self.issue_token: Callable[[str], str] = lambda user_id: _make_token()
        """Makes the token `user.register` gives to a user; who honours tokens puts its own function here."""
        self.contexts = WorkContexts(place, self.origin, self.roster, self._ulids, self.state)
        self.sync = Door(place, settings, self.origin, self.projection.purges, self.catch_up, lambda: self.is_daemon)
        self._past = Past(place, self.projection)

    def close(self) -> None:
        """Lets go of the database and of the logs."""
        self.journal.close()
        self.projection.database.close()

    def catch_up(self) -> News:
        """Brings the read model up to the logs, and tells the listeners what was new."""
        self._unshown.clear()
        return self._tell(self.projection.catch_up())

    def look(self) -> None:
        """Catches up, unless a glance shows that there is nothing to catch up with."""
        self.settle()
        if not self.projection.is_current():
            self.catch_up()

    def serve(self) -> None:
        """From now on this is the daemon's engine: it keeps open and in mind what only pays where there are many calls."""
        self.is_daemon = self.journal.keeps_open = self.projection.glances = True

    def call(self, method: str, params: Json, claim: Claim, readings: list[Reading] | None = None) -> Any:
        """Runs a method for a caller. Raises ThrumError; parameters are checked before anything happens.

        `readings`: what `contexts` gave just now, for a method that `reads_git`; without them it reads for itself.
        """
        wanted = self._method(method)
        arguments = registry.bind(wanted, params)
        with disk.blamed():
            self.look()
            return self._answer(wanted, arguments, claim, readings)

    def call_at_once(self, method: str, params: Json, claim: Claim) -> Any | None:
        """As `call`, for a method that `reads_git`; None, and nothing has happened, when worktrees have to be read first."""
        readings = self.contexts.recall()
        return None if readings is None else self.call(method, params, claim, readings)

    def call_together(self, calls: Sequence[Call]) -> list[Any]:
        """Several calls of methods that join, with one flush for each log that they write; for each its result or its error.

        They are answered together: nobody is told of what is not durable, and none of them sees what another one states. That
        becomes visible with `settle`, or before the next call.
        """
        stage = Stage()
        with disk.blamed():
            self.look()
        found = [_attempt(self._call_on, stage, number, call) for number, call in enumerate(calls)]
        for caller, refusal in self._state_all(stage):
            found[caller] = refusal
        return [
            _attempt(self.call, *call) if isinstance(outcome, Alone) else outcome
            for call, outcome in zip(calls, found, strict=True)
        ]

    @property
    def is_settled(self) -> bool:
        """Whether all that was answered is visible."""
        return not self._unshown

    def settle(self) -> None:
        """Makes visible, then heard, what was stated by calls that are answered already."""
        paths, self._unshown = self._unshown, []
        if paths:
            self._show(paths)

    def poll(self, method: str, params: Json, claim: Claim) -> Any | None:
        """One look of a method that waits: None means nothing yet."""
        return self.call(method, params, claim)

    def poll_together(self, calls: Sequence[Call]) -> list[Any]:
        """One look for several who wait, and a single one for all who ask the same; for each what `poll` gives or raises."""
        with disk.blamed():
            self.look()
        questions = [repr(call) for call in calls]
        asked = dict(zip(questions, calls, strict=True))
        found = {question: _attempt(self._poll, call) for question, call in asked.items()}
        return [found[question] for question in questions]

    def index_some(self, method: str, params: Json) -> bool:
        """One step towards an index of all that can be searched; whether there is another one. Raises ThrumError.

        `method` and `params`: what it is for, which is looked at first.
        """
        registry.bind(self._method(method), params)
        with disk.blamed():
            self.look()
            return self.projection.answer(lambda: self._hold(self.search.index_some), lambda: True)

    def cursor(self) -> Cursor:
        """Where arrival stands now, for `notices`."""
        return self.arrivals.cursor()

    def cursor_since(self, known_id: str) -> Cursor:
        """Just behind a message, by its id or by the `event_id` a notice gave. Raises NotFound."""
        found = self.arrivals.cursor_at(known_id)
        if found is None:
            raise NotFound(f"nothing here has the id {known_id}", "begin without since, then look with message.list")
        return found

    def notices(self, agent_id: str, session_id: str, cursor: Cursor, *, catch_up: bool = True) -> Notices:
        """What arrived since `cursor` that an agent's session has subscribed to: some of it, if it is much.

        `catch_up` False: the caller has just done so itself, for many.
        """
        if catch_up:
            self.catch_up()
        return self.projection.answer(lambda: self._herald.notices(agent_id, session_id, cursor), lambda: True)

    def state(self, agent_id: str, stated: list[Event]) -> None:
        """Makes what an agent states durable, then visible, then heard."""
        self._statements += 1
        paths = self.journal.append(agent_id, *stated)
        if paths:
            self._show(paths)
        else:
            self.catch_up()

    def _poll(self, call: Call) -> Any:
        wanted = self._method(call.method)
        with disk.blamed():
            return self._answer(wanted, registry.bind(wanted, call.params), call.claim)

    def _answer(self, wanted: Method, arguments: Json, claim: Claim, readings: list[Reading] | None = None) -> Any:
        context, before = self._context(claim, readings), self._statements
        return self.projection.answer(
            lambda: self._hold(lambda: wanted.function(context, **arguments)), lambda: self._statements == before
        )

    def _call_on(self, stage: Stage, number: int, call: Call) -> Any:
        """A call that states on `stage` what it has to say."""
        wanted = self._method(call.method)
        arguments = registry.bind(wanted, call.params)
        context = self._context(call.claim, append=stage.append)

        def ask() -> Any:
            stage.begin()
            return wanted.function(context, **arguments)

        with disk.blamed():
            answer = self.projection.answer(lambda: self._hold(ask), lambda: True)
        stage.keep(number)
        return answer

    def _state_all(self, stage: Stage) -> Iterator[tuple[int, Exception]]:
        """Makes what is on the stage durable; gives the callers for whom that failed, and why."""
        paths, refusals = self.journal.append_all(stage.statements)
        self._unshown += paths
        for caller, refusal in zip(stage.callers, refusals, strict=True):
            if refusal is not None:
                yield caller, refusal

    def _show(self, paths: list[str]) -> None:
        """What was just appended to these files becomes visible, then heard."""
        with disk.blamed():
            self._tell(self.projection.take(paths))

    def _method(self, name: str) -> Method:
        wanted = self.methods.get(name)
        if wanted is None:
            raise UnknownMethod(f"there is no method {name}", "docs/reference/rpc.md lists them")
        return wanted

    def repository_id(self) -> str:
        """A name for the repository that its clones share: from the remote's address, else this clone's origin."""
        if not self._repository_id:
            self._repository_id = _repository_id(self.place, self.settings) or f"r_{self.origin.upper()}"
        return self._repository_id

    def _hold(self, ask: Callable[[], T]) -> T:
        """What `ask` gives, all from one database, which was looked after just before."""
        self._held = self.projection.database.connection
        try:
            return ask()
        finally:
            self._held = None

    def _tell(self, found: News) -> News:
        if self._held is not None:
            self._held = self.projection.database.connection
        if found is not NOTHING and found.events:
            for listener in self.listeners:
                listener(found)
        return found

    def _bring_back(self) -> None:
        """Fills the logs up from the branch, as far as it can be read: somebody cut or deleted what was there."""
        from thrum.git import branch
        from thrum.git.objects import open_objects
        from thrum.sync import files

        with contextlib.suppress(ThrumError):
            objects = open_objects(self.place.common_dir)
            try:
                tip = objects.head(branch.REF)
                if tip is not None:
                    files.refill(self.place.log_root, objects, objects.tree_of(tip), self.projection.purges.all())
            finally:
                objects.close()

    def _context(
        self,
        claim: Claim,
        readings: list[Reading] | None = None,
        append: Callable[[str, list[Event]], None] | None = None,
    ) -> Context:
        home = Home(claim, self.place, self.roster, self.repository_id)
        refreshed: list[bool] = []

        def refresh() -> None:
            if not refreshed:
                refreshed.append(True)
                self.contexts.state_all(self.contexts.read() if readings is None else readings)

        return Context(
            identify=home.identify,
            home=home,
            now=time.time_ns,
            randomness=os.urandom,
            ulids=self._ulids,
            append=append or self.state,
            mail=self.mail,
            threads=self.threads,
            arrivals=self.arrivals,
            search=self.search,
            subscriptions=self.subscriptions,
            roster=self.roster,
            sync=self.sync,
            past=self._past,
            refresh_contexts=refresh,
            origin=self.origin,
            online_window=int(self.settings.online_window * clock.SECOND),
            uptime=lambda: time.monotonic() - self._started,
            version=__version__,
            issue_token=self.issue_token,
        )


def _attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """What `call` gives or raises."""
    try:
        return call(*arguments)
    except Exception as error:
        return error


def database_path(place: Place) -> str:
    """The read model's file."""
    return schema.database_in(place.var_dir)


def _make_token() -> str:
    """A token that nobody guesses: `tok_` and 130 random bits."""
    return "tok_" + ids.encode_bits(int.from_bytes(os.urandom(17), "big"), 26)


def _repository_id(place: Place, settings: Settings) -> str:
    from thrum.git import remote

    try:
        name = remote.pick(place, settings.remote)
        return ids.repository_id(remote.url(place, name)) if name else ""
    except (ValueError, ThrumError):
        return ""
