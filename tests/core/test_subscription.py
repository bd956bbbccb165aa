import pytest

from thrum.core.subscription import Subscription

CORE = {"type": "module", "value": "core"}
MADE = Subscription(7, "ses_1", "2026-02-10T12:00:00Z")


@pytest.mark.parametrize(
    "one",
    [MADE._replace(all=True), MADE._replace(scope=("module", "")), MADE._replace(mention_role="x", scope=("", "é"))],
)
def test_what_is_stored_is_read_again(one):
    assert Subscription.from_json(one.as_json()) == one


@pytest.mark.parametrize("stored", [{}, {"id": "x", "session_id": "s", "created_at": "t"}, {"id": 1}, []])
def test_anything_else_is_refused(stored):
    with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
        Subscription.from_json(stored)


@pytest.mark.parametrize(
    ("wish", "scopes", "words", "why"),
    [
        ({"all": True}, [], [], "all"),
        ({"scope": ("module", "core")}, [CORE], [], "scope"),
        ({"scope": ("module", "cor")}, [CORE], [], ""),
        ({"scope": ("module", "core")}, [], ["bob"], ""),
        ({"mention_role": "ops"}, [], ["ops"], "mention"),
        ({"mention_role": "ops"}, [], ["@ops"], "mention"),
        ({"mention_role": "ops"}, [], ["bob"], "mention"),
        ({"mention_role": "ops"}, [], ["tester"], "mention"),
        ({"mention_role": "ops"}, [], ["cat"], ""),
        ({"mention_role": "ops"}, [CORE], [], ""),
        ({"mention_role": "ops", "scope": ("module", "core")}, [CORE], ["ops"], "scope"),
    ],
)
def test_a_message_matches_for_the_first_reason_that_holds(wish, scopes, words, why):
    refs = [{"type": "mention", "value": word} for word in words] + [{"type": "pr", "value": "ops"}]
    assert MADE._replace(**wish).matches(scopes, refs, "bob", "tester") == why


def test_an_empty_role_is_nobodys():
    assert MADE._replace(mention_role="ops").matches([], [{"type": "mention", "value": ""}], "bob", "") == ""
