"""Messages as a model gets them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.caller import Claim
from thrum.mcp import letters

SIZES = st.integers(0, 3 * letters.MOST_TEXT)


def message(content="hi", **body):
    return {
        "message_id": "msg_01",
        "agent_id": "bob",
        "to": ["ann", "*"],
        "body": {"format": "markdown", "content": content, **body},
        "priority": "normal",
        "created_at": "2026-02-10T12:00:00.000000000Z",
    }


def test_a_letter_has_few_fields_and_no_empty_ones():
    assert letters.letter(message()) == {
        "message_id": "msg_01",
        "from": "bob",
        "to": ["ann", "everyone"],
        "content": "hi",
        "priority": "normal",
        "timestamp": "2026-02-10T12:00:00.000000000Z",
    }


def test_what_is_for_programs_is_read_and_what_is_no_json_is_kept():
    assert letters.letter(message(structured='{"a": 1}'))["metadata"] == {"a": 1}
    assert letters.letter(message(structured="not json"))["metadata"] == "not json"


def test_who_spoke_in_an_agents_name_is_always_told(engine, repository):
    ann, _ = (kit.hire(engine, repository, name) for name in ("ann", "bob"))
    engine.call("user.register", {"username": "kim"}, Claim())
    for is_disclosed in (True, False):
        said = {"content": "hold", "to": ["ann"], "acting_as": "bob", "disclose": is_disclosed}
        sent = engine.call("message.send", said, Claim(agent_id="user:kim"))
        written = letters.letter(ann("message.list")["messages"][0])
        assert written["message_id"] == sent["message_id"] and written["from"] == "bob"
        assert written["authored_by"] == "user:kim" and written["disclosed"] is is_disclosed


def test_too_much_is_cut_and_says_so():
    long = letters.letter(message("x" * (letters.MOST_TEXT + 1)))
    assert long["cut"] is True and f"{letters.MOST_TEXT + 1} characters" in long["content"]
    many = letters.letter(message(structured=json.dumps({"a": "x" * letters.MOST_TEXT})))
    assert many["cut"] is True and "metadata" not in many and many["content"] == "hi"


@given(st.lists(SIZES, max_size=8))
def test_an_answer_holds_the_first_letters_that_fit_and_at_least_one(sizes):
    kept = letters.fitting([message("x" * size) for size in sizes])
    assert len(kept) >= min(len(sizes), 1)
    assert [len(letter["content"]) for letter in kept[1:]] == sizes[1 : len(kept)]
    assert sum(len(letter["content"]) for letter in kept) <= letters.MOST_TEXT + 200
