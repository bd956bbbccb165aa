"""Our four git hooks: config hooks where git knows them (2.54), else a stub in front of whatever hook is there, or a line
in it where it may not be moved.
"""

from __future__ import annotations

import os
import shlex
from typing import Literal, NamedTuple

from thrum.errors import Refused, StorageError
from thrum.git import hookfiles, hooklines
from thrum.git.command import run, version
from thrum.git.hookfiles import ORIGINAL, Record, stub_source
from thrum.git.hooklines import LINE
from thrum.git.place import Place

__all__ = [
    "EVENTS",
    "LINE",
    "HookState",
    "install",
    "remedy",
    "status",
    "stub_source",
    "uninstall",
    "were_installed",
    "who_else",
]

MANAGERS = (".legacy", ".old")  # what pre-commit and lefthook call the hook they found
EVENTS = ("post-commit", "post-checkout", "post-merge", "post-rewrite")
LFS_EVENTS = EVENTS[:3]  # those of ours that git-lfs hooks as well
CONFIG_HOOKS = (2, 54, 0)
INSTALL = "git thrum hooks install"
SHARED = "git thrum hooks install --shared"
AGAIN = "git thrum hooks uninstall && git thrum hooks install"
AFTER_LFS = "git thrum hooks uninstall && git lfs update && git thrum hooks install"

How = Literal["config", "stub", "chained", "line", "missing", "foreign"]


class HookState(NamedTuple):
    """How one event is hooked, in which file, what to know about it and the command that helps ("" when all is well).

    `chained`: our stub runs in front of another hook; `line`: our line is in it. `foreign`: a hook of somebody else's in our
    place, or a stub of ours that was changed: our mark is not sure.
    """

    event: str
    how: How
    path: str
    note: str
    fix: str = ""


def install(place: Place, *, shared: bool = False) -> list[HookState]:
    """Hook all events; a second time changes nothing. Raises Refused, before any change, when a hook file belongs to
    the project's own tracked files or to all of the user's repositories and `shared` was not said.
    """
    if version() >= CONFIG_HOOKS:
        for event in EVENTS:
            _configure(place, event)
        return status(place)
    folder = _hooks_dir(place)
    if not os.path.isdir(folder) and os.path.exists(folder):
        raise Refused(f"hooks are switched off: core.hooksPath is {folder}", "unset core.hooksPath, or go without")
    records = hookfiles.load_records(_records_path(place))
    wanted = [event for event in EVENTS if _is_to_do(_state(place, event, folder, records.get(event)))]
    refusal = _refusal(place, folder, wanted, shared=shared)
    if refusal is not None:
        raise refusal
    try:
        for event in wanted:
            records[event] = _portable(place, _hook(os.path.join(folder, event), event, records.get(event)))
            hookfiles.save_records(_records_path(place), records)
    except OSError as error:
        raise StorageError(f"a hook could not be written: {error}", "check the permissions of " + folder) from error
    return status(place)


def _is_to_do(state: HookState) -> bool:
    """Not there yet, or in front of a script that may not be moved, as earlier versions did it."""
    is_moved = state.how == "chained" and hooklines.is_for_a_line(hookfiles.read(state.path + ORIGINAL))
    return state.how == "missing" or (is_moved and hookfiles.is_stub(hookfiles.read(state.path)))


def _hook(path: str, event: str, record: Record | None) -> Record:
    """Hooks one event at `path`; the record for `hooks.json`."""
    if hookfiles.is_stub(hookfiles.read(path)):
        hookfiles.take_away(path, path + ORIGINAL)
    if hooklines.is_for_a_line(hookfiles.read(path)):
        return {**(record or {}), "path": path, "line": hooklines.insert(path)}
    return hookfiles.put(path, event)


def uninstall(place: Place) -> list[HookState]:
    """Take our hooks away and put back what was there, byte for byte; a stub somebody changed is left, and said so."""
    _unconfigure(place)
    folder = _hooks_dir(place)
    records = hookfiles.load_records(_records_path(place))
    for event in EVENTS:
        record = records.get(event)
        for hook in dict.fromkeys([os.path.join(folder, event), *_recorded(place, record)]):
            for path in (hook, *(hook + suffix for suffix in MANAGERS)):
                if record is not None and record.get("line"):
                    hooklines.take_out(path, record["line"])
                if hookfiles.is_untouched(hookfiles.read(path), event, record):
                    _take_away(place, path, hook)
    hookfiles.save_records(
        _records_path(place), {event: record for event, record in records.items() if _still_there(place, record)}
    )
    return status(place)


def status(place: Place) -> list[HookState]:
    """How each of our events is hooked right now."""
    configured = _configured(place)
    folder = _hooks_dir(place)
    records = hookfiles.load_records(_records_path(place))
    states = [
        HookState(event, "config", os.path.join(place.common_dir, "config"), "")
        if event in configured
        else _state(place, event, folder, records.get(event))
        for event in EVENTS
    ]
    return _explained(place, folder, states)


def _explained(place: Place, folder: str, states: list[HookState]) -> list[HookState]:
    """The states, with what stands in the way of those that are missing and with what really helps."""
    wanted = [state.event for state in states if state.how == "missing"]
    if wanted and not os.path.isdir(folder) and os.path.exists(folder):
        note, fix = f"core.hooksPath is {folder}: hooks are switched off", ""
    else:
        refusal = _refusal(place, folder, wanted, shared=False)
        if refusal is None:
            return states
        note, fix = str(refusal), SHARED if SHARED in refusal.hint else refusal.hint
    return [state._replace(note=note, fix=fix) if state.how == "missing" else state for state in states]


def were_installed(place: Place) -> bool:
    """Whether we put hooks here, and nobody asked us to take them away."""
    return bool(hookfiles.load_records(_records_path(place)))


def remedy(states: list[HookState]) -> str:
    """The one command that helps, "" when all is well or nothing would."""
    return next((state.fix for state in states if state.fix), "")


def who_else(place: Place) -> list[str]:
    """The tools that have hooks where git looks for them: `git-lfs`, `husky`, `lefthook`, `pre-commit`."""
    folder = _hooks_dir(place)
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = {hooklines.maker(hookfiles.read(os.path.join(folder, name))) for name in names}
    return sorted(found - {""})


def _take_away(place: Place, path: str, hook: str) -> None:
    """Our stub goes, and what it stood before comes back, unless its maker has put it back already or is gone himself."""
    maker = hooklines.maker(hookfiles.read(hook + ORIGINAL))
    is_back = path != hook and maker != "" and maker == hooklines.maker(hookfiles.read(hook))
    if is_back or (maker == "git-lfs" and _is_without_lfs(place, hook)):
        os.unlink(hook + ORIGINAL)
    hookfiles.take_away(path, hook + ORIGINAL)


def _is_without_lfs(place: Place, hook: str) -> bool:
    """Whether git-lfs was uninstalled: it takes its filter and its pre-push away, and did not find what we stood before."""
    pushes = hookfiles.read(os.path.join(os.path.dirname(hook), "pre-push"))
    asked = run(["config", "--get", "filter.lfs.process"], place.worktree or place.common_dir, plain=True, check=False)
    return hooklines.maker(pushes) != "git-lfs" and asked.code != 0


def _state(place: Place, event: str, folder: str, record: Record | None) -> HookState:
    """The state of one hook file; `missing` also for a hook of others that we may still chain or put our line in."""
    path = os.path.join(folder, event)
    content = hookfiles.read(path)
    if hookfiles.is_stub(content):
        return _stub(place, event, path, content, record)
    own = os.path.join(os.path.dirname(folder), event)  # what husky's script runs
    if hooklines.maker(content) == "husky" and hooklines.is_in(hookfiles.read(own)):
        return HookState(event, "line", own, "by a line in it")
    if hooklines.is_in(content):
        return HookState(event, "line", path, f"by a line in {hooklines.maker(content) or 'the'} hook")
    return _renamed(event, path, content) or _displaced(event, path, content)


def _stub(place: Place, event: str, path: str, content: bytes | None, record: Record | None) -> HookState:
    if not hookfiles.is_untouched(content, event, record):
        note = f"our stub was changed: delete {path} to have it anew, or keep yours with this line in it: {LINE}"
        return HookState(event, "foreign", path, note, f"rm {shlex.quote(path)} && {INSTALL}")
    if os.path.lexists(path + ORIGINAL):
        return HookState(event, "chained", path, "")
    if event in LFS_EVENTS and _has_lfs(place):
        return HookState(event, "stub", path, "git-lfs could not install its own hook beside ours", AFTER_LFS)
    return HookState(event, "stub", path, "")


def _renamed(event: str, path: str, content: bytes | None) -> HookState | None:
    """A hook manager put its own file in our place and kept our stub under another name."""
    who = hooklines.maker(content)
    if content is None:
        return None
    runs_legacy = who == "pre-commit" or b".legacy" in content
    if runs_legacy and hookfiles.is_stub(hookfiles.read(path + ".legacy")):
        if who and who == hooklines.maker(hookfiles.read(path + ORIGINAL)):
            return HookState(event, "foreign", path, f"{who} was installed twice and calls itself", AGAIN)
        return HookState(event, "chained", path, f"pre-commit runs our stub from {event}.legacy")
    if hooklines.is_for_a_line(content):
        note = f"the hook of {who or 'another tool'} is here, without our line in it"
        return HookState(event, "missing", path, note, INSTALL)
    return None


def _displaced(event: str, path: str, content: bytes | None) -> HookState:
    kept = hookfiles.read(path + ORIGINAL)
    if content is not None and kept is not None and kept != content:  # equal: our installation was cut short
        note = (
            f"something replaced our stub; the hook before it is in {event}{ORIGINAL}: move it away to keep the new one"
        )
        away = [shlex.quote(path + suffix) for suffix in (ORIGINAL, ".before")]
        return HookState(event, "foreign", path, note, f"mv {' '.join(away)} && {INSTALL}")
    note = "a hook of others is here and would be chained" if content is not None else ""
    return HookState(event, "missing", path, note, INSTALL)


def _has_lfs(place: Place) -> bool:
    """Whether the project keeps files with git-lfs."""
    attributes = hookfiles.read(os.path.join(place.worktree or place.common_dir, ".gitattributes"))
    return b"filter=lfs" in (attributes or b"")


def _refusal(place: Place, folder: str, events: list[str], *, shared: bool) -> Refused | None:
    """Why these hooks are not written here, if they are not; None otherwise."""
    paths = [os.path.join(folder, event) for event in events]
    fixed = next((path for path in paths if hooklines.is_untouchable(hookfiles.read(path))), None)
    if fixed is not None:
        return Refused(f"{fixed} only works under its own name", _advice(events))
    if shared or not events:
        return None
    if place.worktree is not None and _is_within(folder, place.worktree) and not _is_within(folder, place.common_dir):
        if os.path.basename(folder) == "_" and not os.path.isdir(folder):
            return Refused(f"husky is not set up in {place.worktree}", f"npx husky && {INSTALL}")
        ours = next((path for path in paths if _is_in_the_project(place.worktree, path)), None)
        return None if ours is None else Refused(f"{ours} belongs to the project's own files", _consent(events))
    if not _is_within(folder, place.common_dir) and _is_users(place):
        return Refused(f"{folder} serves all of your repositories", _consent(events))
    return None


def _is_in_the_project(worktree: str, path: str) -> bool:
    """Tracked, or not ignored and so bound to show up in `git status`."""
    tracked = run(["ls-files", "--error-unmatch", "--", path], worktree, check=False).code == 0
    return tracked or run(["check-ignore", "--quiet", "--", path], worktree, check=False).code != 0


def _is_users(place: Place) -> bool:
    """Whether core.hooksPath comes from the user's or the machine's configuration."""
    args = ["config", "--show-scope", "--get", "core.hooksPath"]
    scope = run(args, place.worktree or place.common_dir, plain=True, check=False).out.partition(b"\t")[0]
    return scope in (b"global", b"system")


def _advice(events: list[str]) -> str:
    return f"add this line to your own hooks {', '.join(events)}: {LINE}"


def _consent(events: list[str]) -> str:
    return f"{SHARED} puts them there all the same; or {_advice(events)}"


def _hooks_dir(place: Place) -> str:
    """Where git looks for hooks: `core.hooksPath` or the common directory's; absolute."""
    cwd = place.worktree or place.common_dir
    out = run(["rev-parse", "--git-path", "hooks"], cwd, plain=True).out
    return os.path.abspath(os.path.join(cwd, os.fsdecode(out.rstrip(b"\n"))))


def _configure(place: Place, event: str) -> None:
    for key, value in (("command", LINE), ("event", event)):
        name = f"hook.thrum-{event}.{key}"
        run(["config", "--local", "--replace-all", name, value], place.common_dir, plain=True)


def _unconfigure(place: Place) -> None:
    for event in _configured(place):
        run(["config", "--local", "--remove-section", f"hook.thrum-{event}"], place.common_dir, plain=True)


def _configured(place: Place) -> list[str]:
    args = ["config", "--local", "--null", "--name-only", "--get-regexp", r"^hook\.thrum-.*\.command$"]
    names = run(args, place.common_dir, plain=True, check=False).out.split(b"\0")
    return [event for event in EVENTS if f"hook.thrum-{event}.command".encode() in names]


def _records_path(place: Place) -> str:
    return os.path.join(place.sync_dir, "hooks.json")


def _portable(place: Place, record: Record) -> Record:
    """The record with a path below the common directory made relative, so that a moved repository finds it."""
    if _is_within(record["path"], place.common_dir):
        return {**record, "path": os.path.relpath(record["path"], place.common_dir)}
    return record


def _recorded(place: Place, record: Record | None) -> list[str]:
    return [] if record is None else [os.path.join(place.common_dir, record["path"])]


def _still_there(place: Place, record: Record) -> bool:
    return any(
        hookfiles.is_stub(content) or hooklines.is_in(content)
        for content in map(hookfiles.read, _recorded(place, record))
    )


def _is_within(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))
