"""Mail: send, reply, inbox, sent, wait, search, and single messages."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from thrum.cli import render
from thrum.cli.arguments import (
    Format,
    Page,
    PageSize,
    Priority,
    Refs,
    RequestId,
    Scope,
    Scopes,
    Stdin,
    Structured,
    WaitSync,
    calling,
    given,
    pair,
    pairs,
    seconds,
    structured,
)
from thrum.cli.candidates import agents, messages, recipients, threads
from thrum.cli.plan import Next, Plan, Style
from thrum.cli.text import lasting
from thrum.errors import UsageError

Json = dict[str, Any]
Text = Annotated[
    str, typer.Argument(metavar="TEXT", help="The text; `-` reads it from standard input.", show_default=False)
]
MessageId = Annotated[
    str, typer.Argument(metavar="MESSAGE", help="Its id, or a unique beginning of it.", autocompletion=messages)
]


def send(
    context: typer.Context,
    text: Text = "",
    to: Annotated[
        list[str] | None,
        typer.Option(
            "--to", metavar="@WHO", help="An agent, or everyone of a role; repeatable.", autocompletion=recipients
        ),
    ] = None,
    mention: Annotated[
        list[str] | None,
        typer.Option("--mention", metavar="@WHO", help="The same as --to; repeatable.", autocompletion=recipients),
    ] = None,
    broadcast: Annotated[bool, typer.Option("-b", "--broadcast", help="To everyone, and on purpose.")] = False,
    scope: Scopes = None,
    ref: Refs = None,
    thread: Annotated[
        str, typer.Option("--thread", metavar="ID", help="Say it in this thread.", autocompletion=threads)
    ] = "",
    priority: Priority = "normal",
    format: Format = "markdown",
    data: Structured = "",
    stdin: Stdin = False,
    request_id: RequestId = "",
    wait_sync: WaitSync = False,
) -> Plan:
    """Without a recipient it goes to everyone. A text that begins with a dash stands behind `--`.

    git thrum send "Auth is ready" --to @reviewer --scope module:auth
    """
    if broadcast and (to or mention):
        raise UsageError("--broadcast is for everyone: it does not go with --to or --mention", "drop one of them")
    params = given(
        to=["@everyone"] if broadcast else to,
        mentions=mention,
        scopes=pairs("--scope", scope),
        refs=pairs("--ref", ref),
        thread_id=thread,
        format=format,
        priority=priority,
        structured=structured(data),
        request_id=request_id,
    )
    return _posting("message.send", {"content": _read(context, text, stdin), **params}, wait_sync)


def reply(
    context: typer.Context,
    message_id: MessageId,
    text: Text = "",
    scope: Scopes = None,
    ref: Refs = None,
    priority: Priority = "normal",
    format: Format = "markdown",
    data: Structured = "",
    stdin: Stdin = False,
    request_id: RequestId = "",
    wait_sync: WaitSync = False,
) -> Plan:
    """The message counts as read then.

    git thrum reply msg_01K "Looks good"
    """
    params = given(
        scopes=pairs("--scope", scope),
        refs=pairs("--ref", ref),
        format=format,
        priority=priority,
        structured=structured(data),
        request_id=request_id,
    )
    return _posting(
        "message.reply", {"message_id": message_id, "content": _read(context, text, stdin), **params}, wait_sync
    )


def _posting(method: str, params: Json, wait_sync: bool) -> Plan:
    plan = Plan(method, params, render.confirmation(render.sent), complain=render.not_arrived)
    return plan._replace(then=_sync_once, exit_code=_arrival) if wait_sync else plan


def _sync_once(result: Any) -> Next | None:
    return None if "sync" in result else ("sync.force", {})


def _arrival(result: Any) -> int:
    return 0 if render.has_arrived(result.get("sync") or {}) else 1


def _read(context: typer.Context, text: str, stdin: bool) -> str:
    if stdin and text not in ("", "-"):
        raise UsageError("the text is given twice: on the line and with --stdin", "drop one of them")
    if stdin or text == "-":
        return calling(context).input()
    if not text.strip():
        raise UsageError("there is no text to send", "give it as an argument, or `-` to read standard input")
    return text


def inbox(
    scope: Scope = "",
    mentions: Annotated[bool, typer.Option("--mentions", help="Only what is addressed to me or my role.")] = False,
    unread: Annotated[bool, typer.Option("--unread", help="Only unread mail; leaves it unread.")] = False,
    peek: Annotated[bool, typer.Option("--peek", help="Leave it unread.")] = False,
    everybodys: Annotated[bool, typer.Option("--all", help="Everybody's mail; leaves it unread.")] = False,
    page_size: PageSize = 10,
    page: Page = 1,
) -> Plan:
    """Mail is what is addressed to you, your role or everyone, and what is said in threads you take part in."""
    params = given(
        scope=pair("--scope", scope) if scope else None,
        mentions=mentions,
        unread=unread,
        all=everybodys,
        exclude_self=not everybodys,
        page_size=page_size,
        page=page,
    )
    leaves = unread or peek or everybodys
    is_filtered = bool(scope or mentions or unread)

    def show(result: Any, style: Style) -> str:
        empty = "no such mail" if is_filtered else "no mail"
        note = _note(result, leaves) if not everybodys else ""
        return render.inbox(result, style, note=note, empty=empty, marks=not everybodys)

    plan = Plan("message.list", params, show, before=None if everybodys else ("agent.whoami", {}))
    return plan if leaves else plan._replace(after=_mark_shown)


def _note(result: Json, leaves: bool) -> str:
    if not any(not message.get("is_read") for message in result["messages"]):
        return ""
    return "left unread" if leaves else "marked read (--peek leaves it)"


def _mark_shown(result: Any) -> Next | None:
    return _marking([message["message_id"] for message in result["messages"] if not message.get("is_read")])


def _marking(message_ids: list[str]) -> Next | None:
    return ("message.markRead", {"message_ids": message_ids}) if message_ids else None


def sent(page_size: PageSize = 10, page: Page = 1) -> Plan:
    """`stored here` becomes `on the remote` once the remote was seen to have it."""
    return Plan("message.sent", {"page_size": page_size, "page": page}, render.sent_list)


def wait(
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="How long: 30s, 5m, 1h30m, 300ms, or seconds.")
    ] = "30s",
    scope: Scope = "",
    mention: Annotated[
        str,
        typer.Option(
            "--mention", metavar="@WHO", help="Only what is addressed to this agent or role.", autocompletion=recipients
        ),
    ] = "",
    priority: Annotated[str, typer.Option("--priority", metavar="PRIORITY", help="Only what has this priority.")] = "",
    peek: Annotated[bool, typer.Option("--peek", help="Leave it unread.")] = False,
) -> Plan:
    """Exit code 0: a message, printed in full and then marked read; 1: none in time; 2: an error."""
    patience = seconds(timeout)
    params = given(scope=pair("--scope", scope) if scope else None, mention=mention, priority=priority)

    def complain(result: Any, style: Style) -> str:
        if _has_come(result) or style.quiet:
            return ""
        return f"timeout: no {'such ' if params else ''}mail within {lasting(patience)}\n"

    return Plan(
        "message.wait",
        {**params, "timeout": patience},
        render.received,
        after=lambda result: _marking([result["message"]["message_id"]]) if _has_come(result) and not peek else None,
        exit_code=lambda result: 0 if _has_come(result) else 1,
        shape=lambda result: (
            {**result["message"], "more": result["more"]} if _has_come(result) else {"status": "timeout"}
        ),
        complain=complain,
    )


def _has_come(result: Any) -> bool:
    return bool(result) and result.get("status") == "received"


def get(
    message_id: MessageId,
    history: Annotated[bool, typer.Option("--history", help="Also every text it had before.")] = False,
    peek: Annotated[bool, typer.Option("--peek", help="Leave it unread.")] = False,
) -> Plan:
    """It counts as read then. What was deleted says so, and shows no text."""
    plan = Plan("message.get", {"message_id": message_id, **given(history=history)}, render.got)
    return plan if peek else plan._replace(after=lambda result: _marking([result["message"]["message_id"]]))


def edit(
    context: typer.Context, message_id: MessageId, text: Text = "", data: Structured = "", stdin: Stdin = False
) -> Plan:
    """Only what you wrote yourself. Every earlier text is kept: git thrum message get --history

    git thrum message edit msg_01K "The port is 8080, not 8000."
    """
    found = structured(data)
    content = {} if found is not None and not text and not stdin else {"content": _read(context, text, stdin)}
    params = {"message_id": message_id, **content, **given(structured=found)}
    return Plan("message.edit", params, render.confirmation(render.edited))


def delete(
    message_id: MessageId,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; shown to whoever looks for it.")] = "",
    force: Annotated[bool, typer.Option("--force", hidden=True)] = False,
) -> Plan:
    """Only what you wrote yourself. It shows that it was deleted, and no longer its text."""
    return Plan(
        "message.delete", {"message_id": message_id, **given(reason=reason)}, render.confirmation(render.deleted)
    )


def read(
    message_ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="MESSAGE...", help="Their ids, or unique beginnings of them.", autocompletion=messages),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All unread mail.")] = False,
) -> Plan:
    """git thrum message read --all"""
    if bool(message_ids) == everything:
        raise UsageError(
            "say which messages, or --all", "git thrum message read MESSAGE..., or git thrum message read --all"
        )
    show = render.confirmation(render.marked)
    return _read_these(message_ids, show) if message_ids else Plan("message.markRead", {"all": True}, show)


def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS...", help="All must be there; merg* is a beginning.")],
    author: Annotated[
        str, typer.Option("--from", metavar="AGENT", help="Only what this agent wrote.", autocompletion=agents)
    ] = "",
    scope: Scope = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Only what is not older: 2d, 3h, 45m, a date or a time.")
    ] = "",
    page_size: PageSize = 10,
    page: Page = 1,
) -> Plan:
    """Everybody's messages are searched, and nothing is marked read. Several words in quotes of their own are a phrase.

    git thrum search token refresh --from @reviewer --since 2d

    git thrum search '"token refresh"'
    """
    params = given(
        query=" ".join(words),
        author_id=author,
        scope=pair("--scope", scope) if scope else None,
        since=since,
        page_size=page_size,
        page=page,
    )
    return Plan("message.search", params, render.found)


def _read_these(words: list[str], show: render.Render) -> Plan:
    """Each word is made a whole id first, then all are marked at once."""

    def step(result: Any) -> Next | None:
        found = _found(result)
        if "marked_count" in result:
            return None
        return ("message.get", {"message_id": words[len(found)]}) if len(found) < len(words) else _marking(found)

    def merge(result: Any, answer: Any) -> Any:
        return {"found": [*_found(result), *_found(answer)]} if "message" in answer else answer

    return Plan("message.get", {"message_id": words[0]}, show, then=step, merge=merge)


def _found(result: Any) -> list[str]:
    found: list[str] = result.get("found") or []
    return [*found, result["message"]["message_id"]] if "message" in result else found
