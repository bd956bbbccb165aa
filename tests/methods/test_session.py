import pytest

from tests import kit
from thrum.errors import BadParams, Forbidden, NoIdentity, NoSession, NotFound

CORE, SHOP = {"type": "module", "value": "core"}, {"type": "module", "value": "shop"}


@pytest.fixture
def dan(engine, repository):
    """Dan, who has not started a session."""
    return kit.hire(engine, kit.add_worktree(repository, "dans"), "dan", "planner", session=False)


def states(caller, **asked):
    return [(s["session_id"], s["status"]) for s in caller("session.list", **asked)["sessions"]]


def test_a_session_starts_and_ends(dan):
    started = dan("session.start")
    assert dan("agent.whoami")["session_id"] == started["session_id"] and started["agent_id"] == "dan"
    ended = dan("session.end")
    assert ended["session_id"] == started["session_id"] and ended["duration_ms"] >= 0
    (shown,) = dan("session.list")["sessions"]
    assert shown["status"] == "ended" and shown["end_reason"] == "normal" and shown["ended_at"] == ended["ended_at"]


def test_starting_again_ends_what_was_left_open_as_recovered(dan):
    first, second = dan("session.start"), dan("session.start")
    assert states(dan) == [(second["session_id"], "active"), (first["session_id"], "ended")]
    assert dan("session.list")["sessions"][1]["end_reason"] == "crash_recovered"


def test_ending_twice_says_the_same_and_stores_nothing_more(dan, logs):
    dan("session.start")
    first = dan("session.end", reason="done")
    before = logs()
    assert dan("session.end", session_id=first["session_id"]) == first
    assert logs() == before


@pytest.mark.parametrize("method", ["session.end", "session.heartbeat", "session.setIntent", "session.setTask"])
def test_without_an_open_session_there_is_nothing_to_change(dan, logs, method):
    before = logs()
    with pytest.raises(NoSession):
        dan(method, intent="x", current_task="x")
    session = dan("session.start")["session_id"]
    dan("session.end")
    with pytest.raises(NoSession):
        dan(method, intent="x", current_task="x")
    if method != "session.end":
        with pytest.raises(NoSession):
            dan(method, session_id=session, intent="x", current_task="x")
    assert before != logs()


@pytest.mark.parametrize("method", ["session.end", "session.heartbeat", "session.setIntent", "session.setTask"])
def test_nobody_touches_anothers_session(dan, bob, logs, method):
    session = bob("agent.whoami")["session_id"]
    before = logs()
    with pytest.raises(Forbidden):
        dan(method, session_id=session, intent="x", current_task="x")
    with pytest.raises(NotFound):
        dan(method, session_id="ses_none", intent="x", current_task="x")
    assert logs() == before


def test_nobody_starts_a_session_for_another(dan, bob, logs):
    before = logs()
    with pytest.raises(Forbidden):
        dan("session.start", agent_id="bob")
    with pytest.raises(NotFound):
        dan("session.start", agent_id="zed")
    assert logs() == before


def test_without_an_identity_there_is_no_session(engine, repository, dan):
    stranger = kit.Caller(engine, kit.add_worktree(repository, "strangers"))
    with pytest.raises(NoIdentity):
        stranger("session.start")


def test_intent_and_task_are_told_and_cleared(dan, bob):
    dan("session.start")
    dan("session.setIntent", intent="plan")
    dan("session.setTask", current_task="write it down")
    (shown,) = bob("session.list", agent_id="@dan")["sessions"]
    assert (shown["intent"], shown["current_task"]) == ("plan", "write it down")
    dan("session.setIntent", intent="")
    (shown,) = bob("session.list", agent_id="dan")["sessions"]
    assert "intent" not in shown and shown["current_task"] == "write it down"


@pytest.mark.parametrize(("method", "field"), [("session.setIntent", "intent"), ("session.setTask", "current_task")])
def test_words_that_are_too_long_are_refused(dan, logs, method, field):
    dan("session.start")
    before = logs()
    with pytest.raises(BadParams, match=field):
        dan(method, **{field: "x" * 2001})
    with pytest.raises(BadParams, match=field):
        dan(method)
    assert logs() == before


def test_scopes_and_refs_come_and_go(dan):
    dan("session.start", scopes=[CORE, CORE], refs=[{"type": "pr", "value": "1"}])
    assert dan("session.heartbeat")["scopes"] == [CORE]
    assert dan("session.heartbeat", add_scopes=[SHOP], remove_scopes=[CORE])["scopes"] == [SHOP]
    answer = dan("session.heartbeat", remove_scopes=[SHOP, CORE], add_refs=[{"type": "issue", "value": "2"}])
    assert answer["scopes"] == [] and answer["refs"] == [{"type": "issue", "value": "2"}, {"type": "pr", "value": "1"}]
    assert dan("session.heartbeat", add_scopes=[CORE], remove_scopes=[CORE])["scopes"] == [CORE]


def test_a_heartbeat_that_says_nothing_new_is_not_written_down_each_time(dan, logs):
    dan("session.start")
    dan("session.heartbeat")
    before = logs()
    for _ in range(3):
        dan("session.heartbeat")
    assert logs() == before


def test_sessions_are_listed_by_agent_and_state(dan, bob):
    first = dan("session.start")["session_id"]
    second = dan("session.start")["session_id"]
    assert states(bob, agent_id="dan", active_only=True) == [(second, "active")]
    assert len(states(bob)) == 3 and (first, "ended") in states(bob, agent_id="@dan")
    with pytest.raises(NotFound):
        bob("session.list", agent_id="zed")


def test_the_newest_session_survives_a_rebuild(dan, engine):
    session = dan("session.start")["session_id"]
    dan("session.setIntent", intent="x")
    engine.projection.rebuild()
    assert dan("agent.whoami")["session_id"] == session
    assert dan("session.list", agent_id="dan")["sessions"][0]["intent"] == "x"
