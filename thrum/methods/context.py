"""What a method may use: the caller, the clock, fresh ids, the journal, and what there is to ask. All of it is handed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from thrum.core import clock, ids
from thrum.core.codec import Event
from thrum.core.identity import Identity
from thrum.errors import BadParams, NoIdentity, NoSession, NotFound

if TYPE_CHECKING:
    from thrum.store.arrivals import Arrivals
    from thrum.store.mailbox import Mailbox
    from thrum.store.purges import Survey
    from thrum.store.roster import Roster
    from thrum.store.search import Search
    from thrum.store.subscriptions import Subscriptions
    from thrum.store.threads import Threads

Json = dict[str, Any]
_SHORTEST_ID = len("msg_") + 4


class SyncDoor(Protocol):
    """What methods may ask of the sync."""

    def status(self) -> Json:
        """`{running, last_sync_at, last_error?, sync_state, remote, ...}`."""

    def force(self) -> Json:
        """One cycle, now: `{ok, error, received, pushed, remote}`."""

    def reached(self, places: list[tuple[str, int]]) -> list[bool]:
        """For each (log file, offset): whether the remote was seen to have the log up to there."""


class Past(Protocol):
    """What methods may ask of all that was ever said."""

    def survey(self, horizon: int) -> Survey:
        """What would go if everything before `horizon` (nanoseconds) went."""

    def roots(self) -> list[str]:
        """The first commits of the branch's history as it is now."""


class Home(Protocol):
    """The caller's worktree, where identities live; methods neither know nor care where that is."""

    @property
    def worktree(self) -> str:
        """The worktree's name, "" if unknown."""

    @property
    def repository_id(self) -> str:
        """A name for the repository that all its clones share."""

    def identities(self) -> list[Identity]:
        """Who works in this worktree."""

    def elsewhere(self, agent_id: str) -> str:
        """The other worktree of this clone that has an identity of that name, "" if none has."""

    def forget(self, agent_id: str) -> None:
        """Takes the identity files of that name away, in every worktree of this clone."""

    def settled(self) -> set[str]:
        """The agents of which a worktree of this clone has an identity file."""

    def worktrees(self) -> dict[str, str]:
        """This clone's worktrees, `{name: path}`; the path is "" of those that git keeps though they are not there now."""

    def branches(self) -> set[str]:
        """The names of this clone's branches."""

    def git_user(self) -> tuple[str, str]:
        """git's `user.name` and `user.email` here; "" where it has none."""

    def save(self, identity: Identity, updated_at: str) -> bool:
        """Makes `identity` one of this worktree; False when the worktree is unknown."""


@dataclass(frozen=True, slots=True)
class Context:
    """One call's surroundings."""

    identify: Callable[[], Identity]
    home: Home
    now: Callable[[], int]
    randomness: Callable[[int], bytes]
    ulids: ids.Ulids
    append: Callable[[str, list[Event]], None]
    mail: Mailbox
    threads: Threads
    arrivals: Arrivals
    search: Search
    subscriptions: Subscriptions
    roster: Roster
    sync: SyncDoor
    past: Past
    refresh_contexts: Callable[[], None]
    origin: str
    online_window: int
    uptime: Callable[[], float]
    version: str
    issue_token: Callable[[str], str]

    def me(self) -> str:
        """The caller's agent id. Raises NoIdentity, Contradiction; NotFound when nobody registered it."""
        agent_id = self.identify().agent_id
        if self.roster.registered(agent_id) is None:
            raise NotFound(
                f"{agent_id} is not registered",
                f"git thrum agent register --name {agent_id} --role ROLE --module MODULE",
            )
        return agent_id

    def me_or_nobody(self) -> str:
        """The caller's agent id, "" when there is none; for questions that need no caller."""
        try:
            return self.identify().agent_id
        except NoIdentity:
            return ""

    def session(self) -> Json:
        """The caller's open session, of this clone if it has one here. Raises NoSession."""
        me = self.me()
        found = self.roster.open_session(me, self.origin) or self.roster.open_session(me)
        if found is None:
            raise NoSession(f"{me} has no open session", "git thrum session start")
        return found

    def is_session_over(self, session_id: str) -> bool:
        """Whether a session has ended, or never was."""
        session = self.roster.session(session_id)
        return session is None or session["ended_at"] is not None

    def new_id(self, prefix: str, instant: int) -> str:
        """A fresh id, e.g. `msg_…`."""
        return f"{prefix}_{self.ulids.next(instant, self.randomness(10))}"

    def event(self, kind: str, instant: int, /, **fields: Any) -> Event:
        """An event of type `kind`; fields that are None, "" or empty lists are left out."""
        kept = {name: value for name, value in fields.items() if value not in (None, "", [])}
        stamp = clock.text(instant)
        return {"type": kind, "timestamp": stamp, "event_id": self.new_id("evt", instant), **kept}

    def message_id(self, given: str) -> str:
        """The id of the one message whose id begins with `given` (`msg_` may be left out).

        Raises NotFound; BadParams when several begin so, or `given` is too short to mean one.
        """
        given = given if given.startswith("msg_") else f"msg_{given}"
        found = self.mail.find_id(given)
        if found != [given] and len(given) < _SHORTEST_ID:
            raise BadParams(f"{given} is too short to mean a message", "give at least four characters after msg_")
        if not found:
            raise NotFound(f"there is no message {given}", "git thrum inbox --all lists what there is")
        if len(found) > 1:
            raise BadParams(f"{given} is the beginning of several ids: {', '.join(found[:3])}…", "give more of it")
        return found[0]

    def thread_id(self, given: str) -> str:
        """The id of the one thread whose id begins with `given` (`thr_` may be left out).

        Raises NotFound; BadParams when several begin so, or `given` is too short to mean one.
        """
        given = given if given.startswith("thr_") or self.threads.find_id(given) == [given] else f"thr_{given}"
        found = self.threads.find_id(given)
        if found != [given] and len(given) < _SHORTEST_ID:
            raise BadParams(f"{given} is too short to mean a thread", "give at least four characters after thr_")
        if not found:
            raise NotFound(
                f"there is no thread {given}", "git thrum thread list; git thrum reply MESSAGE TEXT starts one"
            )
        if len(found) > 1:
            raise BadParams(f"{given} is the beginning of several ids: {', '.join(found[:3])}…", "give more of it")
        return found[0]

    def agent_id(self, word: str) -> str:
        """The one agent meant by a name, or by a role that only one has. Raises NotFound, BadParams."""
        word = word.removeprefix("@")
        known = self.roster.known()
        found = [a.agent_id for a in known if a.agent_id == word] or [a.agent_id for a in known if a.role == word]
        if not found:
            raise NotFound(f"nobody is called {word}", "git thrum agent list")
        if len(found) > 1:
            raise BadParams(f"several agents are {word}: {', '.join(sorted(found))}", "name one of them")
        return found[0]
