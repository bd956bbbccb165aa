"""Search: messages by their words."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.core import clock
from thrum.core import query as queries
from thrum.core.excerpt import snippet
from thrum.errors import BadParams
from thrum.methods import paging, parameters
from thrum.methods.context import Context
from thrum.methods.registry import Pair, method

Json = dict[str, Any]
_LONGEST_QUERY = 1000
_MOST_TERMS = 50


@method("message.search", searches=True)
def search(
    ctx: Context,
    query: Annotated[str, 'words that must all be there; "two words" is a phrase, merg* a beginning'],
    author_id: Annotated[str, "only what this agent wrote"] = "",
    scope: parameters.Scope = None,
    since: Annotated[str, "only what is not older: an RFC 3339 time, a date, or an age like 45m, 3h, 2d"] = "",
    page_size: parameters.PageSize = 10,
    page: parameters.PageNumber = 1,
) -> Json:
    """Find messages by their words, newest first.

    Everybody's messages are looked through, as `message.list` with `all` shows them; the present text counts, and what was
    deleted is not found. Case and accents do not matter. Gives `{messages, total, page, page_size, total_pages}`; a message is
    as in `message.list`, with a `snippet`: one line around the first word found.
    """
    wanted = _wanted(ctx, query, author_id, scope, since)
    size, number = paging.bounds(page_size, page)
    found, total = ctx.search.find(wanted, size, number)
    words = [word for term in wanted.terms for word in term.text.split()]
    messages = ctx.mail.summaries(found, ctx.me_or_nobody())
    shown = [{**message, "snippet": snippet(message["body"]["content"], words)} for message in messages]
    return {"messages": shown, **paging.described(total, size, number)}


def _wanted(ctx: Context, text: str, author_id: str, scope: Pair | None, since: str) -> queries.Wanted:
    terms = queries.parse(text) if len(text) <= _LONGEST_QUERY else []
    if not terms or len(terms) > _MOST_TERMS:
        raise BadParams(
            f"query needs 1 to {_MOST_TERMS} words, {_LONGEST_QUERY} characters at most", "git thrum search WORDS"
        )
    instant = clock.moment(since, ctx.now()) if since else 0
    if instant is None:
        raise BadParams(f"since is no time: {since[:80]}", "2026-02-10T09:31:00Z, 2026-02-10, 2d, 3h or 45m")
    return queries.Wanted(
        terms, author_id.removeprefix("@"), (scope.type, scope.value) if scope else None, max(instant, 0)
    )
