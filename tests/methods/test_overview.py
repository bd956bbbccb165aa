import pytest

from tests import kit
from thrum.errors import NameTaken


def test_quickstart_registers_starts_and_says_what_for(engine, repository):
    caller = kit.Caller(engine, repository)
    answer = caller("quickstart", role="reviewer", module="api", name="ann", intent="look around")
    assert answer["register"]["agent_id"] == "ann" and answer["session"]["agent_id"] == "ann"
    assert answer["intent"]["intent"] == "look around" and answer["worktree"] == "shop"
    assert caller("agent.whoami")["session_id"] == answer["session"]["session_id"]


def test_quickstart_again_is_the_same_agent_in_a_new_session(engine, repository):
    caller = kit.Caller(engine, repository)
    first, second = (caller("quickstart", role="reviewer", module="api") for _ in range(2))
    assert first["register"]["agent_id"] == second["register"]["agent_id"]
    assert [s["status"] for s in caller("session.list")["sessions"]] == ["active", "ended"]


def test_quickstart_under_a_taken_name_does_nothing(engine, ann, repository, logs):
    before = logs()
    with pytest.raises(NameTaken):
        kit.Caller(engine, kit.add_worktree(repository, "x"))("quickstart", role="r", module="m", name="ann")
    assert logs() == before


def test_quickstart_of_a_second_agent_in_one_worktree_starts_its_session(engine, ann, repository):
    answer = kit.Caller(engine, repository)("quickstart", role="planner", module="core", name="zed", intent="x")
    assert answer["register"]["agent_id"] == "zed"
    sessions = kit.Caller(engine, repository, "zed")("session.list", agent_id="zed")["sessions"]
    assert [s["status"] for s in sessions] == ["active"] and sessions[0]["intent"] == "x"


def test_status_shows_me_my_work_my_mail_and_the_sync(team, repository):
    ann, bob, _ = team
    ann("message.send", content="x", to=["bob"])
    bob("session.setIntent", intent="server")
    shown = bob("status")
    assert shown["agent"]["agent_id"] == "bob" and shown["inbox"] == {"total": 1, "unread": 1}
    assert shown["work_context"]["branch"] == "bobs" and shown["work_context"]["intent"] == "server"
    assert shown["sync"]["sync_state"] and shown["version"]


def test_status_of_nobody_says_why_and_what_to_do(engine, repository, ann):
    shown = kit.Caller(engine, kit.add_worktree(repository, "strangers"))("status")
    assert shown["agent"] is None and shown["why"] and shown["hint"] and shown["sync"]


def test_overview_shows_the_others_and_what_they_do(team):
    ann, bob, _ = team
    bob("session.setIntent", intent="server")
    shown = ann("overview")
    assert {member["agent_id"] for member in shown["team"]} == {"bob", "cat"}
    bobs = next(member for member in shown["team"] if member["agent_id"] == "bob")
    assert bobs["context"]["intent"] == "server" == bobs["intent"] and bobs["status"] == "online"
