"""The raw history, straight from the logs: no read model, nothing left out, one segment of each log in memory at a time."""

from __future__ import annotations

import itertools
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple

import typer

from thrum import door
from thrum.cli.console import here, style
from thrum.cli.options import Options
from thrum.cli.plan import Local, Style
from thrum.cli.render_log import shown
from thrum.core import clock, events, ids, layout
from thrum.errors import NotFound, NotInitialised, ThrumError, UsageError
from thrum.store import disk, history
from thrum.store.history import UNFINISHED, Line
from thrum.store.log import line_hash

Json = dict[str, Any]
SCREEN = 100
"""Events a terminal gets unless another number was asked for."""
_BATCH = 200
_LONGEST = 4096
_RAW = re.compile("[^ -~]")


class Wanted(NamedTuple):
    """Which events, and how many of them; `limit` None: all."""

    agent: str = ""
    since: int | None = None
    thread: str = ""
    limit: int | None = None
    reverse: bool = False
    set_aside: bool = False


def log(
    agent: Annotated[str, typer.Option("--agent", metavar="NAME", help="Only what this agent stated.")] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="A time, a date (UTC) or an age: 2026-02-10, 3h, 2d.")
    ] = "",
    thread: Annotated[
        str, typer.Option("--thread", metavar="ID", help="Only what is about this thread and its messages.")
    ] = "",
    limit: Annotated[
        int | None,
        typer.Option("-n", "--limit", metavar="N", min=0, help="At most so many; 0: all. A terminal gets 100."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Oldest first.")] = False,
    set_aside: Annotated[
        bool, typer.Option("--set-aside", help="With the lines that count for nothing, and why they do.")
    ] = False,
) -> Local:
    """One line an event; every log keeps its own order, whatever its clock did. With --json every event comes as it was
    written, with its file, its place there and the hash of its line.

    git thrum log --agent @reviewer --since 2d
    """
    moment = clock.moment(since, time.time_ns()) if since else None
    if since and moment is None:
        raise UsageError(f"--since {since!r} is no time", "for instance 2026-02-10, 2026-02-10T12:00:00Z, 3h or 2d")
    wanted = Wanted(agent.removeprefix("@"), moment, thread, limit or None, reverse, set_aside)
    return Local(lambda options: _log(options, wanted._replace(limit=SCREEN) if _is_screen(options, limit) else wanted))


def _is_screen(options: Options, limit: int | None) -> bool:
    return limit is None and not options.json and door.terminal()[0]


def _log(options: Options, wanted: Wanted) -> int:
    place = here(options)
    if not os.path.isdir(place.log_root):
        raise NotInitialised("there are no logs in this repository", "run `git thrum init`")
    found = select(place.log_root, place.sync_dir, wanted)
    lines: Iterator[Line] = itertools.islice(found, wanted.limit)
    if wanted.reverse and wanted.limit is not None:
        lines = reversed(list(lines))
    if options.json:
        return _write_json(lines, found)
    return _write_text(lines, found, style(options), wanted)


def select(root: str, sync_dir: str, wanted: Wanted) -> Iterator[Line]:
    """The lines that are wanted, in order. Raises NotFound for an agent or a thread that no log knows."""
    logs = history.logs(root)
    if wanted.agent:
        logs = _logs_of(logs, wanted.agent)
    fits = _test(root, wanted)
    cut_off = list(_cut_off(sync_dir, wanted)) if wanted.set_aside else []
    backwards = not wanted.reverse or wanted.limit is not None  # of a few, the newest are meant
    told = (line for line in history.merged(root, logs, backwards=backwards) if fits(line))
    return itertools.chain(cut_off, told)


def _logs_of(logs: list[str], agent: str) -> list[str]:
    """An agent's logs. Those of v0.1.0 that are nobody's own may hold its events, too."""
    stem = ids.stem(agent)
    owners = {log: _owner(log) for log in logs}
    if stem not in owners.values() and "events.jsonl" not in logs:
        near = get_close_matches(stem, sorted(set(owners.values())), 3, 0.5)
        hint = f"did you mean {' or '.join(f'@{name}' for name in near)}?" if near else "git thrum agent list"
        raise NotFound(f"no log here is @{agent}'s", hint)
    return [log for log in logs if owners[log] in (stem, "")]


def _owner(log: str) -> str:
    source = layout.parse_path(log) or layout.parse_path(f"{log}/0000/00.jsonl")
    return source.owner if source else ""


def _test(root: str, wanted: Wanted) -> Callable[[Line], bool]:
    about = _about(root, wanted.thread) if wanted.thread else None
    stem = ids.stem(wanted.agent)

    def fits(line: Line) -> bool:
        if line.said is None:
            return wanted.set_aside and about is None
        if wanted.since is not None and line.said.at < wanted.since:
            return False
        if stem and (line.source.owner or ids.stem(str(line.said.event.get("agent_id")))) != stem:
            return False
        return about is None or about(line.said.event)

    return fits


def _about(root: str, word: str) -> Callable[[Json], bool]:
    """Whether an event is about the thread that `word` begins the id of. Raises NotFound, UsageError."""
    begins = word if word.startswith("thr_") else f"thr_{word}"
    threads, messages = set[str](), set[str]()
    for line in history.merged(root, history.logs(root)):
        event = line.said.event if line.said is not None else {}
        thread = event.get("thread_id")
        if isinstance(thread, str) and thread.startswith((begins, word)):
            threads.add(thread)
            messages.add(str(event.get("message_id")))
    if not threads:
        raise NotFound(f"no event here is about a thread {word}", "git thrum thread list")
    if len(threads) > 1:
        raise UsageError(f"{len(threads)} threads begin with {word}", f"write more of it: {min(threads)}")

    def about(event: Json) -> bool:
        named = event.get("message_ids") if event["type"] == events.MESSAGE_READ else [event.get("message_id")]
        return event.get("thread_id") in threads or any(name in messages for name in named or () if name)

    return about


def _cut_off(sync_dir: str, wanted: Wanted) -> Iterator[Line]:
    """Unfinished lines that were moved out of the logs."""
    for path in history.quarantined(sync_dir):
        owner = os.path.basename(path).split(".")[0]
        if not wanted.agent or owner == ids.stem(wanted.agent):
            source = layout.LogPath(path, owner, "", 0)
            yield Line(source, 0, disk.read(f"{sync_dir}/{path}"), None, UNFINISHED)


def _write_text(lines: Iterator[Line], rest: Iterator[Line], style: Style, wanted: Wanted) -> int:
    empty = True
    for batch in _batches(lines):
        empty = False
        if not door.write("".join(shown(line, style) + "\n" for line in batch)):
            return 1
    if empty:
        return 0 if door.write("nothing\n") else 1
    if style.color or wanted.limit == SCREEN:
        more = next(rest, None)
        return 0 if more is None or door.write("", "there is more: git thrum log -n 0\n") else 1
    return 0


def _write_json(lines: Iterator[Line], rest: Iterator[Line]) -> int:
    """One document, however long, written as it is read; an error in the middle ends it."""
    if not door.write('{"events": ['):
        return 1
    separator, error = "\n", None
    try:
        for batch in _batches(lines):
            if not door.write(separator + ",\n".join(map(_document, batch))):
                return 1
            separator = ",\n"
        more = next(rest, None) is not None
    except ThrumError as refusal:
        more, error = True, refusal
    ending = json.dumps({"more": more, **(error.as_json() if error else {})})
    return 0 if door.write(f"\n], {ending[1:]}\n") and error is None else 1


def _document(line: Line) -> str:
    """One entry of `events`. The event is the line itself; what is not ASCII in it is written as JSON's escapes."""
    head: Json = {"path": line.source.path, "offset": line.offset, "hash": line_hash(line.raw)}
    if line.said is not None:
        return json.dumps(head)[:-1] + f', "event": {_RAW.sub(_escaped, line.raw.decode())}}}'
    text = line.raw[:_LONGEST].decode("utf-8", "backslashreplace")
    return json.dumps({**head, "reason": line.reason, "length": len(line.raw), "text": text})


def _escaped(match: re.Match[str]) -> str:
    character = match.group()
    return " " if character in "\t\r" else json.dumps(character)[1:-1].replace("\x7f", "\\u007f")


def _batches(lines: Iterator[Line]) -> Iterator[list[Line]]:
    while batch := list(itertools.islice(lines, _BATCH)):
        yield batch
