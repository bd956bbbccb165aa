"""What the doctor looks at: one function a check, each telling what it saw and what would help."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from typing import Any, NamedTuple

from thrum import __version__
from thrum.cli import chains, strangers
from thrum.config import Settings
from thrum.engine import Engine, database_path
from thrum.errors import ThrumError
from thrum.git import branch, hooks, worktree
from thrum.git.command import version
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place, worktrees
from thrum.store import identities, proof
from thrum.sync import files, state

Json = dict[str, Any]
_SHOWN = 5


class Check(NamedTuple):
    """What one look showed. `fix` with `ok`: not wrong, but worth knowing."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


class Patient(NamedTuple):
    """What the checks look at."""

    place: Place
    settings: Settings
    engine: Engine
    objects: Objects


def examine(place: Place, settings: Settings, heal: bool) -> list[Check]:
    """Every check, in order; with `heal` what can be healed without a decision is healed first."""
    engine, objects = Engine(place, settings), open_objects(place.common_dir)
    patient = Patient(place, settings, engine, objects)
    try:
        healed = _heal(patient) if heal else []
        return [*healed, *(_guarded(name, check, patient) for name, check in CHECKS.items())]
    finally:
        objects.close()
        engine.close()


def _guarded(name: str, check: Callable[[Patient], tuple[bool, str, str]], patient: Patient) -> Check:
    try:
        return Check(name, *check(patient))
    except ThrumError as error:
        return Check(name, False, str(error), error.hint)
    except OSError as error:
        return Check(name, False, f"{error.filename}: {error.strerror}", "check the disk and who owns the file")


def _heal(patient: Patient) -> list[Check]:
    """What `init` would make sure of; one line for each thing that needed it."""
    place, objects = patient.place, patient.objects
    done = []
    if objects.head(branch.REF) is None:
        branch.ensure(objects, place, None)
        done.append("began the branch a-sync again")
    done += worktree.ensure(place)
    tree = objects.tree_of(branch.ensure(objects, place, None))
    refilled = files.refill(place.log_root, objects, tree)
    if refilled:
        done.append(f"brought {refilled} logs back from the branch")
    if done:
        worktree.follow(place, objects, tree, None)
    if proof.check(place.log_root, database_path(place), patient.engine.origin):
        patient.engine.projection.rebuild()
        done.append("built the read model anew")
    return [Check("healed", True, sentence) for sentence in done]


def _repository(patient: Patient) -> tuple[bool, str, str]:
    place, numbers = patient.place, version()
    told = (
        f"{place.main_worktree or place.common_dir}, origin {patient.engine.origin}, git {'.'.join(map(str, numbers))}"
    )
    if numbers < (2, 30, 0):
        return False, told, "install git 2.30 or later"
    return True, told, ""


def _branch(patient: Patient) -> tuple[bool, str, str]:
    tip = patient.objects.head(branch.REF)
    if tip is None:
        return False, "there is no branch a-sync, or its commit is damaged", "git thrum doctor --fix"
    return True, f"a-sync is at {tip[:10]}", ""


def _worktree(patient: Patient) -> tuple[bool, str, str]:
    place = patient.place
    metadata = _line(os.path.join(place.log_root, ".git")).removeprefix("gitdir: ")
    head = _line(os.path.join(metadata, "HEAD")) if metadata else ""
    back = _line(os.path.join(metadata, "gitdir")) if metadata else ""
    if not os.path.isdir(place.log_root):
        return False, f"{place.log_root} is missing", "git thrum doctor --fix"
    if head != worktree.HEAD.strip() or back != os.path.join(place.log_root, ".git"):
        return False, f"{place.log_root} and git have lost each other", "git thrum doctor --fix"
    return True, place.log_root, ""


def _logs(patient: Patient) -> tuple[bool, str, str]:
    """Lines set aside, gaps in a log, logs the branch has and the disk has not, ends that were cut off."""
    place, engine = patient.place, patient.engine
    engine.catch_up()
    bad = [f"{b['path']} at byte {b['offset']}: {b['reason']}" for b in engine.mail.bad_lines()]
    behind = _behind(patient)
    wrong = [*bad, *chains.broken(place.log_root), *behind]
    torn = _quarantined(place)
    note = f"{len(torn)} unfinished lines are kept in {place.sync_dir}/quarantine" if torn else ""
    if wrong:
        fix = "git thrum doctor --fix" if behind else "nothing else is lost; `git log a-sync` may have the lines"
        return False, "; ".join(filter(None, [_some(wrong), note])), fix
    return True, note or "whole", "they were never acknowledged, and may be removed" if torn else ""


def _behind(patient: Patient) -> list[str]:
    tip = patient.objects.head(branch.REF)
    found = []
    for path, entry in branch.walk(patient.objects, patient.objects.tree_of(tip)) if tip else ():
        source = files.is_readable(patient.objects, path, entry)
        if source is not None and _size(f"{patient.place.log_root}/{path}") < patient.objects.blob_size(entry.oid):
            found.append(f"{path} lacks lines that the branch has")
    return found


def _projection(patient: Patient) -> tuple[bool, str, str]:
    differences = proof.check(patient.place.log_root, database_path(patient.place), patient.engine.origin)
    if differences:
        return False, _some(differences), "git thrum rebuild"
    return True, "says what the logs say", ""


def _hooks(patient: Patient) -> tuple[bool, str, str]:
    states = hooks.status(patient.place)
    others = hooks.who_else(patient.place)
    more = f"; {', '.join(others)} hooked in as well" if others else ""
    if all(state.how == "missing" for state in states) and not hooks.were_installed(patient.place):
        why = states[0].note or "what you do is noticed later"
        return True, f"not installed: {why}{more}", hooks.remedy(states)
    odd = [f"{state.event}: {state.note or 'not installed'}" for state in states if state.fix]
    return not odd, ("; ".join(odd) or "installed") + more, hooks.remedy(states)


def _daemon(patient: Patient) -> tuple[bool, str, str]:
    from thrum.daemon import lifecycle, ownership

    found = lifecycle.status(patient.place)
    if not found["running"]:
        stale = [path for path in (patient.place.socket, ownership.pid_path(patient.place)) if os.path.lexists(path)]
        left = f"; left behind by a dead one: {', '.join(map(os.path.basename, stale))}" if stale else ""
        return True, f"not running{left}", "git thrum daemon start"
    if found["status"] != "running":
        return False, f"{found['status']}: {found.get('error', '')}", "git thrum daemon restart"
    if found.get("version") != __version__:
        return False, f"it is git thrum {found.get('version')}, and this is {__version__}", "git thrum daemon restart"
    return True, f"running (pid {found['pid']})", ""


def _socket(patient: Patient) -> tuple[bool, str, str]:
    path = patient.place.socket
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True, f"none at {path}", ""
    if not stat.S_ISSOCK(found.st_mode):
        return False, f"{path} is no socket", "move it away"
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        return False, f"{path} is open to others", "git thrum daemon restart"
    return True, path, ""


def _identities(patient: Patient) -> tuple[bool, str, str]:
    broken, names = [], []
    for place in worktrees(patient.place):
        folder = place.identities_dir or ""
        broken += [os.path.join(folder, name) for name in identities.broken(folder)]
        names += [f"{identity.agent_id} in {place.name}" for identity in identities.present(folder)]
    if broken:
        return False, f"no identity files: {_some(broken)}", "remove them, then git thrum quickstart"
    return True, _some(names) or "nobody yet", "" if names else "git thrum quickstart --role ROLE --module MODULE"


def _remote(patient: Patient) -> tuple[bool, str, str]:
    known = state.load(patient.place.sync_dir)
    settings, place = patient.settings, patient.place
    told = state.describe(known, place.log_root, patient.engine.origin, enabled=settings.sync, running=False)
    if told.get("last_error"):
        return False, f"the last sync failed: {told['last_error']}", told.get("hint") or "git thrum sync force"
    words = {
        "off": "sync is switched off",
        "no_remote": "there is no remote",
        "idle": "not synced yet",
        "pending": f"{told.get('pending', 0)} events wait for the next sync",
    }
    fix = "git thrum sync force" if told["sync_state"] in ("idle", "pending") else ""
    return True, words.get(told["sync_state"], f"synced with {told.get('remote')}"), fix


def _other_thrum(patient: Patient) -> tuple[bool, str, str]:
    path = shutil.which("thrum")
    if path is None:
        return True, "none on the PATH", ""
    with open(path, "rb") as file:
        head = file.read(4)
    if head[:2] != b"#!":
        return True, f"{path} is another program of that name", "write `git thrum`, so that this one is meant"
    return True, path, ""


def _quarantined(place: Place) -> list[str]:
    folder = os.path.join(place.sync_dir, "quarantine")
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _some(items: list[str]) -> str:
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more


def _size(path: str) -> int:
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return -1


def _line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(1 << 16)).strip()
    except OSError:
        return ""


CHECKS: dict[str, Callable[[Patient], tuple[bool, str, str]]] = {
    "repository": _repository,
    "branch": _branch,
    "worktree": _worktree,
    "logs": _logs,
    "projection": _projection,
    "hooks": _hooks,
    "daemon": _daemon,
    "socket": _socket,
    "identities": _identities,
    "remote": _remote,
    "voices": strangers.check_voices,
    "doors": strangers.check_doors,
    "thrum": _other_thrum,
}
"""Every check, by name."""
