"""The engine: what it takes upon itself so that no method has to."""

import os

import pytest

from tests import kit
from thrum.caller import Claim
from thrum.engine import database_path
from thrum.errors import BadParams, Contradiction, NoIdentity, UnknownMethod


def test_a_damaged_database_is_mended_by_the_question_that_notices_it(engine, repository):
    ann, bob = kit.hire(engine, repository, "ann"), kit.hire(engine, repository, "bob")
    for number in range(200):
        ann("message.send", content=f"{number} " + "text " * 80)
    path = database_path(engine.place)
    engine.close()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 4)
        file.write(os.urandom(size // 2))
    for page in (1, 2):
        answer = bob("message.list", exclude_self=True, page_size=100, page=page)
        assert answer["total"] == answer["unread"] == 200 and len(answer["messages"]) == 100


def test_a_claim_from_another_repository_is_refused(engine, tmp_path):
    other = kit.make_repository(tmp_path / "other")
    with pytest.raises(Contradiction):
        engine.call("agent.whoami", {}, Claim(cwd=str(other)))


def test_nobody_is_guessed(engine):
    with pytest.raises(NoIdentity):
        engine.call("message.send", {"content": "hi"}, Claim())


def test_bad_parameters_are_told_before_anything_happens(engine, repository):
    before = kit.files(engine.place.log_root)
    with pytest.raises(BadParams, match="content"):
        engine.call("message.send", {"content": 7}, Claim(cwd=str(repository)))
    with pytest.raises(UnknownMethod) as caught:
        engine.call("no.such", {}, Claim())
    assert caught.value.code == -32601
    assert kit.files(engine.place.log_root) == before


def test_what_is_in_mind_is_told_at_once_and_git_is_never_asked_for_it(engine, repository):
    kit.hire(engine, repository, "ann")
    claim, found = Claim(cwd=str(repository), name="ann"), []
    ask = ("agent.whoHas", {"file": "readme"}, claim)
    engine.contexts.glance = lambda places: [found[0] for _ in places] if found else pytest.fail("nothing was read yet")
    assert engine.call_at_once(*ask) is None
    engine.call(*ask)
    engine.contexts.glance = lambda places: found or None
    engine.contexts.look = lambda place: pytest.fail("git was asked")
    before = kit.files(engine.place.log_root)
    assert engine.call_at_once(*ask) is None
    assert kit.files(engine.place.log_root) == before
    found.append({"branch": "main", "uncommitted_files": ["readme"]})
    assert [holder["agent_id"] for holder in engine.call_at_once(*ask)["holders"]] == ["ann"]


def test_many_worktrees_are_not_looked_at_while_everybody_waits(engine, repository, tmp_path):
    kit.hire(engine, repository, "ann")
    claim = Claim(cwd=str(repository), name="ann")
    engine.contexts.glance = lambda places: [engine.contexts.look(place) for place in places]
    for number in range(4):
        engine.call("agent.whoHas", {"file": "readme"}, claim)
        assert engine.call_at_once("agent.whoHas", {"file": "readme"}, claim) is not None
        kit.git(repository, "worktree", "add", "-q", str(tmp_path / f"w{number}"))
    engine.call("agent.whoHas", {"file": "readme"}, claim)
    assert engine.call_at_once("agent.whoHas", {"file": "readme"}, claim) is None


def test_contexts_read_beside_are_the_ones_that_are_told(engine, repository):
    kit.hire(engine, repository, "ann")
    (repository / "readme").write_text("changed")
    readings = engine.contexts.read()
    (repository / "readme").write_text("hello\n")
    told = engine.call("agent.whoHas", {"file": "readme"}, Claim(cwd=str(repository), name="ann"), readings)
    assert [holder["agent_id"] for holder in told["holders"]] == ["ann"]
