import pytest

from tests import kit
from thrum.caller import Claim
from thrum.errors import BadParams, NoIdentity, NotFound


@pytest.fixture
def context(engine, ann, repository):
    """The context of a call by Ann."""
    engine.catch_up()
    return engine._context(Claim(cwd=str(repository)))


def test_me_is_the_registered_agent_of_the_worktree(context, engine):
    assert context.me() == context.me_or_nobody() == "ann"


def test_nobody_is_nobody_and_not_somebody_else(engine, ann):
    nobody = engine._context(Claim())
    assert nobody.me_or_nobody() == ""
    with pytest.raises(NoIdentity):
        nobody.me()


def test_new_ids_grow(context):
    made = [context.new_id("msg", kit.NOON) for _ in range(50)]
    assert made == sorted(set(made)) and made[0].startswith("msg_")


def test_an_event_leaves_out_what_says_nothing(context):
    made = context.event("message.create", kit.NOON, a="", b=None, c=[], d=False, e=0, f="x")
    assert made == {
        "type": "message.create",
        "timestamp": "2026-02-10T12:00:00.000000000Z",
        "event_id": made["event_id"],
        "d": False,
        "e": 0,
        "f": "x",
    }


def test_a_role_that_one_agent_has_is_that_agent(context, bob, engine):
    assert context.agent_id("@reviewer") == context.agent_id("ann") == "ann"
    for word in ("zed", "", "@"):
        with pytest.raises(NotFound):
            context.agent_id(word)


def test_a_role_that_several_have_is_nobody_in_particular(context, bob, cat):
    with pytest.raises(BadParams, match=r"bob.*cat"):
        context.agent_id("@implementer")
