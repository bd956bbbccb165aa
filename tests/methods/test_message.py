import os
import threading
import time
from types import SimpleNamespace

import pytest

from tests import kit
from thrum.core import clock, codec
from thrum.errors import BadParams, NoIdentity, NotFound, ThrumError, UnknownRecipient


def ids_of(answer):
    return [message["message_id"] for message in answer["messages"]]


def inbox(caller, **more):
    return ids_of(caller("message.list", exclude_self=True, page_size=100, **more))


def sent_lines(engine, agent="ann"):
    return [
        codec.decode(line)
        for path, data in sorted(kit.files(engine.place.log_root).items())
        if f"messages/{agent}/" in path
        for line in data.splitlines()
    ]


@pytest.mark.parametrize(
    ("to", "reached"),
    [
        (["bob"], {"bob"}),
        (["@bob"], {"bob"}),
        (["@implementer"], {"bob", "cat"}),
        (["@reviewer"], set()),
        (["bob", "@implementer", "bob"], {"bob", "cat"}),
        (["@everyone"], {"bob", "cat"}),
        ([], {"bob", "cat"}),
        (["bob", "@everyone"], {"bob", "cat"}),
    ],
)
def test_mail_reaches_whom_it_is_sent_to_and_nobody_else(team, to, reached):
    ann, *others = team
    answer = ann("message.send", content="hello", to=to)
    assert set(answer["recipients"]) == reached and answer["recipient_count"] == len(reached)
    for caller, name in zip(others, ("bob", "cat"), strict=True):
        assert inbox(caller) == ([answer["message_id"]] if name in reached else [])
    assert inbox(ann) == []


def test_mentions_are_recipients_like_any_other(team):
    ann, bob, cat = team
    sent = ann("message.send", content="x", mentions=["@bob"])
    assert inbox(bob) == [sent["message_id"]] and inbox(cat) == []


def test_recipients_are_frozen_when_it_is_sent(engine, repository, team):
    ann, bob, _ = team
    ann("message.send", content="x", to=["@implementer"])
    late = kit.hire(engine, kit.add_worktree(repository, "dans"), "dan", "implementer")
    assert inbox(late) == []
    bob("agent.register", role="planner", module="core", name="bob")
    assert len(inbox(bob)) == 1
    assert sorted(sent_lines(engine)[-1]["to"]) == ["bob", "cat"]


def test_the_event_keeps_v010s_mention_refs_beside_the_resolved_ids(engine, team):
    team[0]("message.send", content="x", to=["@implementer"], refs=[{"type": "pr", "value": "1"}])
    event = sent_lines(engine)[-1]
    assert {"type": "mention", "value": "implementer"} in event["refs"] and {"type": "pr", "value": "1"} in event[
        "refs"
    ]


def test_mail_to_myself_alone_is_stored_and_reaches_nobody(team):
    ann, bob, _ = team
    answer = ann("message.send", content="note", to=["ann"])
    assert answer["recipient_count"] == 0 and inbox(bob) == [] == inbox(ann)
    assert ids_of(ann("message.sent")) == [answer["message_id"]]


@pytest.mark.parametrize("to", [["@nobody"], ["bob", "zed"], ["bobb"], ["*"], ["Bob"], [" bob"]])
def test_an_unknown_recipient_stores_nothing(team, logs, to):
    before = logs()
    with pytest.raises(UnknownRecipient) as caught:
        team[0]("message.send", content="x", to=to)
    assert logs() == before
    assert to[-1] in str(caught.value) and caught.value.hint


def test_the_nearest_names_are_told(team):
    with pytest.raises(UnknownRecipient) as caught:
        team[0]("message.send", content="x", to=["bobb"])
    assert "@bob" in caught.value.hint


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"content": ""}, "content"),
        ({"content": "  \n"}, "content"),
        ({"content": "x" * (1024 * 1024 + 1)}, "content"),
        ({"content": "é" * (512 * 1024 + 1)}, "content"),
        ({"content": "x", "format": "html"}, "format"),
        ({"content": "{", "format": "json"}, "JSON"),
        ({"content": "[" * 100_000, "format": "json"}, "JSON"),
        ({"content": "x", "priority": "urgent"}, "priority"),
        ({"content": "x", "structured": {"a": "x" * (1024 * 1024)}}, "structured"),
        ({"content": "x", "thread_id": "thr_none"}, "thr_none"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_cannot_be_sent_is_named_and_nothing_is_stored(team, logs, params, word):
    before = logs()
    with pytest.raises(ThrumError, match=word):
        team[0]("message.send", **params)
    assert logs() == before


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_no_json_holds_are_refused_and_nothing_is_stored(team, logs, number):
    before = logs()
    with pytest.raises(BadParams):
        team[0]("message.send", content="x", structured={"n": number})
    assert logs() == before


@pytest.mark.parametrize(
    "content", ["x" * 1024 * 1024, "\0\u2028\x85\ufeff<>&\r\n", "\x1b]52;c;x\x07", "‮evil", '{"a":1}', "@bob"]
)
def test_any_text_up_to_a_megabyte_arrives_as_it_was(team, content):
    sent = team[0]("message.send", content=content, to=["bob"])
    assert team[1]("message.get", message_id=sent["message_id"])["message"]["body"]["content"] == content


def test_a_message_keeps_all_it_was_sent_with(team):
    ann, bob, _ = team
    scopes, refs = [{"type": "module", "value": "core"}], [{"type": "pr", "value": "42"}]
    sent = ann(
        "message.send",
        content='{"a":1}',
        to=["bob"],
        scopes=scopes * 2,
        refs=refs,
        format="json",
        structured={"n": 1},
        priority="high",
    )
    found = bob("message.get", message_id=sent["message_id"])["message"]
    assert found["scopes"] == scopes and refs[0] in found["refs"] and found["priority"] == "high"
    assert found["body"] == {"format": "json", "content": '{"a":1}', "structured": '{"n":1}'}
    assert found["author"]["agent_id"] == "ann" and found["author"]["session_id"]


def test_a_message_may_be_sent_without_a_session(engine, repository, bob):
    dan = kit.hire(engine, kit.add_worktree(repository, "dans"), "dan", session=False)
    assert dan("message.send", content="x")["message_id"]


def test_one_request_is_one_message(team, engine, logs):
    ann, bob, _ = team
    first = ann("message.send", content="x", to=["bob"], request_id="r1")
    before = logs()
    again = ann("message.send", content="x", to=["cat"], request_id="r1")
    assert again["message_id"] == first["message_id"] and again["created_at"] == first["created_at"]
    assert logs() == before and len(inbox(bob)) == 1
    engine.projection.rebuild()
    assert ann("message.send", content="x", to=["bob"], request_id="r1")["message_id"] == first["message_id"]
    assert logs() == before


def test_a_repeated_request_answers_whom_the_message_reached_and_not_whom_it_names_now(team):
    ann = team[0]
    ann("message.send", content="x", to=["bob"], request_id="r1")
    assert ann("message.send", content="x", to=["cat"], request_id="r1")["recipients"] == ["bob"]


def test_a_request_that_is_known_is_made_durable_before_it_is_acknowledged_again(team, monkeypatch):
    """Whoever sent it first may have been killed between writing and flushing."""
    ann, _, _ = team
    ann("message.send", content="x", to=["bob"], request_id="r1")
    flushed = []
    monkeypatch.setattr(os, "fdatasync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    ann("message.send", content="x", to=["bob"], request_id="r1")
    assert [path for path in flushed if "/messages/ann/" in path]


def test_two_agents_may_choose_the_same_request_id(team):
    *_, cat = team
    assert len({caller("message.send", content="x", request_id="r1")["message_id"] for caller in team}) == 3
    assert len(inbox(cat)) == 2


def test_a_repeated_reply_is_one_reply_one_thread_and_one_read_mark(team, logs):
    ann, bob, _ = team
    sent = ann("message.send", content="x", to=["bob"])
    first = bob("message.reply", message_id=sent["message_id"], content="y", request_id="r1")
    before = logs()
    assert bob("message.reply", message_id=sent["message_id"], content="y", request_id="r1") == first
    assert logs() == before


def test_one_request_from_two_engines_at_once_is_one_message(repository, team):
    answers, errors = [], []

    def send():
        engine = kit.open_engine(repository)
        try:
            caller = kit.Caller(engine, repository, "ann")
            answers.append(caller("message.send", content="x", to=["bob"], request_id="same")["message_id"])
        except Exception as error:
            errors.append(error)
        finally:
            engine.close()

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(answers) == 6 and len(set(answers)) == 1
    assert inbox(team[1]) == answers[:1] and team[1]("message.list", unread=True)["unread"] == 1


def test_a_reply_continues_the_thread_with_the_original_in_it(team):
    ann, bob, cat = team
    sent = ann("message.send", content="first line\nsecond", to=["bob"])
    assert "thread_id" not in sent
    reply = bob("message.reply", message_id=sent["message_id"], content="yes")
    again = ann("message.reply", message_id=reply["message_id"], content="good")
    assert reply["thread_id"] == again["thread_id"]
    thread = ids_of(ann("message.list", thread_id=reply["thread_id"], sort_order="asc"))
    assert thread == [sent["message_id"], reply["message_id"], again["message_id"]]
    assert (
        inbox(ann) == [reply["message_id"]]
        and inbox(bob) == [again["message_id"], sent["message_id"]]
        and inbox(cat) == []
    )
    found = ann("message.get", message_id=reply["message_id"])["message"]
    assert {"type": "reply_to", "value": sent["message_id"]} in found["refs"]


@pytest.mark.parametrize(
    ("to", "reached"),
    [(["bob"], {"ann"}), (["@implementer"], {"ann", "cat"}), (["bob", "cat"], {"ann", "cat"}), ([], {"ann", "cat"})],
)
def test_a_reply_reaches_the_author_and_the_recipients_of_what_it_answers(team, to, reached):
    ann, bob, cat = team
    sent = ann("message.send", content="x", to=to)
    reply = bob("message.reply", message_id=sent["message_id"], content="y")
    assert set(reply["recipients"]) == reached
    assert (reply["message_id"] in inbox(ann)) == ("ann" in reached)
    assert (reply["message_id"] in inbox(cat)) == ("cat" in reached)


def test_an_answer_to_ones_own_message_reaches_its_recipients_again(team):
    ann, bob, cat = team
    sent = ann("message.send", content="x", to=["bob"])
    reply = ann("message.reply", message_id=sent["message_id"], content="more")
    assert reply["recipients"] == ["bob"] and len(inbox(bob)) == 2 and inbox(cat) == []


def test_an_answer_to_an_edited_message_goes_where_the_message_went(engine, team):
    ann, bob, _ = team
    sent = ann("message.send", content="x", to=["bob"])
    edit = kit.event("message.edit", message_id=sent["message_id"], body={"format": "markdown", "content": "edited"})
    engine.state("ann", [edit])
    reply = bob("message.reply", message_id=sent["message_id"], content="y")
    assert reply["recipients"] == ["ann"] and inbox(ann) == [reply["message_id"]]


def test_an_answer_to_a_deleted_message_still_reaches_its_author_and_does_not_quote_it(engine, team):
    ann, bob, _ = team
    sent = ann("message.send", content="secret", to=["bob"])
    engine.state("ann", [kit.event("message.delete", message_id=sent["message_id"])])
    reply = bob("message.reply", message_id=sent["message_id"], content="what was it?")
    assert reply["recipients"] == ["ann"] and inbox(ann) == [reply["message_id"]]
    assert "secret" not in engine.mail.thread(reply["thread_id"])["title"]


def test_a_reply_marks_what_it_answers_as_read(team):
    ann, bob, _ = team
    sent = ann("message.send", content="x", to=["bob"])
    ann("message.send", content="other", to=["bob"])
    bob("message.reply", message_id=sent["message_id"], content="y")
    assert bob("message.list", unread=True)["unread"] == 1


def test_a_thread_is_mail_for_who_takes_part_and_a_message_into_it_reaches_them(team):
    ann, bob, cat = team
    sent = ann("message.send", content="x", to=["bob"])
    thread = bob("message.reply", message_id=sent["message_id"], content="y")["thread_id"]
    answer = ann("message.send", content="into the thread", thread_id=thread)
    assert answer["recipients"] == ["bob"] and inbox(cat) == []
    cat("message.send", content="me too", thread_id=thread, to=["ann"])
    assert len(inbox(bob)) == 3
    assert len(inbox(cat)) == 3


@pytest.mark.parametrize("given", ["", "msg_none", "zzz"])
def test_an_answer_to_nothing_is_not_found_and_stores_nothing(team, logs, given):
    before = logs()
    for method in ("message.get", "message.reply"):
        with pytest.raises((NotFound, BadParams)):
            team[0](method, message_id=given, content="x")
    assert logs() == before


def test_a_message_is_found_by_a_unique_beginning_and_several_are_named(team):
    sent = [team[0]("message.send", content="x")["message_id"] for _ in range(2)]
    assert (
        team[0]("message.get", message_id=sent[1][:-1] if sent[0][:-1] != sent[1][:-1] else sent[1])["message"][
            "message_id"
        ]
        == sent[1]
    )
    with pytest.raises(BadParams):
        team[0]("message.get", message_id="msg_")


def test_marking_read_counts_what_was_unread_and_passes_over_the_rest(team, logs):
    ann, bob, cat = team
    first, second = (ann("message.send", content="x")["message_id"] for _ in range(2))
    own = bob("message.send", content="mine")["message_id"]
    assert bob("message.markRead", message_ids=[first, first, own, "msg_none"])["marked_count"] == 1
    before = logs()
    assert bob("message.markRead", message_ids=[first])["marked_count"] == 0
    assert logs() == before
    assert cat("message.markRead", message_ids=[first]) == {"marked_count": 1, "also_read_by": {first: ["bob"]}}
    assert bob("message.list", unread=True)["messages"][0]["message_id"] == second
    with pytest.raises(BadParams, match="message_ids"):
        bob("message.markRead", message_ids=[])


def test_many_marks_are_several_events_of_a_size(engine, team):
    _, bob, _ = team
    engine.state("ann", [kit.message("ann", to=["bob"]) for _ in range(1100)])
    everything = [
        m["message_id"] for page in range(1, 12) for m in bob("message.list", page_size=100, page=page)["messages"]
    ]
    assert bob("message.markRead", message_ids=everything)["marked_count"] == 1100
    assert bob("message.list")["unread"] == 0
    assert max(len(e["message_ids"]) for e in sent_lines(engine, "bob") if e["type"] == "message.read") <= 500


def test_looking_marks_nothing_read(engine, team):
    ann, bob, _ = team
    sent = ann("message.send", content="x", to=["bob"])
    for method in ("message.list", "message.wait", "status", "overview", "agent.list"):
        bob(method)
    bob("message.get", message_id=sent["message_id"])
    assert "message.read" not in {event["type"] for event in sent_lines(engine, "bob")}
    assert bob("message.list")["unread"] == 1


def test_read_marks_show_in_sent(team):
    ann, bob, _ = team
    sent = ann("message.send", content="x")
    assert ann("message.sent")["messages"][0]["read_by"] == []
    bob("message.markRead", message_ids=[sent["message_id"]])
    (shown,) = ann("message.sent")["messages"]
    assert shown["read_by"] == ["bob"] and shown["state"] == "local"


@pytest.mark.parametrize(
    "more", [{}, {"scope": {"type": "module", "value": "core"}}, {"mention": "@bob"}, {"priority": "high"}]
)
def test_wait_gives_the_oldest_of_what_the_inbox_calls_unread(team, more):
    ann, bob, _ = team
    assert bob("message.wait", **more) is None
    for number in range(3):
        ann(
            "message.send",
            content=str(number),
            to=["bob"],
            priority="high",
            scopes=[{"type": "module", "value": "core"}],
        )
    ann(
        "message.send", content="not for bob", to=["cat"], priority="high", scopes=[{"type": "module", "value": "core"}]
    )
    while unread := bob("message.list", unread=True, sort_order="asc")["messages"]:
        got = bob("message.wait", **more)
        assert got["message"] == unread[0] and got["more"] == len(unread) - 1
        bob("message.markRead", message_ids=[got["message"]["message_id"]])
    assert bob("message.wait", **more) is None


def test_unread_means_the_same_in_every_answer(team):
    ann, bob, _ = team
    sent = [ann("message.send", content="x", to=to)["message_id"] for to in (["bob"], [], ["@implementer"], ["cat"])]
    bob("message.markRead", message_ids=[sent[1]])
    numbers = {
        bob("message.list")["unread"],
        bob("message.list", unread=True)["total"],
        bob("message.list", unread_for_agent="bob")["total"],
        bob("status")["inbox"]["unread"],
        bob("overview")["inbox"]["unread"],
        bob("message.wait")["more"] + 1,
        sum(not m["is_read"] for m in bob("message.list", exclude_self=True, page_size=100)["messages"]),
    }
    assert numbers == {2}


@pytest.mark.parametrize("all_", [True, False])
@pytest.mark.parametrize(
    "more", [{}, {"scope": {"type": "module", "value": "core"}}, {"author_id": "@ann"}, {"priority": "normal"}]
)
def test_unread_never_means_my_own_words(team, all_, more):
    ann, bob, _ = team
    for caller in (ann, bob):
        caller("message.send", content="x", scopes=[{"type": "module", "value": "core"}])
    answer = ann(
        "message.list", unread=True, all=all_, **{**more, **({"author_id": "bob"} if "author_id" in more else {})}
    )
    assert [m["agent_id"] for m in answer["messages"]] == ["bob"]


def test_all_shows_everybodys_mail_and_the_inbox_does_not(team):
    ann, _, cat = team
    ann("message.send", content="x", to=["bob"])
    assert inbox(cat) == [] and cat("message.list")["total"] == 0
    assert cat("message.list", all=True)["total"] == 1


def test_a_mention_asks_for_my_name_and_my_role(team):
    ann, bob, _ = team
    ann("message.send", content="no mention")
    named = [ann("message.send", content="x", to=to)["message_id"] for to in (["bob"], ["@implementer"])]
    assert set(inbox(bob, mentions=True)) == set(named)
    assert inbox(bob, mention_role="@implementer") == named[1:]


def test_sorting_by_time_of_change_puts_what_was_edited_first(engine, team):
    ann, bob, _ = team
    sent = [ann("message.send", content=str(n))["message_id"] for n in range(3)]
    body = {"format": "markdown", "content": "edited"}
    edit = {**kit.event("message.edit", message_id=sent[0], body=body), "timestamp": "2099-01-01T00:00:00.000000000Z"}
    engine.state("ann", [edit])
    assert inbox(bob, sort_by="updated_at")[0] == sent[0]
    assert inbox(bob, sort_by="updated_at", sort_order="asc")[-1] == sent[0]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"sort_by": "size"}, "sort_by"),
        ({"sort_order": "up"}, "sort_order"),
        ({"page": -1}, "page"),
        ({"page_size": -1}, "page_size"),
        ({"unread_for_agent": "bob"}, "unread_for_agent"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_by_name(ann, params, word):
    with pytest.raises(BadParams, match=word):
        ann("message.list", **params)


def test_without_an_identity_there_is_everybodys_mail_to_look_at_and_nothing_to_send(engine, repository, team):
    stranger = kit.Caller(engine, kit.add_worktree(repository, "strangers"))
    team[0]("message.send", content="x", to=["bob"])
    assert stranger("message.list")["total"] == 1
    for method, params in [
        ("message.send", {"content": "x"}),
        ("message.list", {"unread": True}),
        ("message.wait", {}),
        ("message.sent", {}),
    ]:
        with pytest.raises(NoIdentity):
            stranger(method, **params)


def test_a_message_is_stamped_after_what_it_answers(team):
    ann, bob, _ = team
    last = ann("message.send", content="0")
    for number in range(5):
        caller = (bob, ann)[number % 2]
        reply = caller("message.reply", message_id=last["message_id"], content="x")
        assert reply["created_at"] >= last["created_at"]
        last = reply


@pytest.mark.parametrize(
    ("ahead", "follows"), [(-3600, True), (3600, True), (86000, True), (87000, False), (3650 * 86400, False)]
)
def test_an_answer_comes_behind_what_it_answers_though_clocks_differ(engine, team, monkeypatch, ahead, follows):
    """But nobody follows a clock that is more than a day ahead."""
    ann, bob, _ = team
    real = time.time_ns
    monkeypatch.setattr("thrum.engine.time", SimpleNamespace(time_ns=lambda: real() + ahead * 10**9, monotonic=None))
    first = ann("message.send", content="question")
    monkeypatch.undo()
    second = bob("message.reply", message_id=first["message_id"], content="answer")
    third = bob("message.send", content="one more thing", thread_id=second["thread_id"])
    assert (first["created_at"] < second["created_at"] < third["created_at"]) is follows
    said = [m["body"]["content"] for m in bob("thread.get", thread_id=second["thread_id"])["messages"]]
    if follows:
        assert said == ["question", "answer", "one more thing"]
    assert clock.instant(bob("message.send", content="elsewhere")["created_at"]) <= real(), "its own time is its own"


def test_a_request_id_is_for_one_message_only(ann, bob):
    sent = ann("message.send", content="first", to=["bob"], request_id="z1")
    assert ann("message.send", content="first", to=["bob"], request_id="z1")["message_id"] == sent["message_id"]
    with pytest.raises(BadParams, match="whose text is another"):
        ann("message.send", content="second", to=["bob"], request_id="z1")
    assert bob("message.list", unread=True)["total"] == 1
    ann("message.edit", message_id=sent["message_id"], content="third")
    assert ann("message.send", content="first", to=["bob"], request_id="z1")["message_id"] == sent["message_id"]


def test_nobody_waits_for_a_priority_that_there_is_not(ann):
    with pytest.raises(BadParams, match="priority must be one of low"):
        ann("message.wait", priority="urgent")
