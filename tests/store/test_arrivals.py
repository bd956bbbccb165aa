import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import kit
from tests.store import scenes
from thrum.core.selection import Filter
from thrum.store.arrivals import Arrivals


@pytest.fixture
def branch(branch):
    branch.arrivals = Arrivals(lambda: branch.projection.connection, lambda: branch.projection.database.generation)
    return branch


def news(branch, cursor, agent="bob"):
    branch.catch_up()
    found = branch.arrivals.since(cursor, branch.arrivals.cursor(), agent)
    return [(one.message_id, one.edit) for one in found.arrivals]


def say(branch, author, *said):
    branch.say(author, *said)
    branch.catch_up()
    return [one["message_id"] for one in said]


def edit(message_id, version):
    return kit.event("message.edit", 1, message_id=message_id, body={"content": f"text {version}"}, version=version)


def test_order_is_that_of_arrival_and_not_of_time(branch):
    start = branch.arrivals.cursor()
    late = say(branch, "ann", kit.message("ann", at=50))
    early = say(branch, "cat", kit.message("cat", at=-50))
    assert news(branch, start) == [(late[0], ""), (early[0], "")]
    assert news(branch, branch.arrivals.cursor_at(late[0])) == [(early[0], "")]
    assert news(branch, branch.arrivals.cursor()) == []


def test_what_came_in_behind_the_second_cursor_is_for_the_next_time(branch):
    start = branch.arrivals.cursor()
    one = say(branch, "ann", kit.message("ann"))
    middle = branch.arrivals.cursor()
    two = say(branch, "ann", kit.message("ann"), edit(one[0], 1))
    assert [a.message_id for a in branch.arrivals.since(start, middle, "bob").arrivals] == one
    assert [message_id for message_id, _ in news(branch, middle)] == two


def test_an_edit_that_changes_nothing_is_no_news(branch):
    (said,) = say(branch, "ann", kit.message("ann"))
    cursor = branch.arrivals.cursor()
    forged = edit(said, 9)
    say_forged = kit.event("message.edit", 1, message_id=said, body={"content": "x"})
    branch.say("cat", forged, say_forged)
    assert news(branch, cursor) == []
    real = edit(said, 1)
    branch.say("ann", real)
    assert news(branch, cursor) == [(said, real["event_id"])]


def test_an_edit_that_came_before_its_message_is_the_message(branch):
    start = branch.arrivals.cursor()
    said = kit.message("ann")
    branch.say("ann", edit(said["message_id"], 1))
    branch.catch_up()
    branch.say("ann", said)
    assert news(branch, start) == [(said["message_id"], "")]


def test_an_event_is_found_by_its_id_whatever_its_time_says(branch):
    said = [kit.message("ann", f"{n}", n) for n in range(3)]
    said[1]["event_id"] = "evt_0000000001ABCDEFGHJKMNPQRS"
    say(branch, "ann", *said)
    for index, one in enumerate(said):
        cursor = branch.arrivals.cursor_at(one["event_id"])
        assert [message_id for message_id, _ in news(branch, cursor)] == [m["message_id"] for m in said[index + 1 :]]


def test_an_id_that_only_stands_in_a_text_is_not_found(branch):
    say(branch, "ann", kit.message("ann", "see evt_00000000000000000000000042X"))
    assert branch.arrivals.cursor_at("evt_00000000000000000000000042X") is None


def test_in_a_database_that_was_built_at_once_time_tells_what_came_after(branch):
    early, late = kit.message("zoe", at=1), kit.message("ann", at=9)
    branch.say("zoe", early)
    branch.say("ann", late)
    branch.projection.rebuild()
    assert news(branch, branch.arrivals.cursor_at(early["message_id"])) == [(late["message_id"], "")]
    assert news(branch, branch.arrivals.cursor_at(late["message_id"])) == []
    fresh = say(branch, "cat", kit.message("cat", at=5))
    assert news(branch, branch.arrivals.cursor_at(late["message_id"])) == [(fresh[0], "")]


@settings(max_examples=20)
@given(scenes.logs())
def test_whoever_hears_all_that_arrives_has_the_inbox(logs):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        branch.catch_up()
        arrivals = Arrivals(lambda: branch.projection.connection, lambda: branch.projection.database.generation)
        start = arrivals.cursor()
        for path, lines in logs.items():
            branch.append(path, *lines)
            branch.catch_up()
        for agent in scenes.AGENTS:
            heard = [one.message_id for one in arrivals.since(start, arrivals.cursor(), agent).arrivals]
            assert len(heard) == len(set(heard))
            assert set(heard) == {m["message_id"] for m in branch.mail.page(agent, Filter(), 1000, 1).messages}
        branch.close()


@settings(max_examples=15)
@given(scenes.logs(), st.integers(1, 5), st.booleans())
def test_page_by_page_the_same_is_told_as_at_once(logs, limit, is_rebuilt):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        branch.catch_up()
        arrivals = Arrivals(lambda: branch.projection.connection, lambda: branch.projection.database.generation)
        start = arrivals.cursor()._replace(instant=0)
        for path, lines in logs.items():
            branch.append(path, *lines)
            branch.catch_up()
        if is_rebuilt:
            branch.projection.rebuild()
        until = arrivals.cursor()
        for agent in scenes.AGENTS:
            whole, cursor, pages = arrivals.since(start, until, agent), start, []
            while cursor is not until:
                some, cursor = arrivals.since(cursor, until, agent, limit)
                pages += some
            told_as_new = [one.message_id for one in pages if not one.edit]
            assert whole.cursor is until and len(told_as_new) == len(set(told_as_new))
            assert told_as_new == [one.message_id for one in whole.arrivals if not one.edit]
            assert {one for one in whole.arrivals if one.edit} <= set(pages)
        branch.close()


def test_a_page_ends_where_the_next_begins_though_all_bear_one_time(branch):
    said = [kit.message("ann", f"{n}", 7 if n < 4 else 8) for n in range(6)]
    branch.say("ann", *said)
    branch.projection.rebuild()
    start, until = branch.arrivals.cursor()._replace(generation=-1, instant=0), branch.arrivals.cursor()
    first = branch.arrivals.since(start, until, "bob", 2)
    second = branch.arrivals.since(first.cursor, until, "bob", 2)
    assert [len(first.arrivals), len(second.arrivals)] == [4, 2]


def test_delivery_looks_at_what_is_new_and_not_at_what_there_is(branch):
    from thrum.store import arrivals

    sql = branch.projection.connection
    arguments = dict.fromkeys(("seq", "changes", "limit", "top", "last", "me", "a0", "a1", "a2", "a3"), 1)
    plan = [row[3] for row in sql.execute("EXPLAIN QUERY PLAN " + arrivals._IN_ORDER, arguments)]
    assert not [
        step for step in plan if step.startswith("SCAN") and "subquery" not in step.lower() and "INDEX" not in step
    ]
