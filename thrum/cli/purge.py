"""Forgetting on purpose: what is old goes, in every clone; first it is only shown."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from thrum.cli.plan import Plan, Style
from thrum.cli.text import count, line, volume

Json = dict[str, Any]


def purge(
    before: Annotated[
        str, typer.Option("--before", metavar="WHEN", help="A date, a time, or an age: 2026-01-31, 90d, 12w.")
    ],
    confirm: Annotated[bool, typer.Option("--confirm", help="Do it; without this it is only shown.")] = False,
) -> Plan:
    """Only what this clone knows now goes; mail that is still on its way arrives. There is no way back."""
    return Plan("purge", {"before": before, "confirm": confirm}, _told)


def _told(result: Json, style: Style) -> str:
    before = line(result["before"])[:19].replace("T", " ")
    if not result["events"]:
        return f"nothing was said before {before} that could go\n"
    unread = f" ({result['unread']} of them you have not read)" if result["unread"] else ""
    others = result["events"] - result["messages"]
    what = (
        f"{count(result['messages'], 'message')}{unread} and {count(others, 'other event')}, {volume(result['bytes'])}"
    )
    if result["purged"]:
        return f"purged {what}, said before {before}\nother clones follow when they sync: git thrum sync force\n"
    return (
        f"would purge {what}, said before {before}\nwhat others have not read goes, too\n"
        "nothing has changed; --confirm does it, in every clone, for good\n"
    )
