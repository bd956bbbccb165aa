"""What the doctor looks at: one function a check, each telling what it saw, what would help, and what `--fix` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from thrum.cli.checks import logs, people, running, strangers
from thrum.cli.checks.patient import UNSEEN, Finding, Look, Patient, bad, well
from thrum.config import Settings
from thrum.errors import NotInitialised, ThrumError
from thrum.git.place import Place

Json = dict[str, Any]

CHECKS: dict[str, Look] = {
    "repository": logs.repository,
    "settings": people.settings,
    "branch": logs.branch_,
    "worktree": logs.worktree_,
    "logs": logs.logs,
    "projection": logs.projection,
    "hooks": people.hooks_,
    "daemon": running.daemon,
    "socket": running.socket,
    "port": running.port,
    "identities": people.identities_,
    "remote": people.remote_,
    "voices": strangers.voices_,
    "doors": strangers.doors,
    "thrum": people.programs,
    "leftovers": running.leftovers,
}
"""Every check, by name, in the order in which one may need another healed first."""
NEEDS_HOUSE = frozenset({"branch", "worktree", "logs", "projection", "identities", "remote", "voices"})
"""Checks that have nothing to look at before `git thrum init`."""


class Check(NamedTuple):
    """What one look showed, and what was healed before it. `fix`: a command; `heals`: what `--fix` would do."""

    name: str
    ok: bool
    detail: str
    fix: str = ""
    heals: str = ""
    healed: tuple[str, ...] = ()

    def as_json(self) -> Json:
        """The check as `--json` prints it."""
        return {**self._asdict(), "healed": list(self.healed)}


def examine(place: Place, settings: Settings, heal: bool) -> list[Check]:
    """Every check, in order, whatever is broken; with `heal` what can be healed without a decision is healed."""
    patient = Patient(place, settings)
    try:
        return [_check(name, look, patient, heal) for name, look in CHECKS.items()]
    finally:
        patient.close()


def _check(name: str, look: Look, patient: Patient, heal: bool) -> Check:
    if name in NEEDS_HOUSE and not patient.place.is_initialised:
        return Check(name, True, f"{UNSEEN}: thrum is not set up here")
    found, healed = _guarded(lambda: look(patient)), list[str]()
    if heal and found.heal is not None:
        found, healed = _healed(found, found.heal, look, patient)
    return Check(name, found.is_well, found.detail, found.fix, found.heals, tuple(healed))


def _healed(found: Finding, heal: Callable[[], list[str]], look: Look, patient: Patient) -> tuple[Finding, list[str]]:
    """What a second look shows after healing, and what was done; the first one and why, when it cannot be healed."""
    done = list[str]()

    def heal_and_look() -> Finding:
        done.extend(heal())
        patient.close()
        return look(patient)

    after = _guarded(heal_and_look)
    if not done and not after.is_well:
        return found._replace(is_well=False, detail=f"{found.detail}; it could not be healed: {after.detail}"), done
    return after, done


def _guarded(look: Callable[[], Finding]) -> Finding:
    """What a look shows; also what keeps it from looking, be it ours."""
    try:
        return look()
    except NotInitialised as error:
        return bad(str(error), "git thrum init")
    except ThrumError as error:
        return bad(f"{error}; {error.hint}" if error.hint else str(error))
    except OSError as error:
        return bad(f"{error.filename or 'the disk'}: {error.strerror or error}; check the disk and who owns it")
    except Exception as error:
        return bad(f"this check failed: {type(error).__name__}: {error}; please report it")


__all__ = ["CHECKS", "Check", "Finding", "Patient", "bad", "examine", "well"]
