import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import routing
from thrum.core.routing import EVERYONE, Known

KNOWN = [
    Known("ann", "reviewer"),
    Known("bob", "implementer"),
    Known("cat", "implementer"),
    Known("tester", "reviewer"),
]


@pytest.mark.parametrize(
    ("wanted", "agents"),
    [
        (["ann"], ("ann",)),
        (["@ann"], ("ann",)),
        (["@implementer"], ("bob", "cat")),
        (["@reviewer", "ann"], ("ann", "tester")),
        (["bob", "@ann", "bob"], ("bob", "ann")),
    ],
)
def test_a_name_is_the_agent_and_else_everyone_of_that_role(wanted, agents):
    assert routing.resolve(wanted, KNOWN) == (agents, False, (), ())


def test_an_agents_name_comes_before_a_role_of_that_name():
    known = [*KNOWN, Known("implementer", "planner")]
    assert routing.resolve(["@implementer"], known).agents == ("implementer",)


@pytest.mark.parametrize("wanted", [[], ["@everyone"], ["everyone"], ["@all"], ["ann", "@everyone"]])
def test_nobody_in_particular_is_everyone(wanted):
    assert routing.resolve(wanted, KNOWN).everyone


def test_who_is_unknown_is_named_with_the_nearest_names():
    found = routing.resolve(["@bobb", "ann", "zzz"], KNOWN)
    assert found.unknown == ("@bobb", "zzz") and found.near == ("bob",) and not found.everyone


@pytest.mark.parametrize("case", ["Ann", "ANN", "@@ann", " ann", "a", "*", "@", "@*"])
def test_almost_a_name_is_no_name(case):
    assert routing.resolve([case], KNOWN).unknown == (case,)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (EVERYONE,)),
        ({"everyone": True}, (EVERYONE,)),
        ({"everyone": True, "to": ["bob"]}, (EVERYONE,)),
        ({"to": ["bob", "cat", "bob"]}, ("bob", "cat")),
        ({"to": []}, ()),
        ({"everyone": False, "to": ["bob"]}, ("bob",)),
        ({"refs": [{"type": "pr", "value": "42"}]}, (EVERYONE,)),
        ({"refs": [{"type": "mention", "value": "reviewer"}]}, ("@reviewer",)),
        ({"refs": [{"type": "mention", "value": "@reviewer"}]}, ("@reviewer",)),
        ({"refs": [{"type": "mention", "value": ""}]}, (EVERYONE,)),
        ({"refs": [{"type": "mention", "value": "everyone"}]}, (EVERYONE,)),
        ({"refs": [{"type": "mention", "value": "all"}, {"type": "mention", "value": "x"}]}, (EVERYONE,)),
        ({"to": ["bob"], "refs": [{"type": "mention", "value": "cat"}]}, ("bob",)),
    ],
)
def test_the_audience_is_who_was_resolved_else_who_is_mentioned_else_everyone(fields, expected):
    assert routing.audience(kit.message("ann", **fields)) == expected


@pytest.mark.parametrize(
    ("filed_under", "visible"),
    [
        ((EVERYONE,), True),
        (("bob",), True),
        (("@bob",), True),
        (("@implementer",), True),
        (("cat", "bob"), True),
        (("ann",), False),
        (("@reviewer",), False),
        (("implementer",), False),
        ((), False),
    ],
)
def test_mail_is_what_is_filed_under_everyone_my_name_or_my_role(filed_under, visible):
    assert routing.is_visible("ann", filed_under, "bob", "implementer") is visible


@given(st.lists(st.sampled_from([EVERYONE, "ann", "@ann", "@reviewer", "bob"])))
def test_my_own_words_are_never_my_mail(filed_under):
    assert not routing.is_visible("ann", filed_under, "ann", "reviewer")


def test_an_agent_named_like_its_role_has_each_address_once():
    assert len(set(routing.addresses("bob", "bob"))) == len(routing.addresses("bob", "bob"))


@pytest.mark.parametrize(
    ("session_open", "age", "online"),
    [(True, 0, True), (True, 10, True), (True, 11, False), (False, 0, False), (True, -5, True)],
)
def test_online_is_an_open_session_seen_lately(session_open, age, online):
    assert routing.is_online(session_open, 1000 - age, 1000, 10) is online
