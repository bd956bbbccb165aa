import pytest

from tests import kit
from thrum.errors import BadParams

CORE = {"type": "module", "value": "core"}


@pytest.fixture
def find(bob):
    """The texts that a search of bob's finds."""

    def ask(query, **more):
        found = bob("message.search", query=query, **more)
        assert found["total"] == len(found["messages"]) or more.get("page_size")
        return [message["body"]["content"] for message in found["messages"]]

    return ask


def say(caller, *texts, **more):
    return [caller("message.send", content=text, **more)["message_id"] for text in texts]


def test_all_words_must_be_there_and_the_newest_comes_first(ann, find):
    say(ann, "cart merged", "tax merged", "cart and tax merged")
    assert find("merged") == ["cart and tax merged", "tax merged", "cart merged"]
    assert find("cart MERGED") == ["cart and tax merged", "cart merged"]
    assert find("cart missing") == [] == find("mer")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ('"and tax"', True),
        ('"tax and"', False),
        ("mer*", True),
        ("tax*", True),
        ("erged*", False),
        ("CREME brulee", True),
        ("café", True),
        ("foo_bar", True),
        ("AND OR NOT", False),
        ("and", True),
        ('"', None),
        ("text:cart", False),
        ("世界", True),
        ("世 tax", True),
        ("界世", False),
        ("привет", True),
        ("100%", True),
        ("->", True),
        ("=>", False),
        ("🎉", True),
    ],
)
def test_what_finds_it(ann, find, query, found):
    text = "Cart and tax merged: crème brûlée, cafe, foo_bar(), 你好世界 Привет -> 100% 🎉"
    say(ann, text, "other")
    if found is None:
        with pytest.raises(BadParams, match="query"):
            find(query)
    else:
        assert find(query) == ([text] if found else [])


def test_the_present_text_counts(ann, find):
    (said,) = say(ann, "first words")
    assert find("words") == ["first words"]
    ann("message.edit", message_id=said, content="second thoughts")
    assert find("words") == [] and find("thoughts") == ["second thoughts"]
    ann("message.delete", message_id=said)
    assert find("thoughts") == [] == find("words")


def test_what_was_edited_or_deleted_before_anybody_searched(ann, find):
    one, two, _ = say(ann, "one word", "two words", "three words")
    ann("message.edit", message_id=one, content="uno words")
    ann("message.delete", message_id=two)
    assert find("words") == ["three words", "uno words"] and find("word") == []


def test_everybodys_messages_are_looked_through(ann, cat, find):
    say(ann, "for cat", to=["cat"])
    assert find("cat") == ["for cat"]


def test_author_scope_and_age_narrow_it(engine, ann, bob, find):
    say(ann, "by ann")
    say(bob, "by bob in core", scopes=[CORE])
    assert find("by", author_id="@ann") == ["by ann"]
    assert find("by", scope=CORE) == ["by bob in core"]
    assert find("by", since="1h") == ["by bob in core", "by ann"] == find("by", since="2026-01-01")
    assert find("by", since="9999-01-01") == []
    kit.write_log(engine.place.log_root, "dan", kit.message("dan", "by dan, long ago", at=-86400 * 30))
    assert find("by")[-1] == "by dan, long ago" and "by dan, long ago" not in find("by", since="2026-02-01T00:00:00Z")


def test_pages(ann, find):
    say(ann, *(f"word {number}" for number in range(5)))
    assert find("word", page_size=2, page=2) == ["word 2", "word 1"]


def test_a_found_message_is_as_in_a_list_with_a_line_around_the_word(ann, bob):
    say(ann, "x " * 200 + "\n\nneedle " + "y " * 200)
    (found,) = bob("message.search", query="NEED*")["messages"]
    (listed,) = bob("message.list")["messages"]
    assert "needle y" in found["snippet"] and len(found["snippet"]) <= 162 and "\n" not in found["snippet"]
    assert {name: value for name, value in found.items() if name != "snippet"} == listed


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"query": ""}, "query"),
        ({"query": "  "}, "query"),
        ({"query": "x" * 1001}, "query"),
        ({"query": "x " * 51}, "query"),
        ({"query": "x", "since": "yesterday"}, "since"),
        ({"query": "x", "page": -1}, "page"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_searched_for_is_named(bob, params, word):
    with pytest.raises(BadParams, match=word):
        bob("message.search", **params)
