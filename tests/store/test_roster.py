from tests import kit


def start(session, agent, at=0, **more):
    return kit.event("agent.session.start", at, session_id=session, agent_id=agent, **more)


def end(session, agent, at=0):
    return kit.event("agent.session.end", at, session_id=session, agent_id=agent)


def test_agents_come_newest_registration_first(branch):
    branch.say("ann", kit.register("ann", at=1))
    branch.say("bob", kit.register("bob", at=3))
    branch.say("cat", kit.register("cat", at=2))
    branch.catch_up()
    assert [agent["agent_id"] for agent in branch.roster.agents()] == ["bob", "cat", "ann"]
    assert branch.roster.agent("bob")["origin"] == kit.HERE and branch.roster.agent("zed") is None


def test_an_agent_was_seen_when_it_last_said_anything(branch):
    branch.say("ann", kit.register("ann", at=1), kit.message("ann", at=50))
    branch.catch_up()
    assert branch.roster.agent("ann")["seen"] == kit.NOON + 50 * 10**9


def test_the_open_session_is_the_newest_that_has_not_ended(branch):
    branch.say(
        "ann", start("ses_1", "ann", 1), start("ses_2", "ann", 2), start("ses_3", "ann", 3), end("ses_3", "ann", 4)
    )
    branch.say("ann", start("ses_4", "ann", 9), origin=kit.THERE)
    branch.catch_up()
    assert branch.roster.open_session("ann", kit.HERE)["session_id"] == "ses_2"
    assert branch.roster.open_session("ann")["session_id"] == "ses_4"
    assert branch.roster.open_session("bob") is None


def test_sessions_are_listed_newest_first_by_agent_and_by_state(branch):
    branch.say("ann", start("ses_1", "ann", 1), start("ses_2", "ann", 2), end("ses_1", "ann", 3))
    branch.say("bob", start("ses_3", "bob", 5))
    branch.catch_up()
    names = lambda **asked: [s["session_id"] for s in branch.roster.sessions(**asked)]  # noqa: E731
    assert names() == ["ses_3", "ses_2", "ses_1"]
    assert names(agent_id="ann") == ["ses_2", "ses_1"]
    assert names(agent_id="ann", active_only=True) == ["ses_2"]
    assert branch.roster.session("ses_1")["status"] == "ended" and branch.roster.session("ses_9") is None


def test_a_session_was_seen_when_it_last_said_so(branch):
    branch.say(
        "ann", start("ses_1", "ann", 1), kit.event("agent.session.update", 60, session_id="ses_1", agent_id="ann")
    )
    branch.catch_up()
    assert branch.roster.session("ses_1")["last_seen_at"] == "2026-02-10T12:01:00.000000000Z"


def test_a_hostile_time_of_day_stops_nobody(branch):
    branch.say("ann", kit.register("ann"), {**start("ses_1", "ann"), "timestamp": "9999-12-31T23:59:59Z"})
    branch.catch_up()
    assert branch.roster.session("ses_1")["last_seen_at"]


def test_contexts_are_told_by_agent_and_clone(branch):
    def context(agent, at, **fields):
        return kit.event("agent.update", at, agent_id=agent, work_contexts=[fields])

    branch.say("ann", context("ann", 1, branch="a", git_updated_at="2026-02-10T12:00:01Z"))
    branch.say("ann", context("ann", 1, branch="b", git_updated_at="2026-02-10T12:00:05Z"), origin=kit.THERE)
    branch.say("bob", context("bob", 1, branch="c"))
    branch.catch_up()
    assert [c["branch"] for c in branch.roster.contexts()] == ["b", "a", "c"]
    assert [(c["agent_id"], c["origin"]) for c in branch.roster.contexts("ann")] == [
        ("ann", kit.THERE),
        ("ann", kit.HERE),
    ]
    assert branch.roster.stated_context("ann", kit.HERE)["branch"] == "a"
    assert branch.roster.stated_context("cat", kit.HERE) is None


def test_two_ends_of_one_session_are_one(branch):
    branch.append("events.jsonl", start("ses_1", "ann"), kit.event("agent.session.end", 1, session_id="ses_1"))
    branch.say("ann", end("ses_1", "ann", 2))
    branch.catch_up()
    assert len(branch.roster.sessions()) == 1


def test_an_end_may_be_read_before_its_beginning_and_may_be_nobodys(branch):
    branch.say("ann", start("ses_1", "ann", 1))
    branch.say("bob", end("ses_1", "bob", 2), end("ses_2", "bob", 2))
    branch.catch_up()
    assert branch.roster.open_session("ann")["session_id"] == "ses_1"
    branch.say("bob", start("ses_2", "bob", 1))
    branch.catch_up()
    assert branch.roster.open_session("bob") is None
    branch.say("ann", end("ses_1", "ann", 3))
    branch.catch_up()
    assert branch.roster.open_session("ann") is None and branch.roster.sessions(active_only=True) == []
