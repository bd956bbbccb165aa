import pytest

from tests import kit
from thrum.core import codec
from thrum.errors import AlreadyDeleted, BadParams, Forbidden, NotFound


@pytest.fixture
def said(ann):
    """A message of ann's to everyone."""
    return ann("message.send", content="tax merged")["message_id"]


def text(caller, message_id):
    return caller("message.get", message_id=message_id)["message"]["body"]["content"]


def test_an_author_says_it_differently_and_everybody_reads_that(team, said):
    ann, bob, _ = team
    before = ann("message.get", message_id=said)["message"]
    first = ann("message.edit", message_id=said[:-2], content="cart and tax merged")
    assert first == {"message_id": said, "updated_at": first["updated_at"], "version": 1}
    assert ann("message.edit", message_id=said, content="all merged")["version"] == 2
    now = bob("message.get", message_id=said)["message"]
    assert now["body"] == {"format": "markdown", "content": "all merged"}
    assert now["edits"] == 2 and now["created_at"] == before["created_at"] < now["updated_at"]
    assert bob("message.list")["messages"][0]["body"]["content"] == "all merged"


def test_the_history_begins_with_the_first_text_and_ends_with_the_present_one(team, said):
    ann, bob, _ = team
    created = ann("message.get", message_id=said)["message"]["created_at"]
    assert bob("message.get", message_id=said, history=True)["message"]["history"] == [
        {"content": "tax merged", "edited_at": created}
    ]
    edits = [ann("message.edit", message_id=said, content=text)["updated_at"] for text in ("two", "three")]
    assert bob("message.get", message_id=said, history=True)["message"]["history"] == [
        {"content": "tax merged", "edited_at": created},
        {"content": "two", "edited_at": edits[0]},
        {"content": "three", "edited_at": edits[1]},
    ]
    assert "history" not in bob("message.get", message_id=said)["message"]


def test_an_edit_that_is_made_again_is_one(ann, said, logs):
    """Whoever lost the answer asks once more."""
    once = ann("message.edit", message_id=said, content="two", structured={"n": 1})
    before = logs()
    assert ann("message.edit", message_id=said, content="two", structured={"n": 1}) == once
    assert ann("message.edit", message_id=said, content="two") == once
    assert logs() == before
    assert ann("message.edit", message_id=said, content="two", structured={"n": 2})["version"] == 2
    assert ann("message.edit", message_id=said, content="two", structured={"n": 1})["version"] == 3


def test_what_is_left_out_of_an_edit_stays(ann):
    said = ann("message.send", content='{"a": 1}', format="json", structured={"n": 1})["message_id"]
    ann("message.edit", message_id=said, structured={"n": 2})
    assert ann("message.get", message_id=said)["message"]["body"] == {
        "format": "json",
        "content": '{"a": 1}',
        "structured": '{"n":2}',
    }
    ann("message.edit", message_id=said, content="[]")
    assert ann("message.get", message_id=said)["message"]["body"] == {
        "format": "json",
        "content": "[]",
        "structured": '{"n":2}',
    }
    assert [v["structured"] for v in ann("message.get", message_id=said, history=True)["message"]["history"]] == [
        '{"n":1}',
        '{"n":2}',
        '{"n":2}',
    ]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({}, "content or structured"),
        ({"content": "  "}, "content"),
        ({"content": "é" * (512 * 1024 + 1)}, "content"),
        ({"content": "no json"}, "JSON"),
        ({"structured": {"n": float("nan")}}, "structured"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_could_not_be_sent_cannot_be_said_by_an_edit_either(ann, logs, params, word):
    said = ann("message.send", content="[1]", format="json")["message_id"]
    before = logs()
    with pytest.raises(BadParams, match=word):
        ann("message.edit", message_id=said, **params)
    assert logs() == before


@pytest.mark.parametrize("method", ["message.edit", "message.delete"])
def test_only_the_author_may(team, said, logs, method):
    before = logs()
    with pytest.raises(Forbidden, match="ann") as caught:
        team[1](method, message_id=said, **({"content": "x"} if method == "message.edit" else {}))
    assert caught.value.hint and logs() == before
    with pytest.raises(NotFound):
        team[1](method, message_id="msg_none", **({"content": "x"} if method == "message.edit" else {}))


def test_what_was_deleted_shows_that_and_not_its_text(team, said):
    ann, bob, _ = team
    ann("message.edit", message_id=said, content="secret", structured={"key": "secret"})
    gone = ann("message.delete", message_id=said, reason="wrong room")
    message = bob("message.get", message_id=said, history=True)["message"]
    assert message["deleted"] and message["body"] == {"format": "markdown", "content": ""}
    assert message["metadata"] == {
        "deleted_at": gone["deleted_at"],
        "deleted_by": "ann",
        "delete_reason": "wrong room",
    }
    assert "history" not in message and "secret" not in repr(message) and "tax" not in repr(message)


def test_what_was_deleted_leaves_every_inbox_and_is_not_unread(team, said):
    ann, bob, cat = team
    kept = ann("message.send", content="kept", to=["bob"])["message_id"]
    ann("message.delete", message_id=said)
    for caller, expected in ((bob, [kept]), (cat, []), (ann, [kept])):
        listed = caller("message.list")
        assert [m["message_id"] for m in listed["messages"]] == expected
        assert listed["unread"] == (1 if caller is bob else 0) and listed["total"] == len(expected)
        assert [m["message_id"] for m in caller("message.list", all=True)["messages"]] == [kept]


def test_deleted_messages_are_listed_on_demand_where_they_would_have_been(team, said):
    ann, bob, cat = team
    to_bob = ann("message.send", content="for bob", to=["bob"], scopes=[{"type": "module", "value": "m"}])["message_id"]
    for message_id in (said, to_bob):
        ann("message.delete", message_id=message_id)

    def listed(caller, **more):
        found = caller("message.list", include_deleted=True, **more)
        assert found["total"] == len(found["messages"]) and found["unread"] == 0
        assert all(m["deleted"] and m["body"]["content"] == "" for m in found["messages"])
        return [m["message_id"] for m in found["messages"]]

    assert listed(bob) == [to_bob, said] == listed(ann) == listed(cat, all=True)
    assert listed(cat) == [said] and listed(ann, exclude_self=True) == []
    assert listed(bob, unread=True) == []
    assert listed(bob, scope={"type": "module", "value": "m"}) == [to_bob]
    assert listed(cat, scope={"type": "module", "value": "m"}) == []


def test_a_message_is_deleted_once_and_never_edited_afterwards(ann, said, logs):
    deleted = ann("message.delete", message_id=said, reason="wrong place")
    before = logs()
    assert ann("message.delete", message_id=said) == deleted  # whoever lost the answer asks once more
    with pytest.raises(AlreadyDeleted) as caught:
        ann("message.edit", message_id=said, content="x")
    assert caught.value.kind == "AlreadyDeleted" and caught.value.hint
    assert logs() == before


@pytest.mark.parametrize("method", ["message.edit", "message.delete"])
def test_what_was_said_before_becomes_durable_when_it_is_said_again(engine, ann, said, monkeypatch, method):
    """Whoever said it first may have been killed between the write and the flush."""
    params = {"message_id": said, **({"content": "x"} if "edit" in method else {})}
    ann(method, **params)
    flushed = []
    monkeypatch.setattr(engine.journal, "append", lambda who, *stated: flushed.append((who, stated)) or [])
    ann(method, **params)
    assert flushed == [("ann", ())]


def test_an_edit_is_in_the_authors_own_log_and_says_all_of_the_new_text(engine, ann, said):
    ann("message.edit", message_id=said, content="new")
    lines = [
        codec.decode(line)
        for path, data in kit.files(engine.place.log_root).items()
        if "messages/ann/" in path
        for line in data.splitlines()
    ]
    edits = [line for line in lines if line["type"] == "message.edit"]
    assert [(e["message_id"], e["body"]) for e in edits] == [(said, {"format": "markdown", "content": "new"})]


def test_an_edit_leaves_what_was_read_read_and_the_audience_as_it_was(team):
    ann, bob, cat = team
    said = ann("message.send", content="hello", to=["bob"])["message_id"]
    bob("message.markRead", message_ids=[said])
    ann("message.edit", message_id=said, content="hello @cat")
    assert bob("message.list")["unread"] == 0 and cat("message.list")["messages"] == []


def test_the_newest_edit_counts_after_the_author_moved_to_another_clone(engine, ann, said):
    for content in ("two", "three", "four"):
        ann("message.edit", message_id=said, content=content)
    written = [data for path, data in kit.files(engine.place.log_root).items() if path.startswith("messages/")]
    lines = [codec.decode(line) for data in written for line in data.splitlines()]
    latest = max(line["version"] for line in lines if line["type"] == "message.edit")
    edit = kit.event("message.edit", -60, message_id=said, body={"content": "five"}, version=latest + 1, seq=1)
    kit.write_log(engine.place.log_root, "ann", edit)
    assert text(ann, said) == "five"
    ann("message.edit", message_id=said, content="six")
    assert text(ann, said) == "six"
