"""Our four git hooks: config hooks where git knows them (2.54), else a stub in front of whatever hook is there."""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from thrum.errors import Refused, StorageError
from thrum.git import hookfiles
from thrum.git.command import run, version
from thrum.git.hookfiles import ORIGINAL, Record, stub_source
from thrum.git.place import Place

__all__ = ["EVENTS", "HookState", "install", "status", "stub_source", "uninstall"]

MANAGERS = (".legacy", ".old")  # what pre-commit and lefthook call the hook they found
EVENTS = ("post-commit", "post-checkout", "post-merge", "post-rewrite")
CONFIG_HOOKS = (2, 54, 0)
LINE = (
    '{ d="${GIT_DIR:-.git}"; if [ -f "$d" ]; then read -r w d <"$d"; fi; printf "" >"$d/thrum-mark"; } 2>/dev/null || :'
)
"""What our part of a hook does; as a config hook, git appends the hook's arguments, which `:` swallows."""

How = Literal["config", "stub", "chained", "missing", "foreign"]


class HookState(NamedTuple):
    """How one event is hooked, in which file, and what to know about it ("" when all is well).

    `foreign` is a hook of somebody else's in our place, or a stub of ours that was changed: our mark is not sure.
    """

    event: str
    how: How
    path: str
    note: str


def install(place: Place, *, shared: bool = False) -> list[HookState]:
    """Hook all events; a second time changes nothing. Raises Refused, before any change, when a hook file belongs to
    the project's own tracked files or to all of the user's repositories and `shared` was not said.
    """
    if version() >= CONFIG_HOOKS:
        for event in EVENTS:
            _configure(place, event)
        return status(place)
    folder = _hooks_dir(place)
    wanted = _wanted(place, folder, shared=shared)
    records = hookfiles.load_records(_records_path(place))
    try:
        for event in wanted:
            records[event] = _portable(place, hookfiles.put(os.path.join(folder, event), event))
            hookfiles.save_records(_records_path(place), records)
    except OSError as error:
        raise StorageError(f"a hook could not be written: {error}", "check the permissions of " + folder) from error
    return status(place)


def refusal(place: Place) -> Refused | None:
    """Why `install` would refuse; None when it would not."""
    if version() >= CONFIG_HOOKS:
        return None
    try:
        _wanted(place, _hooks_dir(place), shared=False)
    except Refused as refused:
        return refused
    return None


def uninstall(place: Place) -> list[HookState]:
    """Take our hooks away and put back what was there, byte for byte; a stub somebody changed is left, and said so."""
    _unconfigure(place)
    folder = _hooks_dir(place)
    records = hookfiles.load_records(_records_path(place))
    for event in EVENTS:
        record = records.get(event)
        for hook in dict.fromkeys([os.path.join(folder, event), *_recorded(place, record)]):
            for path in (hook, *(hook + suffix for suffix in MANAGERS)):
                if hookfiles.is_untouched(hookfiles.read(path), event, record):
                    hookfiles.take_away(path, hook + ORIGINAL)
    hookfiles.save_records(
        _records_path(place), {event: record for event, record in records.items() if _still_there(place, record)}
    )
    return status(place)


def status(place: Place) -> list[HookState]:
    """How each of our events is hooked right now."""
    configured = _configured(place)
    folder = _hooks_dir(place)
    records = hookfiles.load_records(_records_path(place))
    return [
        HookState(event, "config", os.path.join(place.common_dir, "config"), "")
        if event in configured
        else _state(place, event, folder, records.get(event))
        for event in EVENTS
    ]


def _wanted(place: Place, folder: str, *, shared: bool) -> list[str]:
    """The events that are to be hooked. Raises Refused."""
    if not os.path.isdir(folder) and os.path.exists(folder):
        raise Refused(f"hooks are switched off: core.hooksPath is {folder}", "unset core.hooksPath, or go without")
    records = hookfiles.load_records(_records_path(place))
    wanted = [event for event in EVENTS if _state(place, event, folder, records.get(event)).how == "missing"]
    if not shared:
        _refuse_shared(place, folder, wanted)
    _refuse_name_sensitive(folder, wanted)
    return wanted


def _state(place: Place, event: str, folder: str, record: Record | None) -> HookState:
    """The state of one hook file; `missing` also for a hook of others that we may still chain."""
    path = os.path.join(folder, event)
    content = hookfiles.read(path)
    if hookfiles.is_stub(content):
        if hookfiles.is_untouched(content, event, record):
            return HookState(event, "chained" if os.path.lexists(path + ORIGINAL) else "stub", path, "")
        note = f"our stub was changed: delete {path} to have it anew, or keep yours with this line in it: {LINE}"
        return HookState(event, "foreign", path, note)
    return _renamed(event, path, content) or _displaced(event, path, content)


def _renamed(event: str, path: str, content: bytes | None) -> HookState | None:
    """A hook manager put its own file in our place and kept our stub under another name."""
    if content is None:
        return None
    if hookfiles.is_stub(hookfiles.read(path + ".legacy")):
        return HookState(event, "chained", path, f"pre-commit runs our stub from {event}.legacy")
    if hookfiles.is_stub(hookfiles.read(path + ".old")):
        return HookState(
            event, "foreign", path, f"lefthook does not run our stub: add to lefthook-local.yml under {event}: {LINE}"
        )
    return None


def _displaced(event: str, path: str, content: bytes | None) -> HookState:
    kept = hookfiles.read(path + ORIGINAL)
    if content is not None and kept is not None and kept != content:  # equal: our installation was cut short
        return HookState(
            event, "foreign", path, f"something replaced our stub; the hook before it is in {event}{ORIGINAL}"
        )
    note = "a hook of others is here and would be chained" if content is not None else ""
    return HookState(event, "missing", path, note)


def _refuse_shared(place: Place, folder: str, events: list[str]) -> None:
    if place.worktree is not None and _is_within(folder, place.worktree) and not _is_within(folder, place.common_dir):
        ours = [event for event in events if _is_in_the_project(place.worktree, os.path.join(folder, event))]
        if ours:
            raise Refused(f"{os.path.join(folder, ours[0])} belongs to the project's own files", _advice(ours))
    elif events and not _is_within(folder, place.common_dir) and _is_users(place):
        raise Refused(f"{folder} serves all of your repositories", _advice(events))


def _is_in_the_project(worktree: str, path: str) -> bool:
    """Tracked, or not ignored and so bound to show up in `git status`."""
    tracked = run(["ls-files", "--error-unmatch", "--", path], worktree, check=False).code == 0
    return tracked or run(["check-ignore", "--quiet", "--", path], worktree, check=False).code != 0


def _is_users(place: Place) -> bool:
    """Whether core.hooksPath comes from the user's or the machine's configuration."""
    args = ["config", "--show-scope", "--get", "core.hooksPath"]
    scope = run(args, place.worktree or place.common_dir, plain=True, check=False).out.partition(b"\t")[0]
    return scope in (b"global", b"system")


def _refuse_name_sensitive(folder: str, events: list[str]) -> None:
    for event in events:
        content = hookfiles.read(os.path.join(folder, event))
        if content is not None and hookfiles.depends_on_name(content):
            raise Refused(f"{os.path.join(folder, event)} only works under its own name", _advice(events))


def _advice(events: list[str]) -> str:
    return f"add this line to your own hooks {', '.join(events)}: {LINE}"


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
    return any(hookfiles.is_stub(hookfiles.read(path)) for path in _recorded(place, record))


def _is_within(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.join(os.path.realpath(folder), ""))
