import itertools

import pytest

from tests import kit
from thrum.core import ids
from thrum.core.selection import Filter


def ids_of(branch, agent, wanted=None):
    return [m["message_id"] for m in branch.mail.page(agent, wanted or Filter(), 100, 1).messages]


def in_every_order(branch, *statements):
    """Folds (owner, event) in every order, each with a catch_up between; yields once per order."""
    for number, order in enumerate(itertools.permutations(statements)):
        made = kit.Branch(f"{branch.folder}/{number}")
        made.catch_up()
        for owner, event, *where in order:
            made.say(owner, event, origin=where[0] if where else kit.HERE)
            made.catch_up()
        yield made
        made.close()


def views(branch, *statements):
    return [made.tables(without=("seq", "path", "ends")) for made in in_every_order(branch, *statements)]


def edit(message, text, version, at=1, **more):
    body = {"format": "markdown", "content": text}
    return kit.event("message.edit", at, message_id=message["message_id"], body=body, version=version, **more)


def test_an_empty_address_does_not_stop_the_fold(branch):
    after = kit.message("ann")
    branch.say("ann", kit.message("ann", to=[""]), after)
    branch.catch_up()
    assert ids_of(branch, "bob") == [after["message_id"]]
    branch.rebuilt()


def test_an_address_that_begins_with_a_star_does_not_break_the_rebuild(branch):
    branch.say("ann", kit.message("ann", to=["*bob"]))
    branch.say("bob", kit.message("bob"), kit.message("bob"))
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()
    page = branch.mail.page("cat", Filter(), 10, 1)
    assert page.total == len(page.messages) == 2


def test_an_edit_by_its_author_counts_whatever_arrives_first(branch):
    said = kit.message("ann", "one")
    found = views(branch, ("ann", said), ("ann", edit(said, "two", 1)), ("ann", edit(said, "three", 2, at=0)))
    assert all(view == found[0] for view in found)
    row = found[0]["message"][0]
    assert (row["content"], row["edits"], b'"one"' in row["line"]) == ("three", 2, True)


def test_of_two_edits_the_higher_version_wins_and_no_clock_decides(branch):
    said = kit.message("ann", "one")
    branch.say("ann", said, edit(said, "newer", 2, at=-1000), edit(said, "older", 1, at=1000))
    branch.catch_up()
    assert branch.mail.get(said["message_id"])["body"]["content"] == "newer"


def test_nobody_edits_or_deletes_what_another_wrote(branch):
    said = kit.message("ann", "mine")
    found = views(
        branch,
        ("ann", said),
        ("eve", edit(said, "forged", 99)),
        ("eve", kit.event("message.delete", message_id=said["message_id"])),
    )
    assert all(view == found[0] for view in found)
    row = found[0]["message"][0]
    assert (row["edits"], row["content"], row["deleted_at"]) == (0, None, None)


def test_a_deletion_by_the_author_is_final_whatever_arrives_first(branch):
    said = kit.message("ann", to=["bob"])
    found = views(
        branch,
        ("ann", said),
        ("ann", edit(said, "still here?", 5)),
        ("ann", kit.event("message.delete", message_id=said["message_id"], reason="no", version=2)),
    )
    assert all(view == found[0] for view in found)
    assert found[0]["audience"] == [] and found[0]["tally"] == []


def test_deleted_mail_is_gone_from_every_inbox_and_from_unread(branch):
    said, other = kit.message("ann"), kit.message("ann", to=["bob"])
    branch.say("ann", said, other)
    branch.catch_up()
    assert branch.mail.unread_count("bob") == 2
    branch.say("ann", *(kit.event("message.delete", message_id=m["message_id"]) for m in (said, other)))
    branch.catch_up()
    assert ids_of(branch, "bob") == [] and branch.mail.unread_count("bob") == 0
    assert branch.mail.page("bob", Filter(), 10, 1).total == 0
    assert branch.mail.get(said["message_id"])["body"]["content"] == ""


def test_two_messages_that_claim_one_id_are_one_the_same_everywhere(branch):
    claims = [
        ("ann", kit.message("ann", "first", 0, message_id="msg_x", to=["bob"])),
        ("eve", kit.message("eve", "second", 1, message_id="msg_x", everyone=True)),
        ("cat", kit.message("cat", "third", 2, message_id="msg_x", thread_id="thr_1")),
        ("ann", kit.event("message.edit", 3, message_id="msg_x", body={"content": "edited"}, version=1)),
    ]
    found = views(branch, *claims)
    assert all(view == found[0] for view in found)
    for owner, said in claims:
        branch.say(owner, said)
    branch.catch_up()
    assert branch.mail.get("msg_x")["body"]["content"] == "edited"


def test_a_thread_may_arrive_after_its_replies(branch):
    root = kit.message("ann", message_id="msg_1", to=["bob"])
    reply = kit.message("bob", at=1, thread_id="thr_1", to=["ann"])
    thread = kit.event("thread.create", 1, thread_id="thr_1", title="t", created_by="bob")
    found = views(branch, ("ann", root), ("bob", reply), ("bob", thread))
    assert all(view == found[0] for view in found)
    assert {row["thread_id"] for row in found[0]["message"]} == {"thr_1"}
    assert {row["agent_id"] for row in found[0]["participant"]} == {"ann", "bob"}


def test_a_colliding_root_of_a_thread_leaves_the_same_participants_in_every_order(branch):
    root = kit.message("ann", message_id="msg_1", to=["bob"])
    forged = kit.message("eve", at=1, message_id="msg_1", to=["bob"])
    thread = kit.event("thread.create", 1, thread_id="thr_1", title="t", created_by="bob")
    found = views(branch, ("ann", root), ("eve", forged), ("bob", thread))
    assert all(view == found[0] for view in found)


def test_who_takes_part_in_a_thread_gets_all_of_its_mail_whatever_arrives_first(branch):
    said = [
        ("ann", kit.message("ann", at=0, thread_id="thr_1", to=["bob"])),
        ("bob", kit.message("bob", at=1, thread_id="thr_1", to=["ann"])),
        ("cat", kit.message("cat", at=2, thread_id="thr_1", to=["dan"])),
    ]
    for made in in_every_order(branch, *said):
        assert ids_of(made, "ann") == [said[2][1]["message_id"], said[1][1]["message_id"]]
        assert ids_of(made, "dan") == [said[2][1]["message_id"]]
        assert ids_of(made, "eve") == []
        assert made.tables() == made.rebuilt()


def test_what_was_deleted_is_nobodys_mail_in_a_thread_either(branch):
    said = kit.message("ann", at=0, thread_id="thr_1", to=["bob"])
    other = kit.message("cat", at=1, thread_id="thr_1", to=["ann"])
    gone = kit.event("message.delete", 2, message_id=said["message_id"])
    for made in in_every_order(branch, ("ann", said), ("cat", other), ("ann", gone)):
        assert ids_of(made, "cat") == []
        assert made.tables() == made.rebuilt()


@pytest.mark.parametrize("kind", ["edit", "thread", "create"])
def test_two_lines_that_claim_one_event_id_give_the_same_rows_in_every_order(branch, kind):
    first = kit.message("ann", "one", message_id="msg_1")
    if kind == "edit":
        pair = [{**edit(first, text, 1), "event_id": "evt_same"} for text in ("this", "that")]
    elif kind == "thread":
        pair = [
            {**kit.event("thread.create", thread_id="thr_1", title=text, created_by="ann"), "event_id": "evt_same"}
            for text in ("this", "that")
        ]
    else:
        pair = [kit.message("ann", text, message_id="msg_2", event_id="evt_same") for text in ("this", "that")]
    found = views(branch, ("ann", first), ("ann", pair[0], kit.HERE), ("ann", pair[1], kit.THERE))
    assert all(view == found[0] for view in found)


def test_a_claim_that_takes_the_very_place_of_another_is_weighed_against_it(branch):
    """The file was rewritten, and the earlier line of the same length stands where the later one stood."""
    pair = [kit.raw(kit.message("ann", text, message_id="msg_2", event_id="evt_same")) for text in ("that", "this")]
    path = f"messages/ann/{kit.HERE}/0000/00.jsonl"
    branch.replace(path, pair[1])
    branch.catch_up()
    branch.replace(path, *pair)
    branch.catch_up()
    (row,) = branch.tables()["message"]
    assert row["line"] == pair[0] == min(pair)


def test_old_mail_that_arrives_late_is_unread_although_everything_newer_was_read(branch):
    new = kit.message("ann", at=100)
    branch.say("bob", kit.register("bob"))
    branch.say("ann", new)
    branch.catch_up()
    branch.say("bob", kit.event("message.read", agent_id="bob", message_ids=[new["message_id"]]))
    branch.catch_up()
    assert branch.mail.unread_count("bob") == 0
    for number, more in enumerate([{}, {"to": ["bob"]}, {"refs": [{"type": "mention", "value": "implementer"}]}]):
        old = kit.message("cat", at=-1000 - number, **more)
        branch.say("cat", old, origin=kit.THERE)
        branch.catch_up()
        assert ids_of(branch, "bob", Filter(unread=True)) == [old["message_id"]], more
        branch.say("bob", kit.event("message.read", agent_id="bob", message_ids=[old["message_id"]]))
        branch.catch_up()
        assert branch.mail.unread_count("bob") == 0


def test_mail_to_a_new_role_is_unread_however_old(branch):
    old = kit.message("ann", at=-1000, refs=[{"type": "mention", "value": "reviewer"}])
    branch.say("bob", kit.register("bob", version=1))
    branch.say("ann", old, kit.message("ann", at=5, to=["bob"], message_id="msg_new"))
    branch.catch_up()
    branch.say("bob", kit.event("message.read", agent_id="bob", message_ids=["msg_new"]))
    branch.catch_up()
    assert branch.mail.unread_count("bob") == 0
    branch.say("bob", kit.register("bob", "reviewer", version=2))
    branch.catch_up()
    assert ids_of(branch, "bob", Filter(unread=True)) == [old["message_id"]]


def test_joining_a_thread_makes_its_older_mail_unread(branch):
    old = kit.message("ann", at=-1000, thread_id="thr_1", to=["cat"])
    mine = kit.message("ann", at=10, to=["bob"])
    branch.say("ann", old, mine)
    branch.catch_up()
    branch.say("bob", kit.event("message.read", agent_id="bob", message_ids=[mine["message_id"]]))
    branch.catch_up()
    branch.say("bob", kit.message("bob", at=11, thread_id="thr_1", to=["ann"]))
    branch.catch_up()
    assert ids_of(branch, "bob", Filter(unread=True)) == [old["message_id"]]


def test_a_read_mark_may_arrive_before_its_message(branch):
    said = kit.message("ann")
    mark = kit.event("message.read", agent_id="bob", message_ids=[said["message_id"]])
    for made in in_every_order(branch, ("ann", said), ("bob", mark)):
        assert made.mail.unread_count("bob") == 0 and made.mail.unread_count("cat") == 1
        assert made.mail.readers(said["message_id"]) == ["bob"]


def test_the_same_line_twice_is_one(branch):
    said = kit.message("ann", to=["bob"])
    branch.say("ann", said, said)
    branch.say("ann", said, origin=kit.THERE)
    branch.catch_up()
    assert branch.mail.page("bob", Filter(), 10, 1).total == 1
    assert branch.tables() == branch.rebuilt()


@pytest.mark.parametrize(
    "odd",
    [
        {"message_id": ""},
        {"message_id": "\0"},
        {"message_id": "x" * 10_000},
        {"body": {"content": "\0\ufffd\u2028"}},
        {"priority": "\x1b[31m"},
        {"refs": [{"type": "", "value": ""}] * 3},
        {"scopes": [{"type": "a", "value": "b"}] * 3},
        {"to": ["bob"] * 1000},
        {"to": ["nobody", "user:leon", "x" * 10_000]},
        {"thread_id": ""},
        {"thread_id": "msg_1"},
        {"timestamp": "9999-12-31T23:59:59Z"},
        {"timestamp": "0001-01-01T00:00:00Z"},
        {"timestamp": "never"},
        {"version": 2**53},
        {"seq": 2**53},
        {"disclosed": True},
        {"event_id": "'; DROP TABLE message; --"},
    ],
    ids=lambda odd: repr(odd)[:40],
)
def test_odd_but_well_typed_messages_stop_nobody(branch, odd):
    before, after = kit.message("ann", "before"), kit.message("ann", "after")
    branch.say("ann", before, {**kit.message("ann", "odd"), **odd}, after)
    branch.catch_up()
    found = ids_of(branch, "bob")
    assert before["message_id"] in found and after["message_id"] in found
    assert branch.mail.page("bob", Filter(), 10, 1).total == len(found)
    assert branch.tables() == branch.rebuilt()


def test_edits_and_deletions_are_numbered_as_they_come_in_and_only_when_they_count(branch):
    one, two = kit.message("ann", "one"), kit.message("ann", "two")

    def numbered():
        branch.catch_up()
        rows = branch.projection.connection.execute("SELECT message_id, after, event_id FROM change ORDER BY seq")
        return [tuple(row) for row in rows]

    branch.say("ann", one)
    assert numbered() == []
    changed = edit(one, "uno", 1)
    branch.say("ann", changed)
    first = (one["message_id"], 1, changed["event_id"])
    assert numbered() == [first]
    branch.say("bob", edit(one, "forged", 2))
    branch.say("ann", two, kit.event("message.read", agent_id="ann", message_ids=[one["message_id"]]))
    assert numbered() == [first]
    branch.say("ann", kit.event("message.delete", message_id=two["message_id"], version=3))
    assert numbered() == [first, (two["message_id"], 2, "")]


def test_of_two_threads_that_claim_one_id_the_winners_scopes_count(branch):
    core, web = [{"type": "module", "value": "core"}], [{"type": "module", "value": "web"}]
    winner = kit.event("thread.create", 1, thread_id="thr_1", title="a", created_by="ann", scopes=core)
    loser = kit.event("thread.create", 2, thread_id="thr_1", title="b", created_by="bob", scopes=web)
    for made in in_every_order(branch, ("ann", winner), ("bob", loser)):
        ((scopes,),) = made.projection.connection.execute("SELECT scopes FROM thread").fetchall()
        assert "core" in scopes and "web" not in scopes


def bound(author, at=0, **fields):
    """A message whose id proves whose it is."""
    made = kit.message(author, f"of {author}", at, **fields)
    return {**made, "message_id": ids.bound_id("msg", author, made["event_id"])}


def owners(branch, table, column, *statements):
    """Whose the one row of a table is, in every order of arrival, folded bit by bit and all at once."""
    found = set()
    for made in in_every_order(branch, *statements):
        for tables in (made.tables(), made.rebuilt()):
            (row,) = tables[table]
            found.add(row[column])
    return found


def test_nobody_takes_anothers_message_by_claiming_its_id_earlier(branch):
    mine = bound("ann", 9)
    forged = kit.message("mallory", "stolen", 0, message_id=mine["message_id"])
    copied = {**mine, "agent_id": "mallory", "timestamp": forged["timestamp"]}
    said = ("ann", mine), ("mallory", forged), ("mallory", copied)
    assert owners(branch, "message", "owner", *said) == {"ann"}


def test_a_request_id_proves_a_messages_author_as_well(branch):
    mine = kit.message("ann", "of ann", 9, request_id="r1", message_id=ids.requested_message_id("ann", "r1"))
    forged = kit.message("mallory", "stolen", 0, request_id="r1", message_id=mine["message_id"])
    assert owners(branch, "message", "owner", ("ann", mine), ("mallory", forged)) == {"ann"}


def test_what_a_user_says_in_an_agents_name_is_proven_to_be_the_users(branch):
    mine = kit.message("ann", "as ann", 9, authored_by="user:leon", disclosed=True)
    mine["message_id"] = ids.bound_id("msg", "user:leon", mine["event_id"])
    forged = kit.message("ann", "stolen", 0, message_id=mine["message_id"])
    assert owners(branch, "message", "owner", ("user_leon", mine), ("ann", forged)) == {"user_leon"}


def test_nobody_takes_anothers_thread_by_claiming_it_earlier(branch):
    begun = kit.event("thread.create", 9, title="plans", created_by="ann")
    begun["thread_id"] = ids.bound_id("thr", "ann", begun["event_id"])
    forged = kit.event("thread.create", 0, title="lies", created_by="mallory", thread_id=begun["thread_id"])
    copied = {**begun, "created_by": "mallory", "authored_by": "ann", "title": "lies"}
    said = ("ann", begun), ("mallory", forged), ("mallory", copied)
    assert owners(branch, "thread", "title", *said) == {"plans"}


@pytest.mark.parametrize("name", ["*", "@implementer", "@bob"])
def test_nobody_makes_a_thread_everyones_mail_by_taking_part_under_an_address_of_many(branch, name):
    branch.say("bob", kit.register("bob"))
    branch.say("user_eve", kit.message(name, authored_by="user:eve", to=["zed"], thread_id="thr_1"))
    branch.say("ann", kit.message("ann", "for cat", to=["cat"], thread_id="thr_1"))
    branch.catch_up()
    assert ids_of(branch, "bob") == [] and branch.mail.page("bob", Filter(), 9, 1).total == 0
    assert branch.mail.participants("thr_1") == ["ann"]
