"""Subscriptions: what a session wants to be told of as it arrives."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from thrum.cli import render_threads as show
from thrum.cli.arguments import Scope, given, pair
from thrum.cli.candidates import recipients
from thrum.cli.plan import Plan, Style
from thrum.cli.render import confirmation
from thrum.errors import UsageError


def subscribe(
    scope: Scope = "",
    mention: Annotated[
        str,
        typer.Option(
            "--mention", metavar="@WHO", help="Only what is addressed to this agent or role.", autocompletion=recipients
        ),
    ] = "",
    everything: Annotated[bool, typer.Option("--all", help="All my mail.")] = False,
) -> Plan:
    """Programs hear of it over the daemon's WebSocket; at a prompt, `git thrum wait` is what you want.

    git thrum subscribe --scope module:auth
    """
    if sum(map(bool, (scope, mention, everything))) != 1:
        raise UsageError("say one of --scope, --mention and --all", "git thrum subscribe --all")
    params = given(scope=pair("--scope", scope) if scope else None, mention_role=mention, all=everything)
    return Plan("subscribe", params, confirmation(show.subscribed))


def unsubscribe(
    number: Annotated[int, typer.Argument(metavar="ID", min=1, help="Its number: git thrum subscriptions")],
) -> Plan:
    """Exit code 1 when this session has no such subscription."""

    def complain(result: Any, style: Style) -> str:
        hint = "  try: git thrum subscriptions\n"
        return "" if result["removed"] else f"error: this session has no subscription {number}\n{hint}"

    return Plan(
        "unsubscribe",
        {"subscription_id": number},
        confirmation(show.unsubscribed),
        exit_code=lambda result: 0 if result["removed"] else 1,
        complain=complain,
    )


def subscriptions() -> Plan:
    """Those of your open session."""
    return Plan("subscriptions.list", {}, show.subscriptions)
