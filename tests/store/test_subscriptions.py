import os

import pytest

from thrum.core.subscription import Subscription
from thrum.errors import StorageError
from thrum.store.subscriptions import Subscriptions

WISH = Subscription(0, "ses_1", "2026-02-10T12:00:00Z", all=True)


def nobody(session_id):
    return False


@pytest.fixture
def stored(tmp_path):
    return Subscriptions(str(tmp_path))


def test_numbers_are_never_used_again(stored):
    first = stored.add(WISH, nobody)
    assert stored.remove(first.id, "ses_1") and stored.of("ses_1") == []
    assert stored.add(WISH, nobody).id == first.id + 1


def test_the_same_wish_is_the_same_subscription_whenever_it_is_made(stored):
    first = stored.add(WISH, nobody)
    assert stored.add(WISH._replace(created_at="later"), nobody) == first
    assert stored.add(WISH._replace(session_id="ses_2"), nobody) != first
    assert [one.id for one in stored.of("ses_1")] == [first.id]


def test_what_another_process_changes_is_seen_at_once(stored, tmp_path):
    other = Subscriptions(str(tmp_path))
    for number in range(1, 4):
        made = other.add(WISH._replace(mention_role=str(number), all=False), nobody)
        assert stored.of("ses_1")[-1] == made
    assert other.remove(made.id, "ses_1")
    assert made not in stored.of("ses_1")


def test_those_whose_session_is_over_go_when_another_comes(stored):
    stored.add(WISH, nobody)
    kept = stored.add(WISH._replace(session_id="ses_2"), lambda session_id: session_id == "ses_1")
    assert stored.of("ses_1") == [] and stored.of("ses_2") == [kept]


def test_nobody_removes_anothers(stored):
    first = stored.add(WISH, nobody)
    assert not stored.remove(first.id, "ses_2") and not stored.remove(99, "ses_1")
    assert stored.of("ses_1") == [first]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"subscriptions": [{}]}', b'{"subscriptions": 7}', b"\xff"])
def test_a_file_that_is_none_holds_none_and_is_replaced(stored, tmp_path, content):
    (tmp_path / "subscriptions.json").write_bytes(content)
    assert stored.of("ses_1") == []
    assert stored.of("ses_1") == [] and stored.add(WISH, nobody) == stored.of("ses_1")[0]


def test_only_its_owner_may_read_the_file(stored, tmp_path):
    stored.add(WISH, nobody)
    assert os.stat(tmp_path / "subscriptions.json").st_mode & 0o777 == 0o600


def test_a_disk_that_says_no_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Subscriptions(str(tmp_path / "file")).add(WISH, nobody)
