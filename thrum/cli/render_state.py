"""Status, overview and sync as text."""

from __future__ import annotations

from typing import Any

from thrum.cli.plan import Style
from thrum.cli.render import agent
from thrum.cli.render_agents import described
from thrum.cli.text import color, count, fields, line, when

Json = dict[str, Any]
_WORDS = {
    "off": "off (thrum.sync is false)",
    "no_remote": "there is no remote",
    "idle": "not tried yet",
    "synced": "synced",
    "pending": "something waits to be synced",
    "error": "failed",
}


def sync_word(state: str) -> str:
    """How the sync stands, in words."""
    return _WORDS.get(state, line(state))


def status(result: Any, style: Style) -> str:
    """You, your work, your mail, the sync."""
    me = result.get("agent")
    pairs = _nobody(result) if me is None else _me(me, result.get("work_context") or {}, style)
    pairs += [("inbox", _mail(result["inbox"]))] if result.get("inbox") else []
    pairs.append(("sync", _sync_line(result["sync"], style)))
    pairs += _more(result) if style.verbose else []
    return fields(pairs) + "\n"


def _nobody(result: Json) -> list[tuple[str, str]]:
    return [("agent", f"none: {line(result.get('why') or '')}"), ("try", line(result.get("hint") or ""))]


def _me(me: Json, context: Json, style: Style) -> list[tuple[str, str]]:
    who = f"{color(agent(me['agent_id']), 'bold', style)} ({line(me['role'])}, module {line(me['module'])})"
    begun = f"since {when(me.get('session_start'), style)}" if me.get("session_id") else "none: git thrum session start"
    return [
        ("agent", who),
        ("display", line(me.get("display") or "")),
        ("session", f"{line(me['session_id'])}, {begun}" if me.get("session_id") and style.verbose else begun),
        ("intent", line(context.get("intent") or "")),
        ("task", line(context.get("current_task") or "")),
        ("branch", _branch(context)),
        ("files", _files(context)),
    ]


def _branch(context: Json) -> str:
    ahead = len(context.get("unmerged_commits") or ())
    name = context.get("branch") or ("detached" if ahead else "")
    return line(name) + (f", {count(ahead, 'unmerged commit')}" if ahead else "")


def _files(context: Json) -> str:
    counted = (
        (len(context.get("changed_files") or ()), "changed"),
        (len(context.get("uncommitted_files") or ()), "uncommitted"),
    )
    return ", ".join(f"{number} {how}" for number, how in counted if number)


def _mail(inbox: Json) -> str:
    unread = f"{inbox['unread']} unread" if inbox["unread"] else "all read"
    return f"{unread}, {count(inbox['total'], 'message')} in all"


def _more(result: Json) -> list[tuple[str, str]]:
    return [("version", line(result.get("version") or "")), ("repository", line(result.get("repo_id") or ""))]


def overview(result: Any, style: Style) -> str:
    """Status, and your team."""
    team = result.get("team") or []
    if not team:
        return status(result, style) + "\nno other agents yet\n"
    wide = max(len(agent(one["agent_id"])) for one in team)
    people = "\n".join(_member(one, wide, style) for one in team)
    return f"{status(result, style)}\nteam\n{people}\n"


def _member(one: Json, wide: int, style: Style) -> str:
    context = one.get("context") or {}
    words = {name: one.get(name) or context.get(name) for name in ("intent", "current_task")}
    text = described({**one, **words}, wide, style)
    work = ", ".join(filter(None, [_branch(context), _files(context)]))
    return text + (f"\n{' ' * (wide + 5)}branch: {work}" if work else "")


def _sync_line(sync: Json, style: Style) -> str:
    word = sync.get("sync_state") or ""
    text = color(sync_word(word), "red", style) if word == "error" else sync_word(word)
    if sync.get("last_error"):
        text += f": {line(sync['last_error'])}"
    if sync.get("last_sync_at"):
        text += f", last {when(sync['last_sync_at'], style)}"
    if sync.get("pending"):
        text += f", {count(sync['pending'], 'event')} to push"
    return text


def sync_status(result: Any, style: Style) -> str:
    """How the sync stands, line by line."""
    remote = line(result.get("remote") or "")
    return (
        fields(
            [
                ("state", sync_word(result["sync_state"])),
                ("remote", f"{remote} ({line(result['url'])})" if result.get("url") else remote),
                ("last sync", when(result.get("last_sync_at"), style) or "never"),
                ("last try", when(result.get("last_attempt_at"), style)),
                ("waiting", count(result["pending"], "event") if result.get("pending") else ""),
                ("error", line(result.get("last_error") or "")),
                ("try", line(result.get("hint") or "")),
                ("by itself", "yes, the daemon runs" if result.get("running") else "no: git thrum daemon start"),
            ]
        )
        + "\n"
    )


def forced(result: Any, style: Style) -> str:
    """What `sync force` says when it worked."""
    if not result.get("ok"):
        return ""
    if not result.get("remote"):
        return f"nothing to sync with: {_WORDS.get(result.get('sync_state', ''), 'there is no remote')}\n"
    got = f"{count(result['received'], 'log')} came or grew" if result.get("received") else "nothing new"
    gave = "pushed what we had" if result.get("pushed") else "it had all of ours"
    return f"synced with {line(result['remote'])}: {got}, {gave}\n"


def not_synced(result: Any, style: Style) -> str:
    """What `sync force` says when it failed."""
    if result.get("ok"):
        return ""
    return f"error: {line(result.get('error') or 'the sync failed')}\n  try: {line(result.get('hint') or 'git thrum doctor')}\n"
