import pytest

from tests import kit
from thrum.core import codec
from thrum.errors import BadParams, NotFound, ThrumError, UnknownRecipient

CORE, WEB = {"type": "module", "value": "core"}, {"type": "module", "value": "web"}


def threads(caller, **more):
    found = caller("thread.list", **more)
    return found["threads"]


def ids_of(found):
    return [thread["thread_id"] for thread in found]


def test_a_thread_begins_with_a_title(ann, bob):
    made = ann("thread.create", title="Rounding rules", scopes=[CORE, CORE])
    assert made["title"] == "Rounding rules" and made["created_by"] == "ann" and made["thread_id"].startswith("thr_")
    assert "message_id" not in made
    assert threads(bob) == [
        {
            "thread_id": made["thread_id"],
            "title": "Rounding rules",
            "created_by": "ann",
            "created_at": made["created_at"],
            "scopes": [CORE],
            "message_count": 0,
            "unread_count": 0,
            "last_activity": made["created_at"],
            "last_sender": "",
            "preview": "",
        }
    ]
    shown = bob("thread.get", thread_id=made["thread_id"][:12])
    assert shown["thread"]["title"] == "Rounding rules" and shown["messages"] == [] and shown["total"] == 0


@pytest.mark.parametrize("recipient", ["bob", "@bob", ["@bob"]])
def test_its_first_message_reaches_the_recipient_within_the_thread(engine, ann, bob, cat, recipient):
    made = ann("thread.create", title="Rounding", recipient=recipient, message={"content": "Half-even?"}, scopes=[CORE])
    message = bob("message.list")["messages"][0]
    assert message["message_id"] == made["message_id"] and message["thread_id"] == made["thread_id"]
    assert message["to"] == ["bob"] and message["scopes"] == [CORE]
    assert cat("message.list")["messages"] == []
    bob("message.send", content="Yes", thread_id=made["thread_id"])
    assert [m["body"]["content"] for m in ann("message.list", unread=True)["messages"]] == ["Yes"]


def test_the_same_request_is_the_same_thread_and_the_same_first_message(engine, ann, bob, cat, logs):
    asked = {"title": "Tax", "recipient": "bob", "message": {"content": "first"}, "request_id": "r1"}
    made = ann("thread.create", **asked)
    before = logs()
    assert ann("thread.create", **asked) == made and logs() == before
    only = ann("thread.create", title="Only a title", request_id="r2")
    assert ann("thread.create", title="Only a title", request_id="r2") == only
    assert cat("thread.create", **{**asked, "message": {"content": "mine"}})["thread_id"] != made["thread_id"]
    assert len(threads(bob)) == 3
    engine.projection.rebuild()
    assert ann("thread.create", **asked) == made


def test_a_first_message_that_was_cut_off_is_said_when_it_is_asked_for_again(engine, ann, bob):
    asked = {"title": "Tax", "request_id": "r1"}
    begun = ann("thread.create", **asked)
    made = ann("thread.create", **asked, recipient="bob", message={"content": "first"})
    assert made["thread_id"] == begun["thread_id"]
    assert [message["body"]["content"] for message in bob("thread.get", thread_id=made["thread_id"])["messages"]] == [
        "first"
    ]


def test_both_facts_are_stated_together(engine, ann, bob):
    made = ann("thread.create", title="t", recipient="bob", message={"content": "x", "priority": "high"})
    lines = [
        codec.decode(line)
        for path, data in kit.files(engine.place.log_root).items()
        if "/ann/" in path
        for line in data.splitlines()
    ]
    assert [line["type"] for line in lines][-2:] == ["thread.create", "message.create"]
    assert lines[-1]["thread_id"] == lines[-2]["thread_id"] == made["thread_id"] and lines[-1]["priority"] == "high"


@pytest.mark.parametrize(
    ("params", "refusal"),
    [
        ({"title": ""}, BadParams),
        ({"title": " "}, BadParams),
        ({"title": "x" * 501}, BadParams),
        ({"title": "t", "recipient": "bob"}, BadParams),
        ({"title": "t", "message": {"content": "x"}}, BadParams),
        ({"title": "t", "recipient": [], "message": {"content": "x"}}, BadParams),
        ({"title": "t", "recipient": "nobody", "message": {"content": "x"}}, UnknownRecipient),
        ({"title": "t", "recipient": "bob", "message": {"content": ""}}, BadParams),
        ({"title": "t", "recipient": "bob", "message": {}}, BadParams),
        ({"title": "t", "recipient": "bob", "message": {"content": 7}}, BadParams),
        ({"title": "t", "recipient": "bob", "message": {"content": "x", "format": "html"}}, BadParams),
        ({"title": "t", "recipient": 7, "message": {"content": "x"}}, BadParams),
        ({"title": "t", "recipient": "bob", "message": {"content": "x"}, "acting_as": "bob"}, ThrumError),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_begun_changes_nothing(ann, bob, logs, params, refusal):
    before = logs()
    with pytest.raises(refusal):
        ann("thread.create", **params)
    assert logs() == before and threads(ann) == []


def test_the_thread_with_the_latest_activity_comes_first_page_by_page(ann, bob):
    made = [ann("thread.create", title=f"t{number}")["thread_id"] for number in range(5)]
    bob("message.send", content="again", thread_id=made[1], to=["ann"])
    expected = [made[1], made[4], made[3], made[2], made[0]]
    assert ids_of(threads(ann)) == expected
    pages = [ann("thread.list", page_size=2, page=number) for number in (1, 2, 3, 4)]
    assert [ids_of(page["threads"]) for page in pages] == [expected[:2], expected[2:4], expected[4:], []]
    assert {(page["total"], page["total_pages"]) for page in pages} == {(5, 3)}


def test_counts_are_the_callers_and_nobody_has_its_own_to_read(ann, bob, cat):
    made = ann("thread.create", title="t", recipient="bob", message={"content": "one"})["thread_id"]
    two = ann("message.send", content="two " + "é" * 200, thread_id=made, to=["bob"])["message_id"]
    bob("message.send", content="three", thread_id=made)
    gone = ann("message.send", content="gone", thread_id=made)["message_id"]
    ann("message.delete", message_id=gone)
    views = {who: threads(caller)[0] for who, caller in (("ann", ann), ("bob", bob), ("cat", cat))}
    assert {who: (view["message_count"], view["unread_count"]) for who, view in views.items()} == {
        "ann": (3, 1),
        "bob": (3, 2),
        "cat": (3, 0),
    }
    assert views["cat"]["last_sender"] == "bob" and views["cat"]["preview"] == "three"
    bob("message.markRead", message_ids=[two])
    assert threads(bob)[0]["unread_count"] == 1
    ann("message.edit", message_id=two, content="z" * 101)
    bob("message.delete", message_id=bob("message.sent")["messages"][0]["message_id"])
    assert threads(bob)[0]["preview"] == "z" * 100 + "…"


def test_a_scope_finds_threads_that_carry_it_and_threads_in_which_a_message_does(ann, bob):
    own = ann("thread.create", title="own", scopes=[CORE])["thread_id"]
    said = ann("thread.create", title="said")["thread_id"]
    ann("message.send", content="x", thread_id=said, scopes=[CORE], to=["bob"])
    ann("thread.create", title="other", scopes=[WEB])
    found = bob("thread.list", scope=CORE)
    assert ids_of(found["threads"]) == [said, own] and found["total"] == 2
    assert threads(bob, scope={"type": "module", "value": "none"}) == []


def test_a_thread_that_only_messages_mention_is_listed_under_its_first_words(engine, ann):
    stray = kit.message("dan", "Where is it?\nI looked.", thread_id="thr_stray")
    kit.write_log(engine.place.log_root, "dan", stray)
    (thread,) = threads(ann)
    assert (thread["thread_id"], thread["title"], thread["created_by"]) == ("thr_stray", "Where is it?", "dan")
    assert (thread["message_count"], thread["unread_count"], thread["created_at"]) == (1, 1, stray["timestamp"])
    assert ann("thread.get", thread_id="stray")["thread"]["title"] == "Where is it?"


def test_a_thread_is_read_from_the_beginning_page_by_page(ann, bob):
    made = ann("thread.create", title="t", recipient="bob", message={"content": "0"})["thread_id"]
    for number in range(1, 5):
        (ann if number % 2 else bob)("message.send", content=str(number), thread_id=made)
    seen = []
    for page in (1, 2, 3):
        shown = bob("thread.get", thread_id=made, page_size=2, page=page)
        assert (shown["total"], shown["total_pages"]) == (5, 3)
        seen += [(m["body"]["content"], m["is_read"]) for m in shown["messages"]]
    assert seen == [("0", False), ("1", False), ("2", True), ("3", False), ("4", True)]
    bob("message.markRead", all=True)
    assert all(m["is_read"] for m in bob("thread.get", thread_id=made)["messages"])


def test_what_was_deleted_keeps_its_place_without_its_text(ann, bob):
    made = ann("thread.create", title="t", recipient="bob", message={"content": "secret"})
    bob("message.send", content="what?", thread_id=made["thread_id"])
    ann("message.delete", message_id=made["message_id"])
    shown = bob("thread.get", thread_id=made["thread_id"])["messages"]
    assert [(m["deleted"], m["body"]["content"]) for m in shown] == [(True, ""), (False, "what?")]


def test_a_deleted_message_does_not_live_on_as_the_title_of_its_thread(ann, bob):
    first = ann("message.send", content="the password is hunter2")["message_id"]
    thread_id = bob("message.reply", message_id=first, content="oh no")["thread_id"]
    assert "hunter2" in bob("thread.get", thread_id=thread_id)["thread"]["title"]
    ann("message.delete", message_id=first)
    for shown in (bob("thread.get", thread_id=thread_id), bob("thread.list"), bob("message.search", query="hunter2")):
        assert "hunter2" not in repr(shown)
    assert bob("thread.list")["threads"][0]["title"] == "(deleted)"


@pytest.mark.parametrize(
    ("given", "refusal"), [("", BadParams), ("thr_", BadParams), ("thr_none", NotFound), ("none", NotFound)]
)
def test_threads_that_do_not_exist(ann, given, refusal):
    ann("thread.create", title="t")
    with pytest.raises(refusal):
        ann("thread.get", thread_id=given)
    if given:
        with pytest.raises(refusal):
            ann("message.send", content="x", thread_id=given)


def test_threads_survive_a_rebuild_with_their_scopes(engine, ann):
    ann("thread.create", title="t", scopes=[WEB, CORE])
    before = threads(ann)
    engine.projection.rebuild()
    assert threads(ann) == before
