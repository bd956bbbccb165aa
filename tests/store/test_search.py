from tests import kit
from thrum.core import query
from thrum.store import proof
from thrum.store.search import Search


def found(branch, text):
    branch.catch_up()
    ids, total = Search(lambda: branch.projection.connection).find(query.Wanted(query.parse(text)), 1000, 1)
    assert total == len(ids)
    return ids


def test_the_index_follows_what_arrives_between_searches(branch):
    expected = []
    for number in range(3):
        said = [kit.message("ann", f"word {number}.{part}", number * 10 + part) for part in range(3)]
        branch.say("ann", *said)
        expected = [m["message_id"] for m in reversed(said)] + expected
        assert found(branch, "word") == expected


def test_more_than_one_portion_is_indexed(branch):
    branch.say("ann", *(kit.message("ann", f"word {n}", n) for n in range(4500)))
    ids, total = Search(lambda: branch.projection.connection).find(query.Wanted(query.parse("word")), 10, 1)
    assert (len(ids), total) == (0, 0)
    branch.catch_up()
    ids, total = Search(lambda: branch.projection.connection).find(query.Wanted(query.parse("word")), 10, 1)
    assert (len(ids), total) == (10, 4500)


def test_it_can_be_indexed_step_by_step(branch):
    branch.say("ann", *(kit.message("ann", f"word {n}", n) for n in range(2500)))
    branch.catch_up()
    search = Search(lambda: branch.projection.connection)
    assert [search.index_some() for _ in range(4)] == [True, True, False, False]
    assert search.find(query.Wanted(query.parse("word")), 10, 1)[1] == 2500


def test_many_edits_are_caught_up_with(branch):
    said = kit.message("ann", "word")
    branch.say("ann", said)
    assert found(branch, "word") == [said["message_id"]]
    edits = [
        kit.event("message.edit", n, message_id=said["message_id"], body={"content": f"text {n}"}, version=n)
        for n in range(1, 4)
    ]
    for edit in edits:
        branch.say("ann", edit)
        branch.catch_up()
    assert (
        found(branch, "word") == []
        and found(branch, "text 3") == [said["message_id"]]
        and found(branch, '"text 2"') == []
    )


def test_of_two_messages_that_claim_one_id_the_winners_words_are_found(branch):
    loser = kit.message("ann", "loser", 5, message_id="msg_1")
    branch.say("ann", loser)
    assert found(branch, "loser") == ["msg_1"]
    branch.say("bob", kit.message("bob", "winner", 1, message_id="msg_1"))
    assert found(branch, "winner") == ["msg_1"] and found(branch, "loser") == []


def test_a_rebuilt_database_has_an_index_of_its_own(branch):
    said = kit.message("ann", "word")
    branch.say("ann", said)
    assert found(branch, "word") == [said["message_id"]]
    branch.projection.rebuild()
    assert found(branch, "word") == [said["message_id"]]


def test_the_index_is_no_part_of_what_the_logs_say(branch):
    branch.say("ann", kit.message("ann", "word"))
    found(branch, "word")
    assert proof.check(branch.root, branch.database, branch.own) == []
    assert branch.tables() == branch.rebuilt()
