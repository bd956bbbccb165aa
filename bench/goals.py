"""Every row there is: what is measured, against what, and what is to be reached. The rest of bench/ only fills them in."""

from __future__ import annotations

from typing import NamedTuple

from bench.measure import Goal, Row


class Declared(NamedTuple):
    """A row before it is measured. `{large}`, `{middle}`, `{small}` and `{files}` stand for the sizes of the run."""

    name: str
    unit: str
    reference: str = ""
    goal: Goal = Goal()


FLOOR = "python -I -S -c pass"
LIBRARIES = 'python -c "import typer, sqlite3, pygit2"'
_HEARD = Goal(most=5)
_LAST = Goal(most=20)
_QUERY = Goal(ratio=2, most=1)

ROWS: dict[str, Declared] = {
    "warm.send": Declared("git-thrum send, warm daemon", "ms", FLOOR, Goal(ratio=1.45)),
    **{
        f"warm.git.{name}": Declared(f"git thrum {name}, warm daemon", "ms", FLOOR, Goal(ratio=1.75))
        for name in ("send", "inbox", "who-has", "status")
    },
    **{
        f"cold.{name}": Declared(
            f"git thrum {name}, without a daemon", "ms", LIBRARIES, Goal(ratio=1.5, most=250)
        )
        for name in ("send", "inbox", "who-has", "status")
    },
    "hooks.commit": Declared("git commit with our hooks", "ms", "without", Goal(extra=2)),
    "hooks.checkout": Declared("git checkout with our hooks", "ms", "without", Goal(extra=2)),
    **{
        f"hearing.{kind}{crowd}.{point}": Declared(f"sent, stored and heard by {who}{among}, {point}", "ms", "", goal)
        for kind, who, among_many in (
            ("wait", "a blocked wait", " (each of {listeners})"),
            ("websocket", "a WebSocket client", " (each of {listeners})"),
            ("mcp", "an MCP wait", " ({listeners} others listen)"),
        )
        for crowd, among in (("", ""), (".crowd", among_many))
        for point, goal in (("median", _HEARD), ("p99", _LAST))
    },
    "durable.one": Declared("durable sends, one connection, one at a time", "/s", "write + fdatasync", Goal(share=0.5)),
    "durable.many": Declared(
        "durable sends, 16 connections", "/s", "write + fdatasync x 16 at once", Goal(share=1, least=10_000)
    ),
    "durable.one.least": Declared(
        "what a daemon does that only writes and flushes, one connection", "/s", "write + fdatasync"
    ),
    "durable.many.least": Declared("the same, 16 connections", "/s", "write + fdatasync x 16 at once"),
    "durable.one.barest": Declared("the barest send that is one, one connection", "/s", "write + fdatasync"),
    "durable.many.barest": Declared("the barest send that is one, 16 connections", "/s", "write + fdatasync x 16 at once"),
    "durable.processes": Declared("10 processes x 10 git-thrum send", "/s", f"{FLOOR}, 10 at once", Goal(share=0.6)),
    "durable.kept": Declared("of these 100 sends, stored", "of 100", "", Goal(least=100)),
    "rebuild.middle": Declared(
        "rebuild, {middle} events", "/s", "reading and decoding the same lines", Goal(least=70_000)
    ),
    "rebuild.large": Declared(
        "rebuild, {large} events", "/s", "reading and decoding the same lines", Goal(least=70_000)
    ),
    "rebuild.least": Declared(
        "SQLite given the finished rows of {middle} events", "/s", "reading and decoding the same lines"
    ),
    "rebuild.middle.memory": Declared("rebuild, {middle} events: memory", "MB", "", Goal(most=600)),
    "rebuild.large.memory": Declared("rebuild, {large} events: memory", "MB", "", Goal(most=600)),
    **{
        f"query.{key}": Declared(f"{name} at {{large}} events", "ms", "at {small}", _QUERY)
        for key, name in (
            ("inbox", "inbox"),
            ("unread", "unread count"),
            ("unread_page", "unread mail"),
            ("thread", "thread"),
            ("scope", "scope"),
            ("mention", "mentions"),
            ("author", "mail of an author"),
        )
    },
    "start.nothing": Declared("catch-up after start, nothing new, {large} events", "ms", "at {small}", Goal(most=50)),
    "sync.large": Declared("one sync of one new message at {large} events", "ms", "at {small}", Goal(ratio=2)),
    "sync.git": Declared("one sync at {large} events, beside git", "ms", "git commit + git push of one small file"),
    "sync.growth": Declared("growth of .git by that sync, before gc", "kB", "at {small}", Goal(most=30)),
    "clones.heard": Declared("sent in one clone, heard in another, both daemons, local remote", "s", "", Goal(most=1.5)),
    "context.cold": Declared(
        "context refresh after a commit, {files} files, cold", "ms", "git status", Goal(ratio=1.2)
    ),
    "context.warm": Declared(
        "context refresh after a commit, {files} files, warm daemon", "ms", "git status", Goal(most=5)
    ),
    "idle.commits": Declared("daemon idle: commits", "", "", Goal(most=0)),
    "idle.cpu": Declared("daemon idle: CPU", "%", "", Goal(most=0.1)),
    "idle.memory": Declared("daemon idle: memory", "MB", "", Goal(most=70)),
}  # fmt: skip


def row(key: str, value: float, against: float | None = None, runs: int = 1, **sizes: int) -> Row:
    """The declared row `key` with what was measured. Raises KeyError for a row nobody declared."""
    name, unit, reference, goal = ROWS[key]
    words = {name: f"{size:,}" for name, size in sizes.items()}
    return Row(key, name.format(**words), value, unit, reference.format(**words), against, goal, runs)
