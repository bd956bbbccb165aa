"""Who works here and with what: identities, hooks and whoever else hooks in, the remote, programs of our name."""

from __future__ import annotations

import os
import shutil
import time

from thrum.cli.checks.patient import Finding, Patient, bad, moved_away, some, well
from thrum.cli.plan import Style
from thrum.cli.text import count, when
from thrum.errors import ThrumError
from thrum.git import hooks, neighbours, remote
from thrum.git.command import run
from thrum.git.place import worktrees
from thrum.store import identities
from thrum.sync import permission, state

_SCOPES = ("local", "global", "system", "worktree")
_EXPOSURE = {"private": "closed to strangers", "allowed": "perhaps open to strangers, which thrum.allowPublic allows"}
_SYNC = {
    "off": "sync is switched off (thrum.sync is false)",
    "no_remote": "there is no remote, everything stays on this machine",
    "idle": "not synced yet",
}


def hooks_(patient: Patient) -> Finding:
    """Ours, and who else hooks in."""
    states = hooks.status(patient.place)
    others = [*hooks.who_else(patient.place), *neighbours.present(patient.place)]
    beside = f"; beside us: {', '.join(dict.fromkeys(others))}" if others else ""
    if all(state.how == "missing" for state in states) and not hooks.were_installed(patient.place):
        why = states[0].note or "what you do is noticed later"
        return well(f"not installed: {why}{beside}", hooks.remedy(states))
    odd = [f"{state.event}: {state.note or 'not installed'}" for state in states if state.fix or state.how == "foreign"]
    if odd:
        return bad("; ".join(odd) + beside, hooks.remedy(states))
    notes = "; ".join(state.note for state in states if state.note)
    return well((notes or "installed") + beside)


def identities_(patient: Patient) -> Finding:
    """Every worktree's identity files can be read."""
    broken, names = [], []
    for place in worktrees(patient.place):
        folder = place.identities_dir or ""
        broken += [os.path.join(folder, name) for name in identities.broken(folder)]
        names += [f"{identity.agent_id} in {place.name}" for identity in identities.present(folder)]
    if broken:
        return bad(f"cannot be read as identities: {some(broken)}", " && ".join(map(moved_away, broken)))
    return well(some(names) or "nobody yet", "" if names else "git thrum quickstart --role implementer --module main")


def remote_(patient: Patient) -> Finding:
    """The last sync, whether it worked, and what waits."""
    known, place, settings = state.load(patient.place.sync_dir), patient.place, patient.settings
    told = state.describe(known, place.log_root, patient.origin, enabled=settings.sync, running=False)
    last = f", last synced {_ago(told['last_sync_at'])}" if told.get("last_sync_at") else ""
    if told["sync_state"] == "off":
        return well(_SYNC["off"])
    name = remote.pick(place, settings.remote)
    where = f"{name} ({remote.url(place, name)})" if name else _SYNC["no_remote"]
    if name and told.get("last_error"):
        hint = f"; {told['hint']}" if told.get("hint") else ""
        return bad(f"{where}: the last sync failed: {told['last_error']}{last}{hint}")
    waits = f"{count(told['pending'], 'event')} to push" if name and told.get("pending") else ""
    first = where if last or not name else f"{where}: not synced yet"
    detail = ", ".join(filter(None, [first, _EXPOSURE.get(permission.answer(known), "") if name else "", waits])) + last
    return well(detail, "git thrum sync force" if name and (waits or not last) else "")


def _ago(written: str) -> str:
    return when(written, Style(now=time.time_ns()))


def programs(patient: Patient) -> Finding:
    """Which `git thrum` and which `thrum` a shell finds."""
    ours, path = shutil.which("git-thrum"), shutil.which("thrum")
    told = f"git thrum is {ours}" if ours else "git-thrum is not on the PATH: git does not find it"
    if path is None:
        return well(told)
    with open(path, "rb") as file:
        is_script = file.read(2) == b"#!"
    if not is_script:
        return well(f"{told}; {path} is another program of that name: write `git thrum`, so that this one is meant")
    return well(f"{told}; thrum is {path}")


def settings(patient: Patient) -> Finding:
    """Every setting makes sense."""
    from thrum.cli.console import settings_of

    try:
        settings_of(patient.place)
    except ThrumError as error:
        key = str(error).split()[0]
        return bad(f"{error}; {error.hint}; until then the defaults count", _unset(patient, key))
    return well("make sense")


def _unset(patient: Patient, key: str) -> str:
    """The command that takes a setting away where it was made."""
    if key.isupper():
        return f"unset {key}"
    cwd = patient.place.worktree or patient.place.common_dir
    found = run(["config", "--show-scope", "--get", key], cwd, plain=True, check=False).out
    scope = found.partition(b"\t")[0].decode("ascii", "replace")
    return f"git config --{scope} --unset-all {key}" if scope in _SCOPES else ""
