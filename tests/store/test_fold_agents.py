import itertools

import pytest

from tests import kit
from thrum.core import ids


def views(branch, *statements):
    """What is folded from (file, event) in every order."""
    found = []
    for number, order in enumerate(itertools.permutations(statements)):
        made = kit.Branch(f"{branch.folder}/{number}")
        made.catch_up()
        for name, event in order:
            made.append(name, event)
            made.catch_up()
        found.append(made.tables())
        made.close()
    return found


def log(owner, origin=kit.HERE):
    return f"messages/{owner}/{origin}/0000/00.jsonl"


def start(session, agent, at=0, **more):
    return kit.event("agent.session.start", at, session_id=session, agent_id=agent, **more)


def update(session, agent, at=0, **more):
    return kit.event("agent.session.update", at, session_id=session, agent_id=agent, **more)


def test_the_registration_with_the_highest_version_holds_in_every_order(branch):
    found = views(
        branch,
        (log("ann"), kit.register("ann", "one", at=9, version=1)),
        (log("ann", kit.THERE), kit.register("ann", "three", at=1, version=3)),
        ("events.jsonl", kit.register("ann", "old", at=99)),
    )
    assert all(view == found[0] for view in found)
    assert found[0]["agent"][0]["role"] == "three"


def test_registrations_of_v010_hold_by_time(branch):
    found = views(
        branch, *(("events.jsonl", kit.register("ann", role, at)) for role, at in [("b", 2), ("a", 1), ("c", 3)])
    )
    assert all(view == found[0] for view in found)
    assert found[0]["agent"][0]["role"] == "c"


def test_v010_cannot_outrank_ours_by_claiming_a_version(branch):
    branch.append("events.jsonl", kit.register("ann", "forged", version=99))
    branch.say("ann", kit.register("ann", "mine", version=1))
    branch.catch_up()
    assert branch.roster.agent("ann")["role"] == "mine"


def test_who_was_retired_is_gone_until_it_registers_again(branch):
    branch.say("ann", kit.register("ann", version=1), kit.event("agent.cleanup", agent_id="ann", version=1))
    branch.catch_up()
    assert branch.roster.agent("ann") is None and branch.roster.known() == []
    assert branch.roster.last_version("ann") == 1
    branch.say("ann", kit.register("ann", version=2))
    branch.catch_up()
    assert branch.roster.agent("ann") is not None


@pytest.mark.parametrize("later", [-86400, 0, 86400])
def test_a_deletion_wins_over_a_registration_that_did_not_know_of_it_whatever_the_clocks_say(branch, later):
    branch.say("ann", kit.register("ann", version=1), kit.register("ann", at=later, version=2), origin=kit.THERE)
    branch.say("bob", kit.event("agent.cleanup", agent_id="ann", version=2))
    branch.catch_up()
    assert branch.roster.agent("ann") is None and branch.roster.retired() == {"ann"}
    branch.say("ann", kit.register("ann", at=-9, version=3), origin=kit.THERE)
    branch.catch_up()
    assert branch.roster.agent("ann")


def test_a_cleanup_does_not_make_the_agent_seem_present(branch):
    branch.say("ann", kit.register("ann", at=0, version=1))
    branch.say("bob", kit.event("agent.cleanup", 1000, agent_id="ann", version=1))
    branch.say("ann", kit.register("ann", at=1, version=2))
    branch.catch_up()
    assert branch.roster.agent("ann")["seen"] == kit.NOON + 1_000_000_000


def test_a_session_has_an_agent_an_intent_a_task_and_an_end_in_every_order(branch):
    found = views(
        branch,
        (log("ann"), start("ses_1", "ann", scopes=[{"type": "m", "value": "core"}])),
        (log("ann"), update("ses_1", "ann", 1, intent="one", version=1)),
        (log("ann"), update("ses_1", "ann", 0, intent="two", current_task="t", version=2)),
        (log("ann"), kit.event("agent.session.end", 5, session_id="ses_1", agent_id="ann", reason="done", version=3)),
    )
    assert all(view == found[0] for view in found)


def test_an_emptied_intent_stays_empty(branch):
    branch.say(
        "ann",
        start("ses_1", "ann", seq=1),
        update("ses_1", "ann", intent="x", seq=2),
        update("ses_1", "ann", intent="", seq=3),
    )
    branch.catch_up()
    assert not branch.roster.session("ses_1")["intent"]


def test_scopes_come_and_go_by_version(branch):
    core, shop = {"type": "module", "value": "core"}, {"type": "module", "value": "shop"}
    found = views(
        branch,
        (log("ann"), start("ses_1", "ann", scopes=[core], version=1)),
        (log("ann"), update("ses_1", "ann", remove_scopes=[core], add_scopes=[shop], version=2)),
        (log("ann"), update("ses_1", "ann", add_scopes=[core], remove_scopes=[core], version=3)),
    )
    assert all(view == found[0] for view in found)
    branch.say(
        "ann", start("ses_1", "ann", scopes=[core], version=1), update("ses_1", "ann", remove_scopes=[core], version=2)
    )
    branch.catch_up()
    assert branch.roster.pairs("ses_1", "scopes") == []


def test_nobody_else_ends_or_changes_my_session(branch):
    branch.say("ann", start("ses_1", "ann", 1))
    branch.say("eve", update("ses_1", "eve", intent="forged", version=99), start("ses_1", "eve", 2))
    branch.say("eve", kit.event("agent.session.end", session_id="ses_1", agent_id="eve"))
    branch.catch_up()
    session = branch.roster.session("ses_1")
    assert session["agent_id"] == "ann" and session["status"] == "active" and not session["intent"]


def test_a_session_ends_in_our_logs_only_by_its_agents_word(branch):
    branch.say("ann", start("ses_1", "ann"))
    branch.say("eve", kit.event("agent.session.end", session_id="ses_1"))
    branch.catch_up()
    assert branch.roster.session("ses_1")["status"] == "active"


def test_a_session_of_v010_ends_without_saying_whose_it_is(branch):
    branch.append(
        "events.jsonl", start("ses_1", "ann"), kit.event("agent.session.end", 5, session_id="ses_1", reason="normal")
    )
    branch.catch_up()
    assert branch.roster.session("ses_1")["end_reason"] == "normal"


def test_two_that_claim_one_session_give_the_same_one_in_every_order(branch):
    found = views(
        branch,
        (log("ann"), start("ses_1", "ann", 1)),
        (log("eve"), start("ses_1", "eve", 2)),
        (log("eve"), update("ses_1", "eve", intent="x")),
    )
    assert all(view == found[0] for view in found)
    assert found[0]["session"][0]["agent_id"] == "ann"


def test_nobody_takes_anothers_session_by_claiming_it_earlier(branch):
    mine = kit.event("agent.session.start", 9, agent_id="ann")
    mine["session_id"] = ids.bound_id("ses", "ann", mine["event_id"])
    found = views(
        branch,
        (log("ann"), mine),
        (log("eve"), start(mine["session_id"], "eve", 0)),
        (log("eve"), kit.event("agent.session.end", 1, session_id=mine["session_id"], agent_id="eve")),
    )
    assert all(view == found[0] for view in found)
    assert found[0]["session"][0]["agent_id"] == "ann"


def test_the_newest_context_of_each_clone_holds(branch):
    def context(at, version, **fields):
        return kit.event("agent.update", at, agent_id="ann", version=version, work_contexts=[fields])

    found = views(
        branch,
        (log("ann"), context(5, 1, session_id="ses_1", branch="old")),
        (log("ann"), context(1, 2, session_id="ses_2", branch="new")),
        (log("ann", kit.THERE), context(0, 1, session_id="ses_3", branch="elsewhere")),
    )
    assert all(view == found[0] for view in found)
    assert sorted(row["document"] for row in found[0]["context"]) == [
        '{"branch": "elsewhere", "session_id": "ses_3"}',
        '{"branch": "new", "session_id": "ses_2"}',
    ]


def test_contexts_of_v010_are_kept_by_session_and_the_newest_git_time_wins(branch):
    def context(at, **fields):
        return kit.event("agent.update", at, agent_id="ann", work_contexts=[fields])

    found = views(
        branch,
        ("events.jsonl", context(9, session_id="ses_1", branch="old", git_updated_at="2026-02-10T12:00:00Z")),
        ("events.jsonl", context(1, session_id="ses_1", branch="new", git_updated_at="2026-02-10T12:00:01Z")),
        ("events.jsonl", context(2, session_id="ses_2", branch="other")),
    )
    assert all(view == found[0] for view in found)
    assert [row["slot"] for row in found[0]["context"]] == ["ses_1", "ses_2"]
    assert "new" in found[0]["context"][0]["document"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(".5Z", ".45Z"), (".12Z", ".1Z"), (".12Z", ".119Z"), ("Z", "Z")],
)
def test_git_times_of_v010_are_compared_as_times(branch, first, second):
    late, early = (
        kit.event(
            "agent.update",
            agent_id="ann",
            work_contexts=[{"session_id": "s", "branch": name, "git_updated_at": f"2026-02-10T12:00:{seconds}"}],
        )
        for name, seconds in (("late", "01" + first), ("early", "00" + second))
    )
    branch.append("events.jsonl", late, early)
    branch.catch_up()
    assert branch.roster.contexts("ann")[0]["branch"] == "late"


@pytest.mark.parametrize(("late", "early"), [("00.123Z", "00.12Z"), ("00.5Z", "00Z"), ("00.1Z", "00Z")])
def test_a_trimmed_fraction_in_a_git_time_is_no_later(branch, late, early):
    for name, seconds in (("late", late), ("early", early)):
        context = {"session_id": "s", "branch": name, "git_updated_at": f"2026-02-10T12:00:{seconds}"}
        branch.append("events.jsonl", kit.event("agent.update", agent_id="ann", work_contexts=[context]))
    branch.catch_up()
    assert branch.roster.contexts("ann")[0]["branch"] == "late"


@pytest.mark.parametrize("kind", ["register", "start", "end", "update", "context", "pair"])
def test_two_lines_that_claim_one_event_id_give_the_same_rows_in_every_order(branch, kind):
    def said(word):
        if kind == "register":
            return kit.register("ann", word, version=1)
        if kind == "start":
            return start("ses_1", "ann", worktree=word)
        if kind == "end":
            return kit.event("agent.session.end", session_id="ses_1", agent_id="ann", reason=word, version=1)
        if kind == "update":
            return update("ses_1", "ann", intent=word, version=1)
        if kind == "context":
            return kit.event("agent.update", agent_id="ann", work_contexts=[{"session_id": "s", "branch": word}])
        field = "add_scopes" if word == "this" else "remove_scopes"
        return update("ses_1", "ann", version=1, **{field: [{"type": "a", "value": "b"}]})

    place = {"context": "events.jsonl"}.get(kind)
    pair = [
        (place or log("ann", origin), {**said(word), "event_id": "evt_same"})
        for word, origin in (("this", kit.HERE), ("that", kit.THERE))
    ]
    found = views(branch, *pair)
    assert all(view == found[0] for view in found)


@pytest.mark.parametrize(
    "odd",
    [
        kit.event("agent.session.end", session_id="x", agent_id=["a"]),
        kit.event("agent.session.end", session_id="x", agent_id={"a": 1}),
        kit.event("agent.session.end", session_id="x", agent_id=7),
        kit.event("agent.session.end", session_id="\0", reason="\0"),
        kit.event("agent.session.start", session_id="", agent_id="ann"),
        kit.event("agent.update", agent_id="ann", work_contexts=[{"session_id": "s", "more": 2**70, "x": [[[1e300]]]}]),
        kit.event(
            "agent.update", agent_id="ann", work_contexts=[{"unmerged_commits": [{"sha": "a", "files": [7, None, {}]}]}]
        ),
        kit.event("agent.update", agent_id="ann", work_contexts=[{"git_updated_at": "\0", "intent": "\0"}]),
        kit.event("agent.update", agent_id="ann", work_contexts=[{}] * 5000),
        kit.event("agent.register", agent_id="ann", kind="", role="", module="", version=2**53),
        kit.event("agent.register", agent_id="ann", kind="agent", role="*", module="@"),
        kit.event("agent.cleanup", agent_id="", version=2**53),
        kit.event(
            "agent.session.update",
            session_id="x",
            agent_id="ann",
            add_scopes=[{"type": "a", "value": "b", "c": {}}] * 2,
        ),
    ],
    ids=lambda event: repr(event)[70:130],
)
def test_fields_of_odd_types_do_not_stop_the_fold(branch, odd):
    said = kit.message("ann")
    branch.say("ann", odd, said)
    branch.catch_up()
    assert branch.mail.get(said["message_id"]) is not None
    for ask in (branch.roster.contexts, branch.roster.sessions, branch.roster.agents):
        ask()
    assert branch.tables() == branch.rebuilt()


def test_context_nested_at_any_depth_does_not_stop_the_fold(branch):
    for depth in (10, 90, 99, 100, 400, 900):
        context = b'{"session_id":"s","x":' + b"[" * depth + b"]" * depth + b"}"
        made = kit.raw(kit.event("agent.update", agent_id="ann", work_contexts=["HERE"])).replace(b'"HERE"', context)
        branch.say("ann", made)
        branch.catch_up()
        branch.roster.contexts()
