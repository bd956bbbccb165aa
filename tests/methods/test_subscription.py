import json
import threading

import pytest

from tests import kit
from thrum.errors import BadParams, NoSession

CORE = {"type": "module", "value": "core"}


def test_a_subscription_has_a_number_a_session_and_a_time(bob):
    made = bob("subscribe", mention_role="@reviewer")
    session = bob("agent.whoami")["session_id"]
    assert made == {"subscription_id": made["subscription_id"], "session_id": session, "created_at": made["created_at"]}
    assert type(made["subscription_id"]) is int
    assert bob("subscribe", mention_role="reviewer") == made
    other = bob("subscribe", scope=CORE)
    assert other["subscription_id"] > made["subscription_id"]
    assert bob("subscriptions.list")["subscriptions"] == [
        {
            "id": other["subscription_id"],
            "session_id": session,
            "created_at": other["created_at"],
            "scope_type": "module",
            "scope_value": "core",
        },
        {
            "id": made["subscription_id"],
            "session_id": session,
            "created_at": made["created_at"],
            "mention_role": "reviewer",
        },
    ]


@pytest.mark.parametrize("params", [{}, {"mention_role": "@"}, {"mention_role": ""}, {"all": False}])
def test_something_must_be_asked_for(bob, params):
    with pytest.raises(BadParams, match="scope, mention_role and all"):
        bob("subscribe", **params)
    assert bob("subscriptions.list") == {"subscriptions": []}


def test_a_session_is_needed(engine, repository):
    zoe = kit.hire(engine, repository, "zoe", session=False)
    for method, params in (
        ("subscribe", {"all": True}),
        ("unsubscribe", {"subscription_id": 1}),
        ("subscriptions.list", {}),
    ):
        with pytest.raises(NoSession):
            zoe(method, **params)


def test_only_its_own_session_ends_a_subscription(ann, bob):
    made = bob("subscribe", all=True)["subscription_id"]
    assert ann("unsubscribe", subscription_id=made) == {"removed": False}
    assert bob("unsubscribe", subscription_id=made) == {"removed": True}
    assert bob("unsubscribe", subscription_id=made) == {"removed": False}
    assert bob("subscribe", all=True)["subscription_id"] > made
    with pytest.raises(BadParams, match="subscription_id"):
        bob("unsubscribe", subscription_id=0)


def test_they_end_with_their_session_and_numbers_are_never_used_again(engine, bob, ear):
    first = bob("subscriptions.list")["subscriptions"][0]["id"]
    bob("session.end")
    assert ear.hear() == [] and ear.ended
    bob("session.start")
    assert bob("subscriptions.list") == {"subscriptions": []}
    assert bob("subscribe", scope=CORE)["subscription_id"] == first + 1
    with open(f"{engine.place.sync_dir}/subscriptions.json", encoding="utf-8") as file:
        assert [one["id"] for one in json.load(file)["subscriptions"]] == [first + 1]


def test_they_end_with_a_session_that_crashed(engine, ann, bob, ear):
    bob("session.start")
    ann("message.send", content="x")
    assert ear.hear() == [] and ear.ended


def test_they_survive_the_loss_of_the_database_and_a_restart(engine, repository, bob, ear):
    known = bob("subscriptions.list")
    other = kit.open_engine(repository)
    other.projection.rebuild()
    assert kit.Caller(other, bob.claim.cwd)("subscriptions.list") == known
    other.close()


def test_many_processes_subscribe_at_once_and_each_gets_a_number_of_its_own(repository, bob, tmp_path):
    numbers, engines = [], [kit.open_engine(repository) for _ in range(4)]

    def subscribe(engine, part):
        caller = kit.Caller(engine, bob.claim.cwd)
        numbers.extend(
            caller("subscribe", scope={"type": "m", "value": f"{part}.{n}"})["subscription_id"] for n in range(8)
        )

    threads = [threading.Thread(target=subscribe, args=pair) for pair in zip(engines, "abcd", strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.close()
    assert sorted(numbers) == list(range(min(numbers), min(numbers) + 32))
    assert len(bob("subscriptions.list")["subscriptions"]) == 32
