import pytest

from tests import kit
from thrum.core import ids, layout
from thrum.core.codec import BadLine
from thrum.store import stated

OWN = layout.parse_path(layout.segment_path("mallory", kit.HERE, 0))
SHARD = layout.parse_path("messages/mallory.jsonl")
EVENTS = layout.parse_path("events.jsonl")

SPOKEN = {
    "message.create": {"message_id": "msg_1", "agent_id": "WHO", "body": {"content": "x"}},
    "message.read": {"agent_id": "WHO", "message_ids": ["msg_1"]},
    "thread.create": {"thread_id": "thr_1", "title": "x", "created_by": "WHO"},
    "agent.register": {"agent_id": "WHO", "kind": "agent", "role": "r", "module": "m"},
    "agent.update": {"agent_id": "WHO", "work_contexts": []},
    "agent.session.start": {"session_id": "ses_1", "agent_id": "WHO"},
    "agent.session.update": {"session_id": "ses_1", "agent_id": "WHO", "intent": "x"},
    "agent.session.end": {"session_id": "ses_1", "agent_id": "WHO"},
}


def said(kind, who, **more):
    fields = {name: who if value == "WHO" else value for name, value in SPOKEN[kind].items()}
    made = kit.event(kind)
    return kit.raw({**made, **fields, **more})


@pytest.mark.parametrize("kind", SPOKEN)
@pytest.mark.parametrize("source", [OWN, SHARD])
def test_whoever_owns_the_log_may_speak_in_it(kind, source):
    assert stated.read(source, 0, said(kind, "mallory")).owner == "mallory"


@pytest.mark.parametrize("kind", SPOKEN)
@pytest.mark.parametrize("source", [OWN, SHARD])
def test_nobody_else_is_heard_in_it(kind, source):
    with pytest.raises(BadLine):
        stated.read(source, 0, said(kind, "ann"))


@pytest.mark.parametrize("kind", SPOKEN)
@pytest.mark.parametrize(
    "more", [{"authored_by": "mallory"}, {"created_by": "mallory"}, {"authored_by": "mallory", "disclosed": True}]
)
def test_nobody_speaks_for_another_by_saying_who_he_really_is(kind, more):
    if kind == "thread.create" and "created_by" in more:
        more = {"agent_id": "mallory"}
    with pytest.raises(BadLine):
        stated.read(OWN, 0, said(kind, "ann", **more))


@pytest.mark.parametrize("kind", ["message.create", "message.read"])
def test_events_jsonl_speaks_only_of_what_v010_put_there(kind):
    with pytest.raises(BadLine):
        stated.read(EVENTS, 0, said(kind, "ann"))


@pytest.mark.parametrize(
    "kind", ["thread.create", "agent.register", "agent.update", "agent.session.start", "agent.session.end"]
)
def test_events_jsonl_of_v010_speaks_for_everybody(kind):
    assert stated.read(EVENTS, 0, said(kind, "ann")).owner == ""


def test_v010_files_a_message_that_a_user_wrote_as_an_agent_under_that_agent():
    line = said("message.create", "mallory", authored_by="user:leon", disclosed=True)
    assert stated.read(SHARD, 0, line).event["authored_by"] == "user:leon"


def test_a_log_of_a_legacy_id_belongs_to_that_id():
    source = layout.parse_path("messages/implementer_9F2K3M1Q8Z.jsonl")
    assert stated.read(source, 0, said("message.create", "agent:implementer:9F2K3M1Q8Z"))


def test_ours_are_ranked_by_version_and_no_clock():
    early = stated.read(OWN, 0, kit.raw(kit.event("message.edit", 0, message_id="m", body={"content": "x"}, version=3)))
    late = stated.read(OWN, 0, kit.raw(kit.event("message.edit", 99, message_id="m", body={"content": "x"}, version=2)))
    assert early.rank > late.rank


def test_a_statement_without_a_version_has_the_place_in_its_log_as_one():
    one = stated.read(OWN, 0, kit.raw(kit.event("message.edit", 99, message_id="m", body={"content": "x"}, seq=9)))
    two = stated.read(OWN, 0, kit.raw(kit.event("message.edit", 0, message_id="m", body={"content": "x"}, seq=10)))
    assert two.rank > one.rank


def test_those_of_v010_are_ranked_by_time_whatever_versions_they_claim():
    early = stated.read(
        SHARD, 0, kit.raw(kit.event("message.edit", 0, message_id="m", body={"content": "x"}, version=3))
    )
    late = stated.read(SHARD, 0, kit.raw(kit.event("message.edit", 99, message_id="m", body={"content": "x"})))
    assert early.rank < late.rank


@pytest.mark.parametrize(("low", "high"), [(0, 1), (9, 10), (999_999_999_999, 1_000_000_000_000), (2**52, 2**53)])
def test_ranks_sort_as_their_versions_do(low, high):
    assert stated.rank(low, 0, "z") < stated.rank(high, 0, "a")


@pytest.mark.parametrize("at", ["1700-01-01T00:00:00Z", "not a time", ""])
def test_a_time_before_1970_or_none_is_the_beginning_of_time(at):
    assert stated.read(OWN, 0, kit.raw({**kit.message("mallory"), "timestamp": at})).at == 0


@pytest.mark.parametrize(
    ("kind", "name", "requested"),
    [
        ("message.create", "message_id", ids.requested_message_id),
        ("thread.create", "thread_id", ids.requested_thread_id),
    ],
)
def test_what_was_made_on_request_is_proven_by_the_request_and_its_author(kind, name, requested):
    made = {name: requested("mallory", "r1"), "request_id": "r1"}
    assert stated.read(OWN, 0, said(kind, "mallory", **made)).is_proven
    for forged in ({name: requested("ann", "r1")}, {"request_id": "r2"}):
        assert not stated.read(OWN, 0, said(kind, "mallory", **{**made, **forged})).is_proven
