import pytest

from thrum.errors import BadParams
from thrum.methods import paging


@pytest.mark.parametrize(
    ("asked", "used"),
    [((0, 0), (10, 1)), ((5, 3), (5, 3)), ((1000, 1), (100, 1)), ((1, 1), (1, 1)), ((100, 0), (100, 1))],
)
def test_nothing_asked_is_ten_a_page_and_too_much_is_a_hundred(asked, used):
    assert paging.bounds(*asked) == used


@pytest.mark.parametrize("asked", [(-1, 1), (10, -1)])
def test_negative_pages_are_refused(asked):
    with pytest.raises(BadParams):
        paging.bounds(*asked)


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2), (100, 10)])
def test_the_number_of_pages_holds_everything(total, pages):
    assert paging.described(total, 10, 1) == {"total": total, "page": 1, "page_size": 10, "total_pages": pages}


@pytest.mark.parametrize("number", [10**18, 2**63, 10**400])
def test_a_page_beyond_all_numbers_is_refused_or_empty(ann, number):
    try:
        assert ann("message.list", page=number)["messages"] == []
    except BadParams as refused:
        assert "page" in str(refused)
