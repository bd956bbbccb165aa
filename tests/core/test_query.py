import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.core.query import Term, expression, parse


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ("cart", [Term("cart")]),
        ("cart merged", [Term("cart"), Term("merged")]),
        ('"cart merged" now', [Term("cart merged"), Term("now")]),
        ('"never closed', [Term("never closed")]),
        ("merg*", [Term("merg", True)]),
        ("*", []),
        ("", []),
        ('""', []),
        ('say"hi"', [Term("say hi")]),
        ("AND", [Term("AND")]),
        ("text:x", [Term("text:x")]),
        ("a\0b", [Term("a"), Term("b")]),
    ],
)
def test_a_query_is_words_phrases_and_beginnings(query, terms):
    assert parse(query) == terms


def test_only_words_go_to_the_index():
    assert expression(parse('merg* "to main" 你好 ->')) == '"merg"* AND "to main"'
    assert expression(parse("你好")) == ""


@pytest.fixture(scope="module")
def words():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")
    connection.execute("INSERT INTO words VALUES ('cart merged')")
    yield connection
    connection.close()


@given(st.text(max_size=40) | st.text("\"*()^:+-ANDORTNEX{} 'ab", max_size=40))
def test_no_text_is_an_error(words, query):
    found = expression(parse(query))
    if found:
        words.execute("SELECT * FROM words WHERE words MATCH ?", (found,)).fetchall()
