"""Agents, sessions and what they work on, as text."""

from __future__ import annotations

from typing import Any

from thrum.cli.plan import Style
from thrum.cli.render import agent
from thrum.cli.text import ago, color, count, fields, lasting, line, pad, table, when
from thrum.core import clock

Json = dict[str, Any]


def started(result: Any, style: Style) -> str:
    """What `quickstart` says."""
    session = result.get("session") or {}
    text = registered(result["register"], style)
    if not session:
        return text + "no session was started: THRUM_NAME or a flag says that you are somebody else\n"
    text += f"session {line(session['session_id'])} started"
    if result.get("intent"):
        text += f", intent: {line(result['intent']['intent'])}"
    return text + "\n"


def registered(result: Any, style: Style) -> str:
    """What `agent register` says."""
    display = f" “{line(result['display'])}”" if result.get("display") else ""
    changed = " (updated)" if result["status"] == "updated" else ""
    who = color(agent(result["agent_id"]), "bold", style)
    return f"you are {who}{display} ({line(result['role'])}, module {line(result['module'])}){changed}\n"


def whoami(result: Any, style: Style) -> str:
    """What `whoami` says."""
    session = result.get("session_id") or ""
    since = f", since {when(result.get('session_start'), style)}" if session else ""
    known = "" if result.get("registered", True) else "not registered: git thrum quickstart --role ROLE --module MODULE"
    return (
        fields(
            [
                ("agent", color(agent(result["agent_id"]), "bold", style)),
                ("role", line(result["role"])),
                ("module", line(result["module"])),
                ("display", line(result.get("display") or "")),
                ("session", line(session) + since if session else "none: git thrum session start"),
                ("worktree", line(result.get("worktree") or "")),
                ("source", _SOURCES.get(result["source"], line(result["source"]))),
                ("note", known),
            ]
        )
        + "\n"
    )


_SOURCES = {
    "flags": "the command line",
    "environment": "THRUM_NAME, THRUM_ROLE, THRUM_MODULE",
    "identity_file": "this worktree's identity file",
}


def agents(result: Any, style: Style) -> str:
    """A line an agent, and what it is about."""
    if not result["agents"]:
        return "no agents yet: git thrum quickstart --role ROLE --module MODULE\n"
    wide = max(len(agent(one["agent_id"])) for one in result["agents"])
    return "\n".join(described(one, wide, style) for one in result["agents"]) + "\n"


def some_agents(result: Any, style: Style) -> str:
    """The same of those with a certain role or module."""
    return agents(result, style) if result["agents"] else "no such agents\n"


def described(one: Json, wide: int, style: Style) -> str:
    """One agent: `● @bob  planner  auth  3m ago`, its intent and task below."""
    head = [
        dot(one, style),
        pad(color(agent(one["agent_id"]), "bold", style), wide),
        _roles(one),
        _presence(one, style),
    ]
    if one.get("worktree"):
        head.append(f"in {line(one['worktree'])}" if one.get("here", True) else "in another clone")
    rest = "".join(f"\n{' ' * (wide + 5)}{text}" for text in _aims(one))
    return "  ".join(head) + rest


def dot(one: Json, style: Style) -> str:
    """● online, ○ offline."""
    return color("●", "green", style) if one.get("status") == "online" else color("○", "dim", style)


def _roles(one: Json) -> str:
    return f"{line(one.get('role') or '')} ({line(one.get('module') or '')})"


def _presence(one: Json, style: Style) -> str:
    if one.get("status") == "online":
        return "online"
    return f"seen {when(one['last_seen_at'], style)}" if one.get("last_seen_at") else "never seen"


def _aims(one: Json) -> list[str]:
    aims = (("intent", one.get("intent")), ("task", one.get("current_task")))
    return [f"{label}: {line(text)}" for label, text in aims if text]


def contexts(result: Any, style: Style) -> str:
    """What everybody works on, in a table."""
    if not result["contexts"]:
        return "nobody's work is known yet\n"
    rows = [
        (
            agent(one["agent_id"]),
            line(one.get("branch") or "-"),
            str(len(one.get("unmerged_commits") or ())),
            str(_touched(one)),
            when(one.get("git_updated_at"), style) or "-",
            line(one.get("intent") or one.get("current_task") or "-"),
        )
        for one in result["contexts"]
    ]
    return table(("AGENT", "BRANCH", "COMMITS", "FILES", "UPDATED", "INTENT"), rows, style.width) + "\n"


def _touched(one: Json) -> int:
    return len({*(one.get("uncommitted_files") or ()), *(one.get("changed_files") or ())})


def context(result: Any, style: Style) -> str:
    """One agent's work in full; a table when there are several."""
    if len(result["contexts"]) != 1:
        return contexts(result, style)
    return work(result["contexts"][0], style) + "\n"


def work(one: Json, style: Style) -> str:
    """Branch, commits and files of one work context."""
    head = fields(
        [
            ("agent", color(agent(one["agent_id"]), "bold", style)),
            ("session", line(one.get("session_id") or "")),
            ("branch", line(one.get("branch") or "")),
            ("worktree", line(one.get("worktree") or one.get("worktree_path") or "")),
            ("intent", line(one.get("intent") or "")),
            ("task", line(one.get("current_task") or "")),
            ("updated", when(one.get("git_updated_at"), style)),
        ]
    )
    commits = [f"{line(c['sha'])[:10]} {line(c['message'])}" for c in one.get("unmerged_commits") or ()]
    lists = [
        _listed("unmerged commits", commits, style),
        _listed("changed files", [line(name) for name in one.get("changed_files") or ()], style),
        _listed("uncommitted files", [line(name) for name in one.get("uncommitted_files") or ()], style),
    ]
    return "\n".join([head, *filter(None, lists)])


def _listed(title: str, items: list[str], style: Style) -> str:
    shown = items if style.verbose else items[:20]
    more = [f"  … {len(items) - len(shown)} more (--verbose shows them)"] if len(shown) < len(items) else []
    return "\n".join([f"{title} ({len(items)})", *(f"  {item}" for item in shown), *more]) if items else ""


def retired(result: Any, style: Style) -> str:
    """What `agent delete` says."""
    return f"{agent(result['agent_id'])} is deleted; what it said stays\n"


def left_behind(result: Any, style: Style) -> str:
    """What `agent cleanup` found, and what became of it."""
    if not result["orphans"]:
        return "" if style.quiet else "nobody was left behind\n"
    gone = set(result["deleted"])
    lines = [f"{agent(one['agent_id'])}  {_roles(one)}  {_why_left(one)}" for one in result["orphans"]]
    end = f"deleted {count(len(gone), 'agent')}" if gone else f"{count(len(lines), 'agent')} left behind"
    return "\n".join([*lines, end]) + "\n"


def _why_left(one: Json) -> str:
    reasons = [f"its worktree {line(one['worktree'])} is gone" if one.get("worktree_missing") else ""]
    days = one.get("days_since_last_seen")
    reasons.append(f"not seen for {count(days, 'day')}" if days else "")
    reasons.append(f"{count(one['message_count'], 'message')} sent" if one.get("message_count") else "")
    return ", ".join(filter(None, reasons))


def holders(result: Any, style: Style) -> str:
    """Who has a file: `● @bob  uncommitted  on feature  3m ago`."""
    file = line(result["file"])
    if not result["holders"]:
        return f"nobody has {file}\n"
    lines = []
    for one in result["holders"]:
        pieces = [dot(one, style), color(agent(one["agent_id"]), "bold", style), _how(one, file)]
        pieces.append(f"on {line(one['branch'])}" if one.get("branch") else "")
        pieces.append(when(one.get("git_updated_at"), style))
        lines.append("  ".join(piece for piece in pieces if piece))
        lines += [f"     {name}" for name in _others(one, result["file"])]
        lines += [f"     intent: {line(one['intent'])}"] if one.get("intent") else []
    return "\n".join(lines) + "\n"


def _how(one: Json, file: str) -> str:
    ways = [("uncommitted", one.get("uncommitted")), ("committed, not merged", one.get("committed"))]
    return " and ".join(how for how, names in ways if names)


def _others(one: Json, file: str) -> list[str]:
    names = sorted({*(one.get("uncommitted") or ()), *(one.get("committed") or ())})
    return [] if names == [file] else [line(name) for name in names]


def pinged(result: Any, style: Style) -> str:
    """Whether an agent is at work, and on what."""
    one, found = result["agent"], result.get("context") or {}
    text = described(one, 0, style).rstrip()
    if found.get("branch"):
        ahead = len(found.get("unmerged_commits") or ())
        text += f"\n     branch: {line(found['branch'])}" + (f", {count(ahead, 'unmerged commit')}" if ahead else "")
        text += f", {count(_touched(found), 'file')} touched"
    return text + "\n"


def session_started(result: Any, style: Style) -> str:
    """What `session start` says."""
    return f"session {line(result['session_id'])} of {agent(result['agent_id'])} started\n"


def session_ended(result: Any, style: Style) -> str:
    """What `session end` says."""
    return f"session {line(result['session_id'])} ended after {lasting(result['duration_ms'] / 1000)}\n"


def sessions(result: Any, style: Style) -> str:
    """Sessions in a table."""
    if not result["sessions"]:
        return "no sessions\n"
    rows = [
        (
            line(one["session_id"]),
            agent(one["agent_id"]),
            when(one["started_at"], style),
            "open" if not one.get("ended_at") else line(one.get("end_reason") or "ended"),
            _length(one, style),
            line(one.get("intent") or one.get("current_task") or "-"),
        )
        for one in result["sessions"]
    ]
    return table(("SESSION", "AGENT", "STARTED", "STATE", "LENGTH", "INTENT"), rows, style.width) + "\n"


def _length(one: Json, style: Style) -> str:
    began, ended = clock.instant(one["started_at"]), clock.instant(one.get("ended_at") or "")
    end = style.now if ended is None else ended
    return "-" if began is None else lasting(max(end - began, 0) / clock.SECOND)


def alive(result: Any, style: Style) -> str:
    """What `session heartbeat` says."""
    pairs = [f"{line(p['type'])}:{line(p['value'])}" for kind in ("scopes", "refs") for p in result.get(kind) or ()]
    seen = ago(style.now - (clock.instant(result["last_seen_at"]) or style.now))
    return (
        f"session {line(result['session_id'])} is alive, seen {seen}"
        + (f"  [{' '.join(pairs)}]" if pairs else "")
        + "\n"
    )


def intent_set(result: Any, style: Style) -> str:
    """What `set-intent` says."""
    return f"intent: {line(result['intent'])}\n" if result["intent"] else "intent cleared\n"


def task_set(result: Any, style: Style) -> str:
    """What `set-task` says."""
    return f"task: {line(result['current_task'])}\n" if result["current_task"] else "task cleared\n"
