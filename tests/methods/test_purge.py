"""`purge`: shown first, done on confirmation, refused when it makes no sense."""

import pytest

from thrum.errors import BadParams, NoIdentity


def test_it_shows_what_would_go_and_changes_nothing(team, logs):
    ann, bob, _ = team
    ann("message.send", content="x", to=["bob"])
    before = logs()
    found = bob("purge", before="0s")
    assert (found["messages"], found["unread"], found["purged"]) == (1, 1, False)
    assert logs() == before
    assert ann("purge", before="0s")["unread"] == 0


def test_what_is_confirmed_is_gone_with_all_that_was_said_about_it(team, logs):
    ann, bob, _ = team
    sent = ann("message.send", content="the secret", to=["bob"])["message_id"]
    ann("message.edit", message_id=sent, content="the other secret")
    bob("message.markRead", message_ids=[sent])
    assert bob("purge", before="0s", confirm=True)["purged"]
    assert bob("message.list")["messages"] == []
    assert not any(b"secret" in data or sent.encode() in data for data in logs().values())
    assert ann("message.search", query="secret")["messages"] == []


def test_who_everybody_is_and_what_they_work_on_stays(team):
    ann, bob, _ = team
    session = bob("agent.whoami")["session_id"]
    bob("session.setIntent", intent="to stay")
    ann("purge", before="0s", confirm=True)
    assert {agent["agent_id"] for agent in ann("agent.list")["agents"]} == {"ann", "bob", "cat"}
    assert bob("agent.whoami")["session_id"] == session
    assert bob("status")["work_context"]["intent"] == "to stay"


@pytest.mark.parametrize("before", ["", "soon", "9999-01-01", "2026-13-01"])
def test_a_time_that_makes_no_sense_is_refused(ann, before):
    with pytest.raises(BadParams, match="before"):
        ann("purge", before=before)


def test_nobody_may_look_and_not_purge(engine, repository, ann):
    from tests import kit

    nobody = kit.Caller(engine, kit.add_worktree(repository, "empty"))
    assert nobody("purge", before="0s")["purged"] is False
    with pytest.raises(NoIdentity):
        nobody("purge", before="0s", confirm=True)
