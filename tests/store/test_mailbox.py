import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from tests.store import scenes
from thrum.core import routing
from thrum.core.selection import Filter


def everything(branch, agent, wanted, size=3, **options):
    """All messages of all pages, and the totals that the pages gave."""
    found, totals, number = [], set(), 1
    while True:
        page = branch.mail.page(agent, wanted, size, number, **options)
        totals.add(page.total)
        found += page.messages
        if not page.messages:
            return found, totals
        number += 1


def ids_of(messages):
    return [message["message_id"] for message in messages]


def asked(branch, agent="bob", **wanted):
    found, totals = everything(branch, agent, Filter(**wanted))
    assert totals == {len(found)}
    return ids_of(found)


@pytest.fixture
def busy(branch):
    """Mail of every kind around bob, the implementer; its ids by what they are."""
    mail = {
        "all": kit.message("ann", "to all", 1),
        "direct": kit.message("ann", "to bob", 2, to=["bob"]),
        "role": kit.message("cat", "to role", 3, refs=[{"type": "mention", "value": "implementer"}]),
        "named": kit.message("cat", "to name", 4, refs=[{"type": "mention", "value": "@bob"}]),
        "other": kit.message("ann", "to cat", 5, to=["cat"]),
        "own": kit.message("bob", "by bob", 6),
        "urgent": kit.message(
            "ann", "now", 7, to=["bob"], priority="critical", scopes=[{"type": "module", "value": "core"}]
        ),
        "tagged": kit.message(
            "cat", "pr", 8, scopes=[{"type": "module", "value": "core"}], refs=[{"type": "pr", "value": "42"}]
        ),
        "hidden": kit.message(
            "ann",
            "pr",
            9,
            to=["cat"],
            scopes=[{"type": "module", "value": "core"}],
            refs=[{"type": "pr", "value": "42"}],
        ),
        "gone": kit.message("ann", "oops", 10, to=["bob"], scopes=[{"type": "module", "value": "core"}]),
        "threaded": kit.message("ann", "in thread", 11, to=["bob"], thread_id="thr_1"),
        "own_tagged": kit.message(
            "bob", "my pr", 12, scopes=[{"type": "module", "value": "core"}], refs=[{"type": "pr", "value": "42"}]
        ),
    }
    branch.say("bob", kit.register("bob", "implementer"), mail["own"], mail["own_tagged"])
    for name, said in mail.items():
        if not name.startswith("own"):
            branch.say(said["agent_id"], said)
    branch.say("ann", kit.event("message.delete", message_id=mail["gone"]["message_id"]))
    branch.catch_up()
    branch.names = {name: said["message_id"] for name, said in mail.items()}
    return branch


def named(branch, *names):
    return [branch.names[name] for name in names]


def test_an_inbox_is_mail_to_me_to_my_role_and_to_everyone_newest_first(busy):
    assert asked(busy) == named(busy, "threaded", "tagged", "urgent", "named", "role", "direct", "all")


def test_with_own_shows_what_i_wrote_too(busy):
    expected = named(busy, "own_tagged", "threaded", "tagged", "urgent", "own", "named", "role", "direct", "all")
    assert asked(busy, with_own=True) == expected


def test_everything_is_everybodys_mail_but_not_what_was_deleted(busy):
    assert set(asked(busy, everything=True)) == {id for name, id in busy.names.items() if name != "gone"}
    assert asked(busy, "", everything=True) == asked(busy, everything=True)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"scope": ("module", "core")}, ["tagged", "urgent"]),
        ({"scope": ("module", "core"), "everything": True}, ["own_tagged", "hidden", "tagged", "urgent"]),
        ({"scope": ("module", "core"), "with_own": True}, ["own_tagged", "tagged", "urgent"]),
        ({"scope": ("module", "none")}, []),
        ({"ref": ("pr", "42")}, ["tagged"]),
        ({"scope": ("module", "core"), "ref": ("pr", "42")}, ["tagged"]),
        ({"mention": ("implementer",)}, ["role"]),
        ({"mention": ("bob",)}, ["named"]),
        ({"mention": ("bob", "implementer")}, ["named", "role"]),
        ({"author": "cat"}, ["tagged", "named", "role"]),
        ({"author": "bob", "with_own": True}, ["own_tagged", "own"]),
        ({"author": "ann", "everything": True}, ["threaded", "hidden", "urgent", "other", "direct", "all"]),
        ({"priority": "critical"}, ["urgent"]),
        ({"priority": "critical", "author": "cat"}, []),
        ({"thread_id": "thr_1"}, ["threaded"]),
        ({"unread": True}, ["threaded", "tagged", "urgent", "named", "role", "direct", "all"]),
        ({"unread": True, "scope": ("module", "core")}, ["tagged", "urgent"]),
        ({"unread": True, "author": "ann", "priority": "critical"}, ["urgent"]),
        ({"unread": True, "mention": ("bob",)}, ["named"]),
    ],
    ids=repr,
)
def test_a_filter_leaves_what_it_says(busy, wanted, names):
    assert asked(busy, **wanted) == named(busy, *names)


@pytest.mark.parametrize(
    "more", [{"author": "cat"}, {"scope": ("module", "core")}, {"ref": ("pr", "42")}, {"priority": "normal"}]
)
def test_unread_means_the_same_whatever_else_is_asked(busy, more):
    for everything in (False, True):
        unread = set(asked(busy, unread=True, everything=everything))
        assert set(asked(busy, unread=True, everything=everything, **more)) == unread & set(
            asked(busy, everything=True, **more)
        )


def test_ascending_is_descending_backwards(busy):
    for wanted in (Filter(), Filter(unread=True), Filter(everything=True), Filter(scope=("module", "core"))):
        assert (
            ids_of(everything(busy, "bob", wanted, ascending=True)[0])
            == ids_of(everything(busy, "bob", wanted)[0])[::-1]
        )


def test_pages_do_not_overlap_and_leave_nothing_out(busy):
    whole = asked(busy)
    for size in (1, 2, 3, 7, 50):
        assert ids_of(everything(busy, "bob", Filter(), size)[0]) == whole


def test_a_page_beyond_the_last_is_empty_and_knows_the_total(busy):
    assert busy.mail.page("bob", Filter(), 10, 99) == ([], 7)


def test_messages_of_one_instant_come_in_one_order(branch):
    branch.say("ann", *(kit.message("ann", at=1) for _ in range(10)))
    branch.catch_up()
    assert asked(branch) == sorted(asked(branch), reverse=True)


def test_what_was_read_is_read_for_its_reader_alone(busy):
    busy.say("bob", kit.event("message.read", agent_id="bob", message_ids=named(busy, "all", "direct")))
    busy.catch_up()
    assert busy.mail.unread_count("bob") == 5
    read = {m["message_id"] for m in busy.mail.page("bob", Filter(), 50, 1).messages if m["is_read"]}
    assert read == set(named(busy, "all", "direct"))
    assert busy.mail.readers(busy.names["all"]) == ["bob"]
    assert not busy.mail.page("dan", Filter(), 50, 1).messages[-1]["is_read"]


def test_a_message_is_found_by_the_beginning_of_its_id(branch):
    branch.say(
        "ann", *(kit.message("ann", message_id=name) for name in ("msg_AA1", "msg_AA2", "msg_B", "msg_AA", "other"))
    )
    branch.catch_up()
    assert branch.mail.find_id("msg_AA") == ["msg_AA"]
    assert branch.mail.find_id("msg_A") == ["msg_AA", "msg_AA1", "msg_AA2"]
    assert branch.mail.find_id("msg_B") == ["msg_B"]
    assert branch.mail.find_id("zzz") == [] and branch.mail.find_id("%") == [] and branch.mail.find_id("_") == []


def test_a_message_is_shown_with_all_it_has(branch):
    said = kit.message(
        "ann", "hi", to=["bob"], session_id="ses_1", thread_id="thr_1", priority="high",
        authored_by="user:leon", disclosed=True, scopes=[{"type": "m", "value": "c"}], refs=[{"type": "pr", "value": "1"}],
    )  # fmt: skip
    said["body"]["structured"] = '{"a":1}'
    branch.append("messages/ann.jsonl", said)
    branch.catch_up()
    found = branch.mail.get(said["message_id"])
    for name in (
        "message_id",
        "thread_id",
        "agent_id",
        "priority",
        "scopes",
        "refs",
        "to",
        "authored_by",
        "disclosed",
        "body",
    ):
        assert found[name] == said[name], name
    assert found["created_at"] == said["timestamp"] and found["author"] == {"agent_id": "ann", "session_id": "ses_1"}
    assert found["edits"] == 0 and not found["deleted"] and found["metadata"] == {}
    assert branch.mail.get("msg_none") is None


def test_deleted_mail_shows_that_it_is_gone_but_not_what_it_said(branch):
    said = kit.message("ann", "secret")
    said["body"]["structured"] = '"secret"'
    branch.say("ann", said, kit.event("message.delete", 5, message_id=said["message_id"], reason="oops"))
    branch.catch_up()
    found = branch.mail.get(said["message_id"])
    assert found["deleted"] and found["metadata"]["delete_reason"] == "oops" and "secret" not in repr(found)


def test_sent_is_what_i_wrote_with_its_readers(busy):
    busy.say("ann", kit.event("message.read", agent_id="ann", message_ids=named(busy, "own")))
    busy.catch_up()
    page = busy.mail.sent("bob", 10, 1)
    assert ids_of(page.messages) == named(busy, "own_tagged", "own") and page.total == 2
    assert [m["read_by"] for m in page.messages] == [[], ["ann"]]
    assert ids_of(busy.mail.sent("bob", 1, 2).messages) == named(busy, "own")


def test_unmarked_are_others_messages_that_exist_and_are_not_read_each_once(busy):
    busy.say("bob", kit.event("message.read", agent_id="bob", message_ids=named(busy, "all")))
    busy.catch_up()
    wanted = [*named(busy, "direct", "all", "own", "direct", "other"), "msg_none"]
    assert busy.mail.unmarked("bob", wanted) == named(busy, "direct", "other")


def test_the_place_of_a_message_is_behind_its_line(branch):
    one, two = kit.message("ann"), kit.message("ann")
    branch.say("ann", one, two)
    branch.catch_up()
    path = f"messages/ann/{kit.HERE}/0000/00.jsonl"
    assert branch.mail.place_of(one["message_id"]) == (path, len(kit.raw(one)) + 1)
    assert branch.mail.place_of(two["message_id"]) == (path, len(kit.raw(one)) + len(kit.raw(two)) + 2)
    assert branch.mail.place_of("msg_none") is None


def test_a_thread_has_a_title_and_who_takes_part(branch):
    branch.say("ann", kit.event("thread.create", thread_id="thr_1", title="t", created_by="ann"))
    branch.say("bob", kit.message("bob", thread_id="thr_1"))
    branch.catch_up()
    assert branch.mail.thread("thr_1")["title"] == "t" and branch.mail.thread("thr_2") is None
    assert branch.mail.participants("thr_1") == ["ann", "bob"]


def test_more_than_a_thousand_messages_fit_one_page(branch):
    branch.say("ann", *(kit.message("ann", at=n) for n in range(1200)))
    branch.catch_up()
    page = branch.mail.page("bob", Filter(), 5000, 1)
    assert len(page.messages) == page.total == 1200 == branch.mail.unread_count("bob")


AUDIENCES = st.one_of(
    st.just({}),
    st.just({"everyone": True}),
    st.builds(lambda to: {"to": to}, st.lists(st.sampled_from(["ann", "bob", "cat", "reviewer", "zed"]), max_size=3)),
    st.builds(
        lambda words: {"refs": [{"type": "mention", "value": word} for word in words]},
        st.lists(st.sampled_from(["ann", "@bob", "reviewer", "bob", "all", "zed", ""]), max_size=3),
    ),
)
LETTERS = st.lists(
    st.tuples(
        st.sampled_from(scenes.AGENTS), st.integers(0, 3), AUDIENCES, st.sampled_from([None, None, "thr_1", "thr_2"])
    ),
    max_size=12,
)


def fill(branch, letters, roles, reads):
    for agent, role in zip(scenes.AGENTS, roles, strict=True):
        branch.say(agent, kit.register(agent, role))
    said = []
    for author, at, who, thread in letters:
        message = kit.message(author, at=at, **who, **({"thread_id": thread} if thread else {}))
        branch.say(author, message)
        said.append(message)
    for reader, number in reads:
        if number < len(said):
            branch.say(reader, kit.event("message.read", agent_id=reader, message_ids=[said[number]["message_id"]]))
    branch.catch_up()
    return said


@given(
    LETTERS,
    st.tuples(*[st.sampled_from(["reviewer", "bob", "ann"])] * 3),
    st.lists(st.tuples(st.sampled_from(scenes.AGENTS), st.integers(0, 11)), max_size=8),
)
def test_unread_is_the_inbox_without_what_is_read_for_any_audience(letters, roles, reads):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        said = fill(branch, letters, roles, reads)
        for agent, role in zip(scenes.AGENTS, roles, strict=True):
            inbox, totals = everything(branch, agent, Filter())
            unread, unread_totals = everything(branch, agent, Filter(unread=True))
            assert totals == {len(inbox)}
            assert unread_totals == {len(unread)} == {branch.mail.unread_count(agent)}
            assert ids_of(unread) == [m["message_id"] for m in inbox if not m["is_read"]]
            assert ids_of(inbox) == expected_inbox(said, agent, role)
        branch.close()


def expected_inbox(said, agent, role):
    """The inbox by the rules of the design page, told in Python."""
    threads = {m["thread_id"] for m in said if m["agent_id"] == agent and m.get("thread_id")}
    mine = [
        m
        for m in said
        if routing.is_visible(m["agent_id"], routing.audience(m), agent, role)
        or (m["agent_id"] != agent and m.get("thread_id") in threads)
    ]
    return [m["message_id"] for m in sorted(mine, key=lambda m: (m["timestamp"], m["message_id"]), reverse=True)]


@given(
    st.lists(st.sampled_from(["*", "bob", "ann", "@bob", "@reviewer", "*ann", "*bob", ""]), max_size=4), st.booleans()
)
def test_totals_equal_what_the_pages_hold_for_any_audience(to, threaded):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        branch.say("bob", kit.register("bob", "reviewer"), kit.message("bob"), kit.message("bob", thread_id="thr_1"))
        branch.say("ann", kit.message("ann", to=to, **({"thread_id": "thr_1"} if threaded else {})), kit.message("ann"))
        branch.catch_up()
        for agent in scenes.AGENTS:
            found, totals = everything(branch, agent, Filter())
            assert totals == {len(found)} and branch.mail.unread_count(agent) == len(found)
        assert branch.tables() == branch.rebuilt()
        branch.close()


ROLES = st.tuples(*[st.sampled_from(["reviewer", "bob", "ann"])] * 3)


@given(LETTERS, ROLES, st.sets(st.integers(0, 11), max_size=6))
def test_what_was_deleted_is_found_where_it_would_have_been_for_any_audience(letters, roles, gone):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        said = fill(branch, letters, roles, [])
        asked = [Filter(), Filter(with_own=True), Filter(everything=True), Filter(with_own=True, thread_id="thr_1")]
        whole = {
            (agent, wanted): ids_of(everything(branch, agent, wanted)[0]) for agent in scenes.AGENTS for wanted in asked
        }
        deleted = [message for number, message in enumerate(said) if number in gone]
        for message in deleted:
            branch.say(message["agent_id"], kit.event("message.delete", message_id=message["message_id"]))
        branch.catch_up()
        for (agent, wanted), ids in whole.items():
            found, totals = everything(branch, agent, wanted._replace(with_deleted=True))
            assert ids_of(found) == ids and totals == {len(ids)}
            kept, _ = everything(branch, agent, wanted)
            assert ids_of(kept) == [m["message_id"] for m in found if not m["deleted"]]
            assert branch.mail.unread_ids(agent)[::-1] == ids_of(everything(branch, agent, Filter(unread=True))[0])
        branch.close()
