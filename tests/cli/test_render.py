"""Results as people read them."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.cli import render, render_agents, render_state
from thrum.cli.plan import Style
from thrum.core import clock

NOW = clock.instant("2026-02-10T12:00:00Z")
STYLE = Style(now=NOW)
AT = "2026-02-10T11:57:00Z"
EVIL = "e\x1b[31mvil\u202e\u200b\n\U000e0041"


def message(**fields):
    made = {
        "message_id": "msg_1",
        "agent_id": "bob",
        "body": {"format": "markdown", "content": "Auth is ready.\n  - look first"},
        "created_at": AT,
        "is_read": False,
        "deleted": False,
        "priority": "normal",
        "scopes": [{"type": "module", "value": "auth"}],
        "refs": [{"type": "pr", "value": "42"}, {"type": "mention", "value": "rita"}],
        "to": ["rita"],
    }
    return {**made, **fields}


def page(*messages, total=1, page=1, size=10, unread=1):
    pages = -(-total // size)
    return {
        "messages": list(messages),
        "total": total,
        "unread": unread,
        "page": page,
        "page_size": size,
        "total_pages": pages,
    }


def inbox(result, style=STYLE, note="marked read", empty="no mail"):
    return render.inbox(result, style, note=note, empty=empty)


def test_an_inbox_looks_like_this():
    assert inbox(page(message())) == (
        " NEW  msg_1  @bob  3m ago  to @rita  [module:auth pr:42]\n"
        "      Auth is ready.\n"
        "        - look first\n"
        "1–1 of 1 · 1 unread · marked read\n"  # noqa: RUF001
    )


def test_marks_of_a_message():
    shown = inbox(page(message(priority="critical", updated_at=AT, to=["*"], is_read=True, thread_id="thr_1")))
    assert shown.startswith("      msg_1  @bob  3m ago  to everyone  critical  (edited)")
    assert "thr_1" not in shown
    assert "thr_1" in inbox(page(message(thread_id="thr_1")), STYLE._replace(verbose=True, width=200))
    assert "(deleted)" in inbox(page(message(deleted=True, body={"format": "plain", "content": ""})))


@pytest.mark.parametrize(
    ("result", "footer"),
    [
        (page(total=0, unread=0), "no mail · 0 unread"),
        (page(total=23, page=5, unread=4), "page 5 is empty: the last one is page 3 · 4 unread"),
        (page(message(), message(), total=23, page=2), "11–12 of 23 · 1 unread · marked read"),  # noqa: RUF001
    ],
)
def test_the_footer_says_which_page_this_is(result, footer):
    assert inbox(result).rstrip("\n").split("\n")[-1] == footer


def test_a_narrow_terminal_breaks_lines_and_not_words():
    shown = inbox(page(message()), STYLE._replace(width=40))
    assert all(len(line) <= 40 for line in shown.split("\n"))
    assert "msg_1" in shown


def test_colours_only_when_wanted():
    assert "\x1b" not in inbox(page(message()))
    assert "\x1b[32mNEW\x1b[0m" in inbox(page(message()), STYLE._replace(color=True))


def test_a_message_alone_is_shown_whole():
    answer = message(refs=[{"type": "reply_to", "value": "msg_0"}], thread_id="thr_0")
    assert render.received({"status": "received", "message": answer, "more": 3}, STYLE) == (
        "msg_1  @bob  3m ago  to @rita  [module:auth]\n"
        "  answers msg_0\n"
        "  in thread thr_0\n"
        "\n"
        "Auth is ready.\n  - look first\n"
        "3 more unread: git thrum inbox\n"
    )
    assert render.received({"status": "timeout"}, STYLE) == ""


def test_sent_messages_tell_who_read_them_and_how_far_they_got():
    listed = page(message(state="remote", read_by=["rita", "carl"]), message(state="local", read_by=[]), total=2)
    del listed["unread"]
    shown = render.sent_list(listed, STYLE._replace(width=200))
    assert "on the remote  read by @rita, @carl" in shown
    assert "stored here  unread" in shown


def test_many_recipients_are_counted():
    result = {"message_id": "m", "everyone": False, "recipients": [f"a{n}" for n in range(8)], "recipient_count": 8}
    assert render.sent(result, STYLE) == "sent m to @a0, @a1, @a2, @a3, @a4 and 3 more (8 agents), stored here\n"
    everyone = {**result, "everyone": True, "recipient_count": 3}
    assert render.sent(everyone, STYLE) == "sent m to everyone (3 agents), stored here\n"


AGENT = {
    "agent_id": "bob",
    "role": "planner",
    "module": "auth",
    "display": "",
    "status": "online",
    "worktree": "wt",
    "here": True,
}
CONTEXT = {
    "agent_id": "bob",
    "session_id": "ses_1",
    "branch": "feature",
    "unmerged_commits": [{"sha": "0123456789abcdef", "message": "Add it"}],
    "changed_files": ["a.py"],
    "uncommitted_files": ["b.py", "a.py"],
    "git_updated_at": AT,
    "intent": "plan",
}


def test_agents_are_told_apart_by_name():
    agents = [
        {**AGENT, "intent": "plan it"},
        {**AGENT, "agent_id": "furiosa", "status": "offline", "last_seen_at": AT, "here": False},
    ]
    assert render_agents.agents({"agents": agents}, STYLE) == (
        "●  @bob      planner (auth)  online  in wt\n"
        "             intent: plan it\n"
        "○  @furiosa  planner (auth)  seen 3m ago  in another clone\n"
    )


def test_a_works_context_in_full():
    assert render_agents.context({"contexts": [CONTEXT]}, STYLE) == (
        "agent    @bob\n"
        "session  ses_1\n"
        "branch   feature\n"
        "intent   plan\n"
        "updated  3m ago\n"
        "unmerged commits (1)\n  0123456789 Add it\n"
        "changed files (1)\n  a.py\n"
        "uncommitted files (2)\n  b.py\n  a.py\n"
    )
    assert "@bob   feature  1        2      3m ago" in render_agents.contexts({"contexts": [CONTEXT]}, STYLE)


def test_who_has_a_file():
    holder = {
        **AGENT,
        "uncommitted": ["a.py"],
        "committed": [],
        "branch": "feature",
        "git_updated_at": AT,
        "intent": "",
    }
    assert (
        render_agents.holders({"file": "a.py", "holders": [holder]}, STYLE)
        == "●  @bob  uncommitted  on feature  3m ago\n"
    )
    assert render_agents.holders({"file": "a.py", "holders": []}, STYLE) == "nobody has a.py\n"


def test_status_without_an_agent_says_why_and_what_to_do():
    result = {"agent": None, "why": "no agent", "hint": "git thrum quickstart", "sync": {"sync_state": "idle"}}
    assert (
        render_state.status(result, STYLE)
        == "agent  none: no agent\ntry    git thrum quickstart\nsync   not tried yet\n"
    )


def test_overview_shows_the_team():
    me = {"agent_id": "rita", "role": "r", "module": "m", "session_id": "s", "session_start": AT}
    result = {
        "agent": me,
        "work_context": CONTEXT,
        "inbox": {"total": 2, "unread": 1},
        "sync": {"sync_state": "error", "last_error": "no route", "pending": 1},
        "team": [{**AGENT, "context": CONTEXT}],
    }
    shown = render_state.overview(result, STYLE)
    assert "1 unread, 2 messages in all" in shown
    assert "failed: no route, 1 event to push" in shown
    assert "branch: feature, 1 unmerged commit, 1 changed, 2 uncommitted" in shown


def spoil(value):
    """The same result with every text replaced by a hostile one; ids, times and words of ours stay."""
    if isinstance(value, dict):
        kept = (
            "created_at",
            "status",
            "state",
            "sync_state",
            "source",
            "git_updated_at",
            "last_seen_at",
            "started_at",
            "type",
        )
        return {key: item if key in kept else spoil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spoil(item) for item in value]
    return value + EVIL if isinstance(value, str) else value


SYNC = {"sync_state": "error", "last_error": "x", "remote": "origin", "url": "u", "hint": "h", "pending": 2}
SESSION = {"session_id": "s", "agent_id": "a", "started_at": AT, "intent": "i", "end_reason": "normal", "ended_at": AT}
EVERYTHING = {
    "inbox": (lambda r, s: inbox(r, s), page(message())),
    "whole": (render.got, {"message": message(body={"format": "plain", "content": "c", "structured": "{}"})}),
    "sent": (render.sent_list, page(message(state="local", read_by=["x"]))),
    "send": (
        render.sent,
        {
            "message_id": "m",
            "everyone": False,
            "recipients": ["x"],
            "recipient_count": 1,
            "thread_id": "t",
            "from": "f",
        },
    ),
    "agents": (render_agents.agents, {"agents": [{**AGENT, "intent": "i", "current_task": "t"}]}),
    "contexts": (render_agents.contexts, {"contexts": [CONTEXT, CONTEXT]}),
    "context": (render_agents.context, {"contexts": [CONTEXT]}),
    "holders": (
        render_agents.holders,
        {"file": "f", "holders": [{**AGENT, "uncommitted": ["g"], "branch": "b", "intent": "i"}]},
    ),
    "ping": (render_agents.pinged, {"agent": AGENT, "context": CONTEXT}),
    "whoami": (render_agents.whoami, {**AGENT, "source": "elsewhere", "session_id": "s"}),
    "started": (
        render_agents.started,
        {"register": {**AGENT, "status": "registered"}, "session": SESSION, "intent": {"intent": "x"}},
    ),
    "sessions": (render_agents.sessions, {"sessions": [SESSION]}),
    "status": (render_state.status, {"agent": AGENT, "work_context": CONTEXT, "sync": SYNC}),
    "overview": (
        render_state.overview,
        {"agent": None, "why": "w", "sync": SYNC, "team": [{**AGENT, "context": CONTEXT}]},
    ),
    "sync": (render_state.sync_status, SYNC),
    "not synced": (render_state.not_synced, {"ok": False, "error": "e", "hint": "h"}),
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("verbose", [False, True])
def test_nothing_from_outside_reaches_the_terminal_raw(name, verbose):
    show, result = EVERYTHING[name]
    shown = show(spoil(result), STYLE._replace(verbose=verbose, width=500))
    assert "vil\\u202e" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\U000e0041]", shown), repr(shown)


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_text_ends_its_last_line(name):
    show, result = EVERYTHING[name]
    assert show(result, STYLE).endswith("\n")
    json.dumps(result)


@given(st.text(st.characters(codec="utf-8"), max_size=300), st.integers(20, 120))
def test_any_body_can_be_shown(body, width):
    shown = inbox(page(message(body={"format": "plain", "content": body})), STYLE._replace(width=width))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", shown)
