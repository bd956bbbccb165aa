import json

import pytest

from thrum.errors import BadParams
from thrum.methods import writing
from thrum.methods.registry import Pair
from thrum.methods.writing import Draft, Voice


def test_a_body_keeps_its_object_as_text():
    assert Draft("x", structured={"ü": [1]}).body == {"format": "markdown", "content": "x", "structured": '{"ü":[1]}'}
    assert Draft("x", "plain").body == {"format": "plain", "content": "x"}


def test_only_a_borrowed_voice_says_whose_it_is():
    assert Voice("ann", "ann", True).fields == {"agent_id": "ann"}
    assert Voice("user:leon", "ann").fields == {"agent_id": "ann", "authored_by": "user:leon", "disclosed": False}


def test_recipients_are_words_and_the_empty_ones_are_none():
    assert writing.words(["bob"], None, ["@cat"]) == ["bob", "@cat"]
    assert writing.words(None, []) == []


@pytest.mark.parametrize("empty", ["", "@", " ", "@ "])
def test_a_recipient_without_a_name_is_not_everyone(empty):
    with pytest.raises(BadParams, match="nothing was sent"):
        writing.words(["bob", empty], None)
    with pytest.raises(BadParams, match="nothing was sent"):
        writing.words(None, [empty])
    assert writing.mentioned(["bob", "@cat"]) == [Pair("mention", "bob"), Pair("mention", "cat")]


def test_the_largest_text_is_a_mebibyte_of_bytes():
    writing.check_text("x" * 1024 * 1024, "plain")
    with pytest.raises(BadParams, match="content"):
        writing.check_text("é" * (512 * 1024) + "x", "plain")


@pytest.mark.parametrize("structured", [{"n": float("inf")}, {"n": "x" * 1024 * 1024}])
def test_what_no_log_could_hold_is_refused(structured):
    with pytest.raises(BadParams, match="structured"):
        writing.check_structured(structured)


def test_deep_objects_are_refused_and_never_an_accident():
    deep = {}
    for _ in range(100_000):
        deep = {"n": deep}
    with pytest.raises(BadParams, match="structured"):
        writing.check_structured(deep)
    with pytest.raises(BadParams):
        writing.check_text("[" * 100_000, "json")
    assert json.loads(Draft("x", structured={"n": {}}).body["structured"]) == {"n": {}}
