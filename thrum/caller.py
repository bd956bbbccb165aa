"""Who calls: what a caller says of itself, and the worktree it calls from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from thrum.core.codec import settled_text
from thrum.core.identity import Identity
from thrum.errors import Contradiction, NoIdentity
from thrum.git import place as places
from thrum.git.place import Place
from thrum.store import identities
from thrum.store.roster import Roster


class Claim(NamedTuple):
    """Who a caller says it is: its directory, its flags, its THRUM_ variables, or (v0.1.0) an agent's id.

    `place` is what holds the directory, where somebody has just looked.
    """

    cwd: str = ""
    name: str = ""
    role: str = ""
    module: str = ""
    environ: Mapping[str, str] = {}
    agent_id: str = ""
    place: Place | None = None


class Home:
    """The caller's worktree, as methods may ask of it."""

    def __init__(self, claim: Claim, repository: Place, roster: Roster, repository_id: Callable[[], str]) -> None:
        """`repository`: where the engine works. Raises Contradiction for a caller from another one."""
        self._claim, self._repository, self._roster, self._repository_id = claim, repository, roster, repository_id
        self._place = self._own(claim.place or places.find(claim.cwd), claim.cwd) if claim.cwd else None

    @property
    def worktree(self) -> str:
        return self._place.name if self._place and self._place.worktree else ""

    @property
    def repository_id(self) -> str:
        return self._repository_id()

    def identify(self) -> Identity:
        claim = self._claim
        if claim.agent_id:
            known = self._roster.registered(claim.agent_id)
            role, module, display = (known[key] if known else "" for key in ("role", "module", "display"))
            return Identity(claim.agent_id, role, module, display, "caller")
        if self._place is None:
            raise NoIdentity("the request does not say who is asking", "send `caller` with `cwd`, or `caller_agent_id`")
        flagged = claim.name or claim.role or claim.module
        flags = identities.Wanted(claim.name, claim.role, claim.module, "flags" if flagged else "")
        return identities.choose(self._place.identities_dir, flags, claim.environ)

    def identities(self) -> list[Identity]:
        folder = self._place.identities_dir if self._place else None
        return identities.present(folder) if folder else []

    def elsewhere(self, agent_id: str) -> str:
        for other in places.worktrees(self._repository):
            if self._place is not None and other.worktree == self._place.worktree:
                continue
            if any(identity.agent_id == agent_id for identity in identities.present(other.identities_dir or "")):
                return other.name if self._place is not None else ""
        return ""

    def forget(self, agent_id: str) -> None:
        for folder in self._identity_folders():
            identities.remove(folder, agent_id)

    def settled(self) -> set[str]:
        return {one.agent_id for folder in self._identity_folders() for one in identities.present(folder)}

    def worktrees(self) -> dict[str, str]:
        place = self._repository
        there = {found.name: found.worktree or "" for found in places.worktrees(place)}
        return dict.fromkeys(places.locked_away(place), "") | there

    def branches(self) -> set[str]:
        from thrum.git import context

        return context.branches(self._repository)

    def git_user(self) -> tuple[str, str]:
        from thrum.git.command import run

        place = self._place or self._repository
        asked = (
            run(["config", "--get", f"user.{key}"], place.worktree or place.git_dir, check=False, plain=True)
            for key in ("name", "email")
        )
        name, email = (settled_text(answer.out.decode("utf-8", "replace").strip()) for answer in asked)
        return name, email

    def save(self, identity: Identity, updated_at: str) -> bool:
        folder = self._place.identities_dir if self._place else None
        if folder is None:
            return False
        identities.save(folder, identity, self.worktree, updated_at)
        return True

    def _identity_folders(self) -> list[str]:
        found = (place.identities_dir for place in places.worktrees(self._repository))
        return [folder for folder in found if folder]

    def _own(self, found: Place, cwd: str) -> Place:
        if found.common_dir != self._repository.common_dir:
            raise Contradiction(
                f"{cwd} is in another repository than {self._repository.name}", "run it there, or pass --repo"
            )
        return found
