import time
from types import SimpleNamespace

import pytest

from tests import kit
from thrum.caller import Claim
from thrum.core import clock
from thrum.methods import presence

YEAR = 365 * 86400 * clock.SECOND


@pytest.fixture
def seen_at(engine, ann, repository):
    """How everyone appears when it is `later` seconds after Ann's last sign of life."""

    def look(later, **settings):
        engine.catch_up()
        context = engine._context(Claim(cwd=str(repository)))
        last = max(engine.roster.agent("ann")["seen"], engine.roster.sessions("ann")[0]["seen"])
        moved = type(context)(
            **{**{f: getattr(context, f) for f in context.__slots__}, "now": lambda: last + int(later * clock.SECOND)}
        )
        return presence.everyone(moved)

    return look


@pytest.mark.parametrize(("later", "status"), [(0, "online"), (1799, "online"), (1801, "offline"), (-1000, "online")])
def test_online_is_seen_within_the_window(seen_at, later, status):
    assert seen_at(later)[0]["status"] == status


def test_last_seen_is_never_in_the_future(seen_at):
    (shown,) = seen_at(-1000)
    assert shown["last_seen_at"] < seen_at(0)[0]["last_seen_at"]


def test_who_speaks_out_of_the_future_was_seen_when_that_came_in(engine, ann, repository, monkeypatch):
    """A clock that is a year ahead must not keep somebody online for a year."""
    real = time.time_ns
    monkeypatch.setattr("thrum.engine.time", SimpleNamespace(time_ns=lambda: real() + YEAR, monotonic=time.monotonic))
    ann("session.start")
    monkeypatch.undo()
    context = engine._context(Claim(cwd=str(repository)))

    def shown(later):
        moved = {field: getattr(context, field) for field in context.__slots__}
        return presence.everyone(type(context)(**{**moved, "now": lambda: real() + later * clock.SECOND}))[0]

    assert shown(0)["status"] == "online" and shown(86400)["status"] == "offline"
    assert shown(86400)["last_seen_at"] < clock.text(real())
    before = kit.files(engine.place.log_root)
    ann("session.heartbeat")
    assert kit.files(engine.place.log_root) != before, "a sign of life that nobody sees"


def test_who_has_ended_its_session_is_offline(ann, seen_at):
    ann("session.end")
    (shown,) = seen_at(0)
    assert shown["status"] == "offline" and "session_id" not in shown


def test_every_list_tells_the_same_of_an_agent(team):
    ann, bob, _ = team
    bob("session.setTask", current_task="css")
    ann("agent.listContext")
    listed = {a["agent_id"]: a for a in ann("agent.list")["agents"]}["bob"]
    shown = {a["agent_id"]: a for a in ann("overview")["team"]}["bob"]
    shown.pop("context")
    assert listed == shown == ann("agent.ping", agent="bob")["agent"]


def test_an_agent_of_another_clone_is_not_here(engine, ann):
    import os

    path = f"{engine.place.log_root}/messages/zed/{kit.THERE}/0000/00.jsonl"
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"".join(line + b"\n" for line in kit.chained([kit.register("zed", worktree="far")], kit.THERE)))
    shown = {a["agent_id"]: a for a in ann("agent.list")["agents"]}
    assert not shown["zed"]["here"] and shown["ann"]["here"] and shown["zed"]["worktree"] == "far"


@pytest.mark.parametrize("method", ["agent.list", "agent.whoami", "agent.listContext", "agent.whoHas", "status"])
def test_sessions_that_are_over_cost_nobody_anything(engine, repository, method):
    ann = kit.hire(engine, repository, "ann")
    params = {"file": "cart.py"} if method == "agent.whoHas" else {}
    few = steps_of(engine, lambda: ann(method, **params))
    for _ in range(40):
        ann("session.start")
    assert steps_of(engine, lambda: ann(method, **params)) < few + 60


def steps_of(engine, ask):
    """How many steps of its machine SQLite needs for an answer, the second time."""
    ask()
    steps = []
    engine.projection.connection.set_progress_handler(lambda: steps.append(1), 1)
    ask()
    engine.projection.connection.set_progress_handler(None, 0)
    return len(steps)
