"""The books of the fault suites: what counts as lost, what as doubled, and the table."""

import pytest

from tests.faults.ledger import Ledger, table


def test_what_was_promised_and_is_not_there_is_lost():
    books = Ledger("kill")
    books.acknowledge("a", "b")
    books.find("a")
    assert books.lost == ["b"]
    with pytest.raises(AssertionError, match="lost"):
        books.balance()


def test_what_is_there_twice_is_doubled_even_if_nobody_promised_it():
    books = Ledger("kill")
    books.find("a", "a")
    assert books.doubled == ["a"]
    with pytest.raises(AssertionError, match="doubled"):
        books.balance()


def test_rows_of_one_suite_are_added_up():
    one, other = Ledger("kill"), Ledger("kill")
    for books, name in ((one, "a"), (other, "b")):
        books.fault(2)
        books.acknowledge(name)
        books.find(name)
    one.recovered(0.25)
    head, row = table([one.as_json(), other.as_json()])
    assert head.split()[0] == "suite"
    assert row.split() == ["kill", "4", "2", "2", "0", "0", "250", "ms", "250", "ms"]
