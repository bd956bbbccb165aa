import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import codec, events
from thrum.core.codec import BadLine

GOOD = {
    "message.create": {"message_id": "msg_1", "agent_id": "ann", "body": {"content": "hi"}},
    "message.edit": {"message_id": "msg_1", "body": {"content": "hi"}},
    "message.delete": {"message_id": "msg_1"},
    "message.read": {"agent_id": "ann", "message_ids": ["msg_1"]},
    "thread.create": {"thread_id": "thr_1", "title": "", "created_by": "ann"},
    "agent.register": {"agent_id": "ann", "kind": "agent", "role": "r", "module": "m"},
    "agent.update": {"agent_id": "ann", "work_contexts": []},
    "agent.cleanup": {"agent_id": "ann"},
    "agent.session.start": {"session_id": "ses_1", "agent_id": "ann"},
    "agent.session.update": {"session_id": "ses_1", "agent_id": "ann"},
    "agent.session.end": {"session_id": "ses_1"},
}
KINDS = sorted(GOOD)


def good(kind, /, **more):
    return kit.event(kind, **{**GOOD[kind], **more})


def parse(event):
    return events.parse(codec.encode(event))


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_with_what_its_type_asks_for_is_one(kind):
    assert parse(good(kind))["type"] == kind


@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in KINDS for field in GOOD[kind]])
@pytest.mark.parametrize("value", [None, 7, {}, [], True, "ABSENT"])
def test_a_field_that_is_missing_or_of_the_wrong_type_makes_a_bad_line(kind, field, value):
    event = good(kind, **{field: value})
    if value == "ABSENT":
        del event[field]
    elif type(value) is type(GOOD[kind][field]) and field != "body":
        return
    with pytest.raises(BadLine):
        parse(event)


@pytest.mark.parametrize("kind", [*KINDS, "from.the.future"])
def test_unknown_fields_are_kept(kind):
    event = kit.event(kind, **GOOD.get(kind, {}), from_the_future={"deep": [1, None]})
    assert parse(event)["from_the_future"] == {"deep": [1, None]}


@pytest.mark.parametrize("value", [{}, 7, "x", [1], None])
def test_an_unknown_type_may_use_known_fields_as_it_likes(value):
    assert parse(kit.event("from.the.future", body=value, scopes=value, agent_id=value))["body"] == value


@pytest.mark.parametrize("field", ["type", "timestamp"])
@pytest.mark.parametrize("value", [None, 7, [], {}])
def test_every_event_has_a_type_and_a_timestamp(field, value):
    with pytest.raises(BadLine):
        parse(good("message.delete", **{field: value}))


@pytest.mark.parametrize("event_id", [7, ["x"], {"a": 1}, True])
def test_an_event_id_is_text(event_id):
    with pytest.raises(BadLine):
        parse(good("message.delete", event_id=event_id))


@pytest.mark.parametrize("vector", kit.fixture("ids.json")["events"], ids=lambda v: v["type"])
def test_an_old_event_gets_the_id_that_v010_would_give_it(vector):
    field = kit.fixture("ids.json")["fields"].get(vector["type"])
    event = {"type": vector["type"], "timestamp": vector["timestamp"], **GOOD.get(vector["type"], {})}
    if field:
        event[field] = vector["entity"]
    assert parse(event)["event_id"] == vector["id"]
    assert parse({**event, "event_id": ""})["event_id"] == vector["id"]


def test_an_event_without_an_id_and_without_a_readable_time_is_none():
    with pytest.raises(BadLine):
        parse({"type": "message.delete", "timestamp": "yesterday", "message_id": "m"})


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("message.create", {"scopes": {}}),
        ("message.create", {"scopes": ["x"]}),
        ("message.create", {"scopes": [{"type": "a"}]}),
        ("message.create", {"refs": [{"type": "a", "value": 7}]}),
        ("message.create", {"to": "bob"}),
        ("message.create", {"to": [7]}),
        ("message.create", {"to": [""]}),
        ("message.create", {"to": ["*"]}),
        ("message.create", {"everyone": "yes"}),
        ("message.create", {"priority": 1}),
        ("message.create", {"thread_id": ["x"]}),
        ("message.create", {"session_id": {}}),
        ("message.create", {"disclosed": 1}),
        ("message.create", {"authored_by": []}),
        ("message.create", {"body": {}}),
        ("message.create", {"body": {"content": None}}),
        ("message.create", {"body": {"content": "x", "format": 1}}),
        ("message.create", {"body": {"content": "x", "structured": {}}}),
        ("message.edit", {"body": {"content": "x", "structured": []}}),
        ("message.edit", {"version": -1}),
        ("message.edit", {"version": 1.5}),
        ("message.edit", {"version": "2"}),
        ("message.edit", {"version": 1e30}),
        ("message.edit", {"seq": True}),
        ("message.read", {"message_ids": [7]}),
        ("message.read", {"message_ids": [None]}),
        ("message.delete", {"reason": 7}),
        ("agent.register", {"display": []}),
        ("agent.register", {"worktree": {}}),
        ("agent.session.start", {"refs": [[]]}),
        ("agent.session.update", {"intent": []}),
        ("agent.session.update", {"add_scopes": [None]}),
        ("agent.session.end", {"agent_id": ["ann"]}),
        ("agent.session.end", {"agent_id": {"a": 1}}),
        ("agent.update", {"work_contexts": ["x"]}),
        ("agent.update", {"work_contexts": [{"session_id": 7}]}),
        ("agent.update", {"work_contexts": [{"branch": []}]}),
        ("agent.update", {"work_contexts": [{"changed_files": "x"}]}),
        ("agent.update", {"work_contexts": [{"changed_files": [7]}]}),
        ("agent.update", {"work_contexts": [{"unmerged_commits": [7]}]}),
        ("agent.update", {"work_contexts": [{"unmerged_commits": [{"sha": 7}]}]}),
        ("agent.update", {"work_contexts": [{"unmerged_commits": [{"sha": "a", "files": "x"}]}]}),
    ],
)
def test_a_known_field_of_the_wrong_type_makes_a_bad_line(kind, more):
    with pytest.raises(BadLine):
        parse(good(kind, **more))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("message.create", {"scopes": None, "refs": None, "thread_id": None, "authored_by": None}),
        ("message.create", {"scopes": [{"type": "a", "value": "b", "more": 1}]}),
        ("message.create", {"body": {"content": "", "format": None, "structured": None}}),
        ("agent.update", {"work_contexts": [{"session_id": "s", "changed_files": None, "unmerged_commits": None}]}),
        ("agent.session.end", {"agent_id": None}),
    ],
)
def test_null_is_absent_and_more_is_no_fault(kind, more):
    assert parse(good(kind, **more))["type"] == kind


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("ann"),
    lambda v: (
        st.lists(v, max_size=2) | st.dictionaries(st.sampled_from(["type", "value", "content", "sha"]), v, max_size=2)
    ),
    max_leaves=6,
)
FIELDS = sorted({*events._OPTIONAL, *(field for fields in events._REQUIRED.values() for field in fields)})


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=4))
def test_whatever_the_fields_hold_it_is_an_event_or_a_bad_line(kind, more):
    try:
        parse(good(kind, **more))
    except BadLine:
        return
    for field, value in more.items():
        wanted = events._OPTIONAL.get(field, events._REQUIRED[kind].get(field))
        assert wanted is None or value is None or isinstance(value, wanted)


def test_what_is_eager_is_what_people_wait_for():
    assert "message.create" in events.EAGER and "agent.register" in events.EAGER
    assert "message.read" not in events.EAGER and "agent.update" not in events.EAGER
