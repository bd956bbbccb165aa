import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kit import fixture
from thrum.core import ids

VECTORS = fixture("ids.json")


@pytest.mark.parametrize("vector", VECTORS["agents"], ids=lambda v: v["id"])
def test_a_generated_agent_id_is_the_one_v010_makes(vector):
    assert ids.generated_agent_id(vector["repository"], vector["role"], vector["module"]) == vector["id"]


@pytest.mark.parametrize("vector", VECTORS["repositories"], ids=lambda v: v["url"])
def test_a_repository_id_is_the_one_v010_makes(vector):
    assert ids.normalise_url(vector["url"]) == vector["normal"]
    assert ids.repository_id(vector["url"]) == vector["id"]


@pytest.mark.parametrize("url", ["", "git@nowhere", "http://[::1"])
def test_a_url_that_is_none_is_a_value_error(url):
    with pytest.raises(ValueError):
        ids.repository_id(url)


@pytest.mark.parametrize("vector", VECTORS["events"], ids=lambda v: v["type"])
def test_an_old_event_without_an_id_gets_the_one_v010_gives_it(vector):
    assert ids.backfilled_event_id(vector["type"], vector["timestamp"], vector["entity"]) == vector["id"]


def test_an_unreadable_timestamp_gives_no_id():
    assert ids.backfilled_event_id("message.create", "yesterday", "msg_1") is None


@pytest.mark.parametrize("vector", VECTORS["displayed"], ids=lambda v: v["agent"])
def test_agent_ids_are_filed_and_shown_as_in_v010(vector):
    assert ids.stem(vector["agent"]) == vector["stem"]
    assert ids.displayed(vector["agent"]) == vector["display"]


@given(st.binary(max_size=100))
def test_a_hash_is_rfc_4648_in_crockfords_letters(data):
    bits = "".join(f"{byte:08b}" for byte in hashlib.sha256(data).digest()) + "0000"
    expected = "".join(ids.ALPHABET[int(bits[i : i + 5], 2)] for i in range(0, 260, 5))
    assert ids.encode_hash(data) == expected


@given(st.integers(-5, 2**50), st.binary(min_size=10, max_size=10))
def test_a_ulid_is_26_letters_and_sorts_by_time(milliseconds, randomness):
    made = ids.ulid(milliseconds, randomness)
    assert len(made) == 26 and set(made) <= set(ids.ALPHABET)
    assert made[:10] <= ids.ulid(milliseconds + 1, b"\0" * 10)[:10]


@given(st.lists(st.tuples(st.integers(-5, 2**62), st.binary(min_size=10, max_size=10)), min_size=2, max_size=30))
def test_ulids_of_one_maker_only_grow_whatever_the_clock_does(calls):
    maker = ids.Ulids()
    made = [maker.next(instant, randomness) for instant, randomness in calls]
    assert made == sorted(set(made))
    assert {len(ulid) for ulid in made} == {26}


def test_ulids_grow_within_one_millisecond_even_at_the_end_of_the_randomness():
    maker = ids.Ulids()
    first = maker.next(1_000_000, b"\xff" * 10)
    assert maker.next(1_000_000, b"\xff" * 10) > first


def test_one_request_is_one_message_id_and_two_agents_requests_are_two():
    assert ids.requested_message_id("ann", "r1") == ids.requested_message_id("ann", "r1")
    assert ids.requested_message_id("ann", "r1") != ids.requested_message_id("bob", "r1")
    assert ids.requested_message_id("ann", "r1") != ids.requested_message_id("ann", "r2")
    assert len(ids.requested_message_id("ann", "r1")) == 30


@pytest.mark.parametrize("name", ["a", "furiosa", "impl_2", "_", "0", "a" * 64, "username"])
def test_names_are_lower_case_letters_digits_and_underscores(name):
    assert ids.is_agent_name(name) and ids.is_agent_id(name)


@pytest.mark.parametrize(
    "name",
    [
        "", "A", "a-b", "a b", "a" * 65, "../evil", "a/b", "a\n", "é", "user_leon", "user:leon!", "all", "everyone",
        "daemon", "system", "thrum", "broadcast", "a.b", "agent:x:Y", "\0",
    ],
)  # fmt: skip
def test_everything_else_is_no_name(name):
    assert not ids.is_agent_name(name) and not ids.is_agent_id(name)


@pytest.mark.parametrize("user", ["user:leon", "user:Leon-2", "user:" + "x" * 32])
def test_a_user_is_an_agent_id_but_no_agents_name(user):
    assert ids.is_agent_id(user) and not ids.is_agent_name(user)


@pytest.mark.parametrize("role", ["reviewer", "code-reviewer", "a_b", "0"])
def test_roles_may_have_dashes(role):
    assert ids.is_role(role)


@pytest.mark.parametrize("role", ["", "-x", "Rev", "a b", "x" * 65, "a\n", "../x"])
def test_everything_else_is_no_role(role):
    assert not ids.is_role(role)


@given(st.text(max_size=70))
def test_a_valid_agents_file_name_stays_in_its_folder(name):
    if ids.is_agent_id(name):
        assert "/" not in ids.stem(name) and ids.stem(name) not in ("", ".", "..")
