from thrum.core.selection import Filter


def test_an_empty_filter_asks_for_the_inbox_and_nothing_else():
    assert not any(Filter())


def test_a_filter_says_nothing_it_was_not_told():
    assert Filter(priority="high")._replace(priority=None) == Filter()
