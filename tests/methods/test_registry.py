import inspect
import re
import types
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.errors import BadParams, NotFound, ThrumError
from thrum.methods import registry
from thrum.methods.registry import Pair, bind
from thrum.methods.writing import Draft

METHODS = registry.load()
SEND = METHODS["message.send"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_says_what_it_does_in_one_line(name):
    summary = METHODS[name].summary
    assert summary and summary[0].isupper() and summary.endswith((".", ":")) and len(summary) < 130


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_parameter_has_a_type_that_can_be_checked(name):
    method = METHODS[name]
    for parameter in method.parameters:
        assert parameter.kind is not inspect.Parameter.empty
        if not parameter.required:
            bind(method, needed(method))


def needed(method):
    samples = {str: "x", list[str]: ["x"], int: 1, bool: True}
    return {p.name: samples.get(p.kind, "x") for p in method.parameters if p.required}


EVERY_PARAMETER = [(method, p.name) for method in sorted(METHODS) for p in METHODS[method].parameters]
JSON_VALUES = {
    "text": "x",
    "whole number": 3,
    "number": 2.5,
    "truth": True,
    "object": {"n": 1},
    "list": [{"n": 1}],
    "texts": ["x"],
    "lists": [["x"]],
}
FITS = {
    str: {"text"},
    int: {"whole number"},
    float: {"number", "whole number"},
    bool: {"truth"},
    dict[str, Any]: {"object"},
    list[str]: {"texts"},
}


def fitting(kind):
    """The names of those JSON values that a type takes."""
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    return set().union(*(FITS.get(one, set()) for one in kinds))


@pytest.mark.parametrize(("method", "field"), EVERY_PARAMETER)
def test_every_parameter_of_every_method_refuses_the_wrong_type_by_its_name(method, field):
    wanted = METHODS[method]
    kind = next(p.kind for p in wanted.parameters if p.name == field)
    fits = fitting(kind)
    assert len(fits) < len(JSON_VALUES)
    for name, value in JSON_VALUES.items():
        if name in fits:
            bind(wanted, {**needed(wanted), field: value})
        else:
            with pytest.raises(BadParams, match=field) as caught:
                bind(wanted, {**needed(wanted), field: value})
            assert caught.value.code == -32602


@pytest.mark.parametrize(("method", "field"), EVERY_PARAMETER)
def test_every_parameter_says_what_it_means(method, field):
    about = next(p.about for p in METHODS[method].parameters if p.name == field)
    assert about and not about.endswith(".") and about[0] == about[0].lower()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_says_what_it_gives(method):
    assert re.search(r"[Gg]ives\s(what\s)?`", METHODS[method].details)


def test_a_list_or_a_text_is_either():
    create = METHODS["thread.create"]
    for recipient in ("bob", ["bob"]):
        assert bind(create, {"title": "t", "recipient": recipient})["recipient"] == recipient
    with pytest.raises(BadParams, match="recipient"):
        bind(create, {"title": "t", "recipient": [1]})


def test_an_objects_fields_are_checked_and_named():
    create = METHODS["thread.create"]
    bound = bind(create, {"title": "t", "message": {"CONTENT": "x", "priority": None, "other": 1}})
    assert bound["message"] == Draft("x")
    for message, word in (
        ({}, "content"),
        ({"content": 1}, "message.content"),
        ({"content": "x", "structured": []}, "structured"),
    ):
        with pytest.raises(BadParams, match=word):
            bind(create, {"title": "t", "message": message})


@pytest.mark.parametrize("name", sorted(METHODS))
def test_what_is_required_is_asked_for_by_name(name):
    for parameter in METHODS[name].parameters:
        if parameter.required:
            given_ = {key: value for key, value in needed(METHODS[name]).items() if key != parameter.name}
            with pytest.raises(BadParams, match=parameter.name):
                bind(METHODS[name], given_)
            with pytest.raises(BadParams, match=parameter.name):
                bind(METHODS[name], {**given_, parameter.name: None})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", 7),
        ("content", ["x"]),
        ("to", "bob"),
        ("to", ["bob", 7]),
        ("to", {"bob": 1}),
        ("scopes", "module:core"),
        ("scopes", ["module:core"]),
        ("scopes", [{"value": "core"}]),
        ("scopes", [{"type": 7, "value": "core"}]),
        ("scopes", [{"type": "", "value": "core"}]),
        ("refs", [[1]]),
        ("structured", "{}"),
        ("structured", [1]),
        ("priority", True),
        ("thread_id", 7),
    ],
)
def test_a_wrong_parameter_is_named(field, value):
    with pytest.raises(BadParams, match=field):
        bind(SEND, {"content": "x", field: value})


@pytest.mark.parametrize(
    ("method", "field", "value"),
    [
        ("message.list", "page", "1"),
        ("message.list", "page", 1.5),
        ("message.list", "page", True),
        ("message.list", "unread", "yes"),
        ("message.list", "unread", 1),
        ("message.wait", "timeout", "1"),
        ("message.wait", "timeout", False),
        ("session.list", "active_only", 0),
    ],
)
def test_numbers_and_truths_are_not_mixed_up(method, field, value):
    with pytest.raises(BadParams, match=field):
        bind(METHODS[method], {field: value})


def test_keys_count_in_any_case_null_is_absent_and_unknown_ones_are_ignored():
    assert bind(SEND, {"Content": "x", "TO": ["bob"], "priority": None, "from_the_future": 1}) == {
        "content": "x",
        "to": ["bob"],
    }


def test_pairs_are_pairs_and_whole_numbers_are_numbers():
    bound = bind(SEND, {"content": "x", "scopes": [{"Type": "module", "VALUE": "core"}]})
    assert bound["scopes"] == [Pair("module", "core")]
    assert bind(METHODS["message.wait"], {"timeout": 3}) == {"timeout": 3.0}


@pytest.mark.parametrize("params", [[], "x", 7, None])
def test_parameters_are_an_object(params):
    with pytest.raises(BadParams):
        bind(SEND, params)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=5), v, max_size=2),
    max_leaves=5,
)


@given(st.sampled_from(sorted(METHODS)), st.data())
def test_any_parameters_are_bound_or_refused_and_nothing_else(name, data):
    names = [p.name for p in METHODS[name].parameters]
    params = data.draw(st.dictionaries(st.sampled_from([*names, "other"]), ANYTHING, max_size=4))
    try:
        bind(METHODS[name], params)
    except BadParams as refused:
        assert str(refused)


def test_a_method_that_does_not_exist_is_not_found(engine, repository, ann):
    with pytest.raises(NotFound):
        ann("message.explode")


ODD = "\ud800"
SURROGATES = [
    ("message.get", {"message_id": ODD}),
    ("message.send", {"content": ODD}),
    ("message.send", {"content": "x", "request_id": ODD}),
    ("message.send", {"content": "x", "to": [ODD]}),
    ("message.send", {"content": "x", "structured": {ODD: [ODD]}}),
    ("message.send", {"content": "x", "refs": [{"type": ODD, "value": ODD}]}),
    ("message.send", {"content": "x", "thread_id": ODD}),
    ("message.reply", {"message_id": ODD, "content": ODD}),
    ("message.list", {"scope": {"type": "a", "value": ODD}}),
    ("message.list", {"author_id": ODD, "mention_role": ODD, "thread_id": ODD}),
    ("message.markRead", {"message_ids": [ODD]}),
    ("session.start", {"scopes": [{"type": ODD, "value": ODD}]}),
    ("session.end", {"session_id": ODD}),
    ("session.end", {"reason": ODD}),
    ("session.setIntent", {"intent": ODD}),
    ("agent.register", {"role": "r", "module": "m", "name": "zed", "display": ODD}),
    ("agent.register", {"role": ODD, "module": ODD, "name": ODD}),
    ("agent.ping", {"agent": ODD}),
    ("agent.whoHas", {"file": ODD}),
    ("agent.listContext", {"agent_id": ODD, "branch": ODD, "file": ODD}),
]


@pytest.mark.parametrize(("method", "params"), SURROGATES, ids=lambda value: ascii(value)[:40])
def test_lone_surrogates_in_parameters_never_surface_as_accidents(ann, method, params):
    try:
        answer = ann(method, **params)
    except ThrumError as refused:
        (str(refused) + refused.hint).encode()
        return
    repr(answer).encode()
    ann("message.list", all=True)
