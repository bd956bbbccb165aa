import tempfile

import pytest
from hypothesis import given

from tests import kit
from tests.store import scenes
from thrum.core.selection import Filter
from thrum.store.threads import Threads


@pytest.fixture
def branch(branch):
    branch.threads = Threads(lambda: branch.projection.connection)
    return branch


@given(scenes.logs())
def test_a_threads_numbers_are_those_of_its_messages_in_any_log(logs):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        for path, lines in logs.items():
            branch.append(path, *lines)
        branch.catch_up()
        threads = Threads(lambda: branch.projection.connection)
        for agent in scenes.AGENTS:
            page = threads.page(agent, None, 100, 1)
            assert page.total == len(page.items)
            assert [t["last_activity"] for t in page.items] == sorted(
                (t["last_activity"] for t in page.items), reverse=True
            )
            for thread in page.items:
                check(branch, threads, agent, thread)
        branch.close()


def check(branch, threads, agent, thread):
    inside = Filter(thread_id=thread["thread_id"], everything=True)
    said = branch.mail.page(agent, inside, 100, 1).messages
    assert thread["message_count"] == len(said)
    assert thread["unread_count"] == branch.mail.page(agent, inside._replace(everything=False, unread=True), 1, 1).total
    assert (thread["last_sender"], thread["preview"]) == (
        (said[0]["agent_id"], said[0]["body"]["content"]) if said else ("", "")
    )
    found, total = threads.messages(thread["thread_id"], 100, 1)
    assert len(found) == total and [m["message_id"] for m in said] == [
        message_id for message_id in reversed(found) if message_id in {m["message_id"] for m in said}
    ]
    assert threads.find_id(thread["thread_id"]) == [thread["thread_id"]]
    assert threads.get(thread["thread_id"])["title"] == thread["title"]


def test_a_thread_is_found_by_the_beginning_of_its_id(branch):
    branch.say(
        "ann", *(kit.event("thread.create", thread_id=f"thr_{n}", title=n, created_by="ann") for n in ("AA", "AB"))
    )
    branch.say("ann", kit.message("ann", thread_id="thr_A"))
    branch.catch_up()
    assert branch.threads.find_id("thr_A") == ["thr_A"] and branch.threads.find_id("thr_AA") == ["thr_AA"]
    assert branch.threads.find_id("thr_") == ["thr_A", "thr_AA", "thr_AB"]
    assert branch.threads.find_id("%") == [] == branch.threads.find_id("thr_B")


def test_a_thread_nobody_created_of_which_all_was_deleted_still_has_a_name(branch):
    said = kit.message("ann", "secret", thread_id="thr_1")
    branch.say("ann", said, kit.event("message.delete", message_id=said["message_id"]))
    branch.catch_up()
    (thread,) = branch.threads.page("bob", None, 10, 1).items
    assert (thread["title"], thread["message_count"], thread["preview"]) == ("(deleted)", 0, "")


def test_the_list_follows_whatever_arrives_and_goes(branch):
    root = kit.message("ann", "the question", at=90)
    answered = "thr_" + root["message_id"][4:]
    branch.say("bob", kit.event("thread.create", 10, thread_id=answered, title="q", created_by="bob"))
    branch.say("eve", kit.event("thread.create", 20, thread_id="thr_B", title="b", created_by="eve"))
    order = lambda: [thread["thread_id"] for thread in branch.threads.page("", None, 10, 1).items]  # noqa: E731
    branch.catch_up()
    assert order() == ["thr_B", answered]
    branch.say("ann", root)
    branch.catch_up()
    assert order() == [answered, "thr_B"], "the message that was answered arrived last"
    branch.say("ann", kit.event("message.delete", 95, message_id=root["message_id"], agent_id="ann"))
    branch.catch_up()
    assert order() == ["thr_B", answered]
    branch.say("eve", kit.message("eve", at=5, thread_id="thr_C"))
    branch.catch_up()
    assert (
        order() == ["thr_B", answered, "thr_C"]
        and branch.threads.page("", None, 1, 2).items[0]["thread_id"] == answered
    )


def test_a_message_in_a_long_thread_costs_no_more_than_in_a_short_one(branch):
    def steps_of_one_more():
        steps = []
        branch.say("ann", kit.message("ann", thread_id="thr_A"))
        branch.projection.connection.set_progress_handler(lambda: steps.append(1), 1)
        branch.catch_up()
        branch.projection.connection.set_progress_handler(None, 0)
        return len(steps)

    branch.say("ann", *(kit.message("ann", thread_id="thr_A") for _ in range(5)))
    branch.catch_up()
    few = steps_of_one_more()
    branch.say("ann", *(kit.message("ann", thread_id="thr_A") for _ in range(500)))
    branch.catch_up()
    assert steps_of_one_more() < few + 100
