"""One file for everything is dealt out as v0.1.0 would, and not a byte is lost."""

from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import sharding


def test_messages_go_to_their_authors_and_the_rest_to_the_events():
    said, edit = (
        kit.message("ann"),
        kit.event("message.edit", message_id="msg_x", body={"content": "y", "format": "plain"}),
    )
    edit["message_id"] = said["message_id"]
    lines = [kit.raw(line) for line in (kit.register("ann"), said, edit)]
    assert sharding.deal(lines, {}) == {"events.jsonl": lines[:1], "messages/ann.jsonl": lines[1:]}


def test_a_change_of_a_message_that_was_created_elsewhere_follows_it():
    gone = kit.raw(kit.event("message.delete", message_id="msg_1"))
    assert sharding.deal([gone], {"msg_1": "user_leon"}) == {"messages/user_leon.jsonl": [gone]}


def test_what_cannot_be_placed_goes_to_the_events():
    lines = [
        b"torn {",
        kit.raw(kit.event("message.edit", message_id="msg_nobodys", body={})),
        kit.raw(kit.message("../../evil")),
        kit.raw(kit.message(7)),
        b'{"type":7}',
    ]
    assert sharding.deal(lines, {}) == {"events.jsonl": lines}


def test_users_and_legacy_ids_have_files_of_their_own():
    lines = [kit.raw(kit.message("user:leon")), kit.raw(kit.message("agent:planner:9F2K3M1Q8Z"))]
    assert list(sharding.deal(lines, {})) == ["messages/user_leon.jsonl", "messages/planner_9F2K3M1Q8Z.jsonl"]


@given(
    st.lists(st.one_of(st.binary(min_size=1), st.sampled_from(["ann", "bob"]).map(lambda a: kit.raw(kit.message(a)))))
)
def test_every_line_is_dealt_out_once_and_in_order(lines):
    dealt = sharding.deal(lines, {})
    assert sorted(line for part in dealt.values() for line in part) == sorted(lines)
    for part in dealt.values():
        assert [line for line in lines if line in part] == part
