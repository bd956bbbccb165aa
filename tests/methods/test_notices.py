import pytest

from tests import kit
from thrum.caller import Claim
from thrum.errors import NotFound

CORE = {"type": "module", "value": "core"}


def texts(params):
    return [one["preview"] for one in params]


def test_what_arrives_is_told_once_in_order_with_all_a_client_needs(engine, ann, bob, ear):
    first = ann("message.send", content="x" * 150, to=["bob"], scopes=[CORE], priority="high")
    ann("message.send", content="second")
    told = ear.hear()
    event_id = bob("message.get", message_id=first["message_id"])["message"]["event_id"]
    number = bob("subscriptions.list")["subscriptions"][0]["id"]
    assert told[0] == {
        "method": "notification.message",
        "params": {
            "message_id": first["message_id"],
            "thread_id": "",
            "author": {"agent_id": "ann", "name": "ann", "role": "reviewer", "module": "api"},
            "preview": "x" * 100 + "…",
            "scopes": [CORE],
            "matched_subscription": {"subscription_id": number, "match_type": "all"},
            "timestamp": first["created_at"],
            "event_id": event_id,
            "to": ["bob"],
            "priority": "high",
        },
    }
    assert [item["params"]["preview"][:6] for item in told] == ["xxxxxx", "second"]
    assert ear.hear() == [] and not ear.ended


def test_only_what_the_inbox_would_show_is_told(engine, ann, bob, ear):
    ann("message.send", content="for cat", to=["ann"])
    bob("message.send", content="my own")
    ann("message.send", content="to the role", to=["@implementer"])
    gone = ann("message.send", content="gone", to=["bob"])["message_id"]
    ann("message.delete", message_id=gone)
    assert texts(ear.messages()) == ["to the role"]


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"scope": CORE}, [("scoped", "scope"), ("both", "scope")]),
        ({"mention_role": "bob"}, [("named", "mention"), ("role", "mention"), ("both", "mention")]),
        ({"mention_role": "planner"}, [("named", "mention"), ("role", "mention"), ("both", "mention")]),
        (
            {"scope": CORE, "mention_role": "x"},
            [("scoped", "scope"), ("named", "mention"), ("role", "mention"), ("both", "scope")],
        ),
        ({"all": True}, [(name, "all") for name in ("plain", "scoped", "named", "role", "both")]),
    ],
    ids=str,
)
def test_the_rules_say_why_a_message_is_told(engine, ann, bob, wanted, told):
    bob("subscribe", **wanted)
    ear = kit.Ear(engine, bob, "bob")
    ann("message.send", content="plain")
    ann("message.send", content="scoped", scopes=[CORE])
    ann("message.send", content="named", to=["bob"])
    ann("message.send", content="role", to=["@implementer"])
    ann("message.send", content="both", to=["bob"], scopes=[CORE])
    assert [(p["preview"], p["matched_subscription"]["match_type"]) for p in ear.messages()] == told


def test_two_subscriptions_that_match_tell_once_and_name_the_first(engine, ann, bob):
    first = bob("subscribe", mention_role="bob")["subscription_id"]
    bob("subscribe", all=True)
    ear = kit.Ear(engine, bob, "bob")
    ann("message.send", content="x", to=["bob"])
    assert [p["matched_subscription"]["subscription_id"] for p in ear.messages()] == [first]


def test_without_a_subscription_nothing_is_told(engine, ann, bob):
    ear = kit.Ear(engine, bob, "bob")
    ann("message.send", content="x")
    assert ear.hear() == [] and not ear.ended
    bob("subscribe", all=True)
    assert ear.hear() == []


def test_an_edit_is_told_again_and_several_at_once_are_one(engine, ann, bob, ear):
    said = ann("message.send", content="one", to=["bob"])["message_id"]
    assert texts(ear.messages()) == ["one"]
    ann("message.edit", message_id=said, content="two")
    ann("message.send", content="between")
    edited = ann("message.edit", message_id=said, content="three")
    between, again = ear.messages()
    assert between["preview"] == "between" and "edited" not in between
    assert (again["preview"], again["edited"], again["timestamp"]) == ("three", True, edited["updated_at"])
    assert ear.hear() == []


def test_what_was_edited_before_it_was_told_is_told_once(engine, ann, ear):
    said = ann("message.send", content="one")["message_id"]
    ann("message.edit", message_id=said, content="two")
    told = ear.messages()
    assert texts(told) == ["two"] and "edited" not in told[0]


def test_a_deletion_is_not_told(engine, ann, ear):
    said = ann("message.send", content="one")["message_id"]
    ear.hear()
    ann("message.edit", message_id=said, content="two")
    ann("message.delete", message_id=said)
    assert ear.hear() == []


def test_who_takes_part_in_a_thread_hears_how_it_stands_right_after_the_message(engine, ann, bob, ear):
    asked = bob("message.send", content="may I?", to=["ann"])["message_id"]
    answered = ann("message.reply", message_id=asked, content="yes")
    told = ear.hear()
    assert [item["method"] for item in told] == ["notification.message", "notification.thread.updated"]
    assert told[1]["params"] == {
        "thread_id": answered["thread_id"],
        "message_count": 2,
        "unread_count": 1,
        "last_activity": answered["created_at"],
        "last_sender": "ann",
        "preview": "yes",
        "timestamp": answered["created_at"],
    }


def test_a_user_hears_nothing_of_what_it_wrote_in_anothers_name(engine, ann):
    ann("user.register", username="leon")
    call = lambda method, **params: engine.call(method, params, Claim(agent_id="user:leon"))  # noqa: E731
    call("session.start")
    call("subscribe", all=True)
    ear = kit.Ear(engine, call, "user:leon")
    call("message.send", content="hi", acting_as="ann")
    ann("message.send", content="what?")
    assert texts(ear.messages()) == ["what?"]


def test_what_others_bring_in_is_told_whatever_its_time(engine, repository, ann, ear):
    late = kit.message("dan", "late", at=-10_000_000)
    kit.write_log(engine.place.log_root, "dan", late)
    assert texts(ear.messages()) == ["late"]


@pytest.mark.parametrize("known", ["message_id", "event_id"])
def test_after_a_reconnect_a_client_asks_for_what_it_missed(engine, ann, bob, ear, known):
    ann("message.send", content="one")
    ann("message.send", content="two")
    heard = ear.messages()
    ann("message.send", content="three")
    for params, missed in zip(heard, (["two", "three"], ["three"]), strict=True):
        ear.cursor = engine.cursor_since(params[known])
        assert texts(ear.messages()) == missed


def test_after_an_edit_a_client_goes_on_behind_the_edit(engine, ann, ear):
    said = ann("message.send", content="one")["message_id"]
    ann("message.send", content="two")
    ear.hear()
    ann("message.edit", message_id=said, content="uno")
    (edited,) = ear.messages()
    ann("message.send", content="three")
    ear.cursor = engine.cursor_since(edited["event_id"])
    assert texts(ear.messages()) == ["three"]
    ear.cursor = engine.cursor_since(said)
    assert texts(ear.messages()) == ["two", "uno", "three"]


@pytest.mark.parametrize(
    "known", ["", "msg_none", "evt_none", "evt_01KGHF3P0A0000000000000004", "evt_ZZZZZZZZZZZZZZ", "é"]
)
def test_what_nothing_has_as_its_id_is_not_found(engine, bob, known):
    with pytest.raises(NotFound):
        engine.cursor_since(known)
    if known:
        with pytest.raises(NotFound):
            bob("subscribe", all=True, since=known)
    assert bob("subscriptions.list") == {"subscriptions": []}


def test_a_rebuilt_database_neither_repeats_nor_loses_what_is_told(engine, ann, bob, ear):
    ann("message.send", content="one")
    zed = ann("message.send", content="zed")["message_id"]
    assert texts(ear.messages()) == ["one", "zed"]
    ann("message.send", content="two")
    ann("message.edit", message_id=zed, content="edited")
    engine.projection.rebuild()
    assert sorted(texts(ear.messages())) == ["edited", "two"]
    ann("message.send", content="three")
    assert texts(ear.messages()) == ["three"]


def test_what_was_missed_is_found_by_time_in_a_rebuilt_database(engine, ann, bob, ear):
    one = bob("message.send", content="mine")["message_id"]
    ann("message.send", content="two")
    engine.projection.rebuild()
    ann("message.send", content="three")
    ear.cursor = engine.cursor_since(one)
    assert texts(ear.messages()) == ["two", "three"]
    assert ear.hear() == []
