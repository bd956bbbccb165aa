"""Threads: conversations with a title."""

from __future__ import annotations

from typing import Annotated

import typer

from thrum.cli import render_threads as show
from thrum.cli.arguments import Page, PageSize, Scope, Scopes, given, pair, pairs
from thrum.cli.candidates import recipients, threads
from thrum.cli.plan import Plan
from thrum.cli.render import confirmation
from thrum.errors import UsageError


def create(
    title: Annotated[str, typer.Argument(metavar="TITLE", help="What it is about.")],
    message: Annotated[str, typer.Option("--message", metavar="TEXT", help="Its first message; wants --to.")] = "",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="@WHO", help="Whom the first message is for; repeatable.", autocompletion=recipients
        ),
    ] = None,
    scope: Scopes = None,
) -> Plan:
    """A reply to a message makes a thread by itself.

    git thrum thread create "Token refresh" --to @reviewer --message "Shall it be safe to repeat?"
    """
    if bool(message) != bool(to):
        raise UsageError(
            f"{'--message' if message else '--to'} needs {'--to' if message else '--message'}",
            "give both, or neither; @everyone is everyone",
        )
    params = given(title=title, recipient=to, message={"content": message} if message else None)
    return Plan("thread.create", {**params, **given(scopes=pairs("--scope", scope))}, confirmation(show.created))


def list_(scope: Scope = "", page_size: PageSize = 10, page: Page = 1) -> Plan:
    """Those where something was said last come first."""
    params = given(scope=pair("--scope", scope) if scope else None, page_size=page_size, page=page)
    return Plan("thread.list", params, show.threads)


def show_(
    thread_id: Annotated[
        str, typer.Argument(metavar="THREAD", help="Its id, or a unique beginning of it.", autocompletion=threads)
    ],
    page_size: PageSize = 10,
    page: Page = 1,
) -> Plan:
    """Nothing is marked read by it."""
    return Plan("thread.get", {"thread_id": thread_id, "page_size": page_size, "page": page}, show.thread)
