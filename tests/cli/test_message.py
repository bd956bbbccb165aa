"""Single messages: said differently, taken back, looked for."""

import contextlib
import json

import pytest

from tests import kit


@pytest.fixture
def sent(bob, rita):
    """The id of what @bob wrote to @rita."""
    return bob.ask("send", "first\n  text", "--to", "rita")["message_id"]


def test_an_edit_is_seen_by_its_reader_and_every_text_is_kept(bob, rita, sent):
    assert bob.ok("message", "edit", sent[:14], "second") == f"edited {sent} (edit 1)\n"
    assert bob.ask("message", "edit", sent, "-", stdin=b"third\n")["version"] == 2
    shown = rita.ok("inbox", "--peek")
    assert "(edited)" in shown and "third" in shown
    assert "first" not in rita.ok("message", "get", sent, "--peek")
    shown = rita.ok("message", "get", sent, "--history", "--peek")
    assert shown.index("third") < shown.index("  second") < shown.index("  first\n    text")
    history = rita.ask("message", "get", sent, "--history")["message"]["history"]
    assert [one["content"] for one in history] == ["first\n  text", "second", "third\n"]


def test_an_edit_may_leave_the_text_and_change_what_is_for_programs(bob, sent):
    bob.ok("message", "edit", sent, "--structured", '{"pr": 7}')
    message = bob.ask("message", "get", sent)["message"]
    assert message["body"]["content"] == "first\n  text"
    assert json.loads(message["body"]["structured"]) == {"pr": 7}


def test_only_the_author_edits_and_deletes(bob, rita, sent):
    for words in (("edit", sent, "mine"), ("delete", sent)):
        ended = rita("message", *words)
        assert (ended.code, f"is bob's, and rita cannot {words[0]} it" in ended.err) == (1, True)
        assert "try: answer it: git thrum reply" in ended.err
    assert "first" in bob.ok("message", "get", sent)


def test_a_deleted_message_shows_that_it_was_and_not_its_text(bob, rita, sent):
    assert bob.ok("message", "delete", sent, "--reason", "wrong\x1bchannel", "--force") == f"deleted {sent}\n"
    shown = rita.ok("message", "get", sent)
    assert "deleted just now by @bob: wrong\\x1bchannel" in shown
    assert "(deleted)" in shown and "first" not in shown
    got = rita.ask("message", "get", sent, "--history")["message"]
    assert (got["deleted"], got["body"]["content"], "history" in got) == (True, "", False)
    assert rita.ok("inbox") == "no mail · 0 unread\n"
    assert bob.ok("message", "delete", sent, "--force") == f"deleted {sent}\n"
    again = bob("message", "edit", sent, "back again", "--json")
    assert (again.code, again.json["error"]["kind"]) == (1, "AlreadyDeleted")


def test_quiet_says_nothing_of_it(bob, sent):
    assert bob.ok("message", "edit", sent, "x", "--quiet") == ""
    assert bob.ok("message", "delete", sent, "--quiet") == ""


def test_a_search_shows_a_line_of_what_it_found_and_marks_nothing(bob, rita, sent):
    bob.ok("send", "about tokens:\n" + "\n".join(f"line {n}" for n in range(50)), "--to", "rita")
    shown = rita.ok("search", "tok*")
    assert "about tokens" in shown and "line 40" not in shown
    assert "1–1 of 1" in shown  # noqa: RUF001
    assert rita.ask("search", "first", "--from", "@bob", "--since", "1h")["total"] == 1
    assert rita.ask("search", '"text first"')["total"] == 0
    assert rita.ok("search", "nowhere") == "nothing found\n"
    assert rita.ask("inbox", "--peek")["unread"] == 2
    assert rita("search", "x", "--since", "soon").code == 1


def test_what_a_user_wrote_in_an_agents_name_is_shown_as_such(bob, rita, repository):
    with contextlib.closing(kit.open_engine(repository)) as engine:
        user = kit.Caller(engine, "")
        user("user.register", username="leon")
        user.claim = user.claim._replace(agent_id="user:leon")
        user("session.start")
        message_id = user("message.send", content="as told", to=["rita"], acting_as="bob", disclose=True)["message_id"]
    told = "@bob (written by @user:leon)"
    for shown in (
        rita.ok("inbox", "--peek"),
        rita.ok("wait", "--peek"),
        rita.ok("message", "get", message_id, "--peek"),
        rita.ok("search", "told"),
        bob.ok("sent"),
    ):
        assert told in shown
    thread_id = rita.ask("reply", message_id, "so?")["thread_id"]
    assert told in rita.ok("thread", "show", thread_id)
    for document in (rita.ask("inbox"), bob.ask("sent"), rita.ask("search", "told")):
        assert document["messages"][-1]["authored_by"] == "user:leon"
