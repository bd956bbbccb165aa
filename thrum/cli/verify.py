"""What is true of this repository's logs: every object, line and row, read again."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from thrum.cli.console import here, settings_of, style, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local, Style
from thrum.cli.text import color, count, fields, line, safe
from thrum.core.purging import NOTHING, Purged
from thrum.errors import NotInitialised, RemoteError, StorageError, ThrumError
from thrum.git.objects import open_objects
from thrum.git.place import Place
from thrum.store import history, purges
from thrum.sync.audit import Audit, Difference

Json = dict[str, Any]
_SHOWN = 10
_COUNTS = (
    *("events", "logs", "agents", "bytes", "commits", "objects", "object_bytes", "set_aside", "unfinished"),
    *("gaps", "forks", "changed", "unnumbered", "lacking", "uncommitted", "differences", "unread"),
)


def verify(
    remote: Annotated[
        bool, typer.Option("--remote", help="Compare with the remote, too; 1 if either side has what the other lacks.")
    ] = False,
) -> Local:
    """Every git object of a-sync, every line of every log, every row of the read model. Nothing is changed by it;
    `git thrum doctor --fix` heals what can be healed.

    git thrum verify --remote
    """
    return Local(lambda options: _verify(options, remote))


def _verify(options: Options, with_remote: bool) -> int:
    from thrum.engine import database_path
    from thrum.store import origin

    place = here(options)
    if not place.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    objects = open_objects(place.common_dir)
    try:
        purged = _purged(database_path(place))
        audit = Audit(place.log_root, place.common_dir, objects, purged)
        audit.look("objects", audit.at_objects)
        audit.look("lines", audit.at_lines)
        audit.look("tree", audit.at_tree)
        audit.look("rows", lambda: audit.at_rows(database_path(place), origin.load(place.sync_dir)))
        there = _ask(place, settings_of(place).remote, audit) if with_remote else None
    finally:
        objects.close()
    result = _result(audit, len(history.quarantined(place.sync_dir)), there)
    is_well = result["whole"] and (there is None or there.get("same", False))
    return tell(options, result, shown(result, style(options)), code=0 if is_well else 1, asked=True)


def _purged(database: str) -> Purged:
    """What was taken out of the logs on purpose. Raises StorageError: not knowing it, one would call it lost."""
    found = purges.read(database, NOTHING)
    if found is None and os.path.isfile(database) and not os.access(database, os.R_OK | os.W_OK):
        raise StorageError(
            "the read model cannot be read, so nobody knows what was purged",
            f"see who owns {os.path.dirname(database)}, then try again; or `git thrum rebuild`",
        )
    return found or NOTHING


def _ask(place: Place, wanted: str | None, audit: Audit) -> Json:
    """What the remote has, compared with the disk; or why it is not known."""
    from thrum.git import branch, remote

    try:
        name = remote.pick(place, wanted)
        if name is None:
            raise RemoteError("there is no remote to compare with", "choose one: git config thrum.remote NAME")
        tip = remote.tip(place, name)
        if tip is not None and tip != audit.objects.head(branch.tracking_ref(name)):
            remote.fetch(place, name)
            audit.objects.close()
            audit.objects = open_objects(place.common_dir)
        found = audit.compare(audit.objects.tree_of(tip) if tip else None)
    except ThrumError as error:
        return {"same": False, "error": str(error), "hint": error.hint}
    return _compared(name, remote.url(place, name), found)


def _compared(name: str, url: str, found: Difference) -> Json:
    sides = {"only_here": found.only_here, "only_there": found.only_there}
    totals = {f"lines_{side}": sum(lines.values()) for side, lines in sides.items()}
    return {"same": not any(sides.values()), "remote": name, "url": url, **totals, **sides}


def _result(audit: Audit, kept: int, there: Json | None) -> Json:
    counts = {name: audit.counts[name] for name in _COUNTS}
    counts["cut_off"] = kept
    findings = [finding._asdict() for finding in audit.findings]
    result: Json = {"whole": not findings, "counts": counts, "findings": findings}
    return result if there is None else {**result, "remote": there}


def shown(result: Json, style: Style) -> str:
    """The summary, then what is wrong, then the verdict."""
    counts, findings = result["counts"], result["findings"]
    parts = [
        ("objects", f"{count(counts['objects'], 'object')} in {count(counts['commits'], 'commit')}, hashed again"),
        ("lines", _lines(counts)),
        ("branch", _branch(counts)),
        ("read model", _rows(counts, findings)),
    ]
    if "remote" in result:
        parts.append(("remote", _remote(result["remote"])))
    wrong = [
        f"  {finding['part']}: {line(finding['sentence'])}" for finding in findings[: None if style.verbose else _SHOWN]
    ]
    if len(findings) > len(wrong):
        wrong.append(f"  and {len(findings) - len(wrong)} more: git thrum verify --verbose")
    text = fields(parts)
    if wrong:
        return "\n".join([text, color(f"{count(len(findings), 'thing')} wrong:", "red", style), *wrong, _REMEDY]) + "\n"
    verdict = "all of it is whole" if result.get("remote", {}).get("same", True) else "all that is here is whole"
    return f"{text}\n{color(verdict, 'green', style)}\n"


_REMEDY = "  try: git thrum doctor"


def _lines(counts: Json) -> str:
    told = f"{count(counts['events'], 'event')} by {count(counts['agents'], 'agent')} in {count(counts['logs'], 'log')}"
    odd = (
        (counts["set_aside"], "set aside"),
        (counts["gaps"], "gaps"),
        (counts["forks"], "forks"),
        (counts["changed"], "changed"),
        (counts["unnumbered"], "without a number"),
        (counts["unfinished"], "unfinished"),
        (counts["cut_off"], "cut off, never acknowledged"),
    )
    return ", ".join([f"{told}, {counts['bytes']} bytes", *(f"{number} {what}" for number, what in odd if number)])


def _branch(counts: Json) -> str:
    if counts["lacking"]:
        return f"the disk lacks {count(counts['lacking'], 'line')} of it"
    waiting = counts["uncommitted"]
    told = f"{count(waiting, 'line')} not committed yet" if waiting else "the same as on disk"
    return told + (f", {count(counts['unread'], 'file')} too strange to be read" if counts["unread"] else "")


def _rows(counts: Json, findings: list[Json]) -> str:
    if any(finding["part"] == "rows" for finding in findings):
        return (
            f"differs from the logs in {count(counts['differences'], 'table')}" if counts["differences"] else "not read"
        )
    return "every row is what the logs say"


def _remote(there: Json) -> str:
    if "error" in there:
        return f"{safe(there['error'])}\n            try: {safe(there['hint'])}"
    where = f"{safe(there['remote'])} ({safe(there['url'])})"
    if there["same"]:
        return f"{where} has the same"
    lacks = [f"lacks {count(there['lines_only_here'], 'line')} of ours"] if there["lines_only_here"] else []
    has = [f"has {count(there['lines_only_there'], 'line')} that we lack"] if there["lines_only_there"] else []
    return f"{where} {' and '.join(lacks + has)}\n            try: git thrum sync force"
