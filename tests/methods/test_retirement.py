import shutil
import time

import pytest

from tests import kit
from thrum.caller import Claim
from thrum.core import clock
from thrum.errors import BadParams, Forbidden, NoIdentity, NotFound, UnknownRecipient

DAY = 86400


@pytest.fixture
def state(engine):
    """Writes an event into a log of an agent, of this clone unless told otherwise."""

    def write(agent, *events, origin=""):
        kit.write_log(engine.place.log_root, agent, *events, origin=origin or engine.origin)

    return write


def registered_long_ago(name, days, **fields):
    at = clock.text(time.time_ns() - days * DAY * clock.SECOND)
    return {**kit.register(name, **fields), "timestamp": at, "version": 1}


def names(caller):
    return {agent["agent_id"] for agent in caller("agent.list")["agents"]}


def orphans(caller, **params):
    return {orphan["agent_id"]: orphan for orphan in caller("agent.cleanup", **params)["orphans"]}


def test_a_deleted_agent_is_gone_and_what_it_said_stays(engine, repository, ann, bob):
    said = bob("message.send", content="goodbye")["message_id"]
    session = bob("agent.whoami")["session_id"]
    answer = ann("agent.delete", name="@bob")
    assert answer == {"agent_id": "bob", "deleted": True, "message": "Agent bob deleted successfully"}
    assert names(ann) == {"ann"} and ann("message.get", message_id=said)["message"]["body"]["content"] == "goodbye"
    ended = next(s for s in ann("session.list")["sessions"] if s["session_id"] == session)
    assert (ended["status"], ended["end_reason"]) == ("ended", "agent deleted")
    with pytest.raises(UnknownRecipient):
        ann("message.send", content="x", to=["bob"])
    assert not (repository.parent / "bobs/.thrum/identities/bob.json").exists()
    with pytest.raises(NoIdentity):
        bob("message.send", content="x")
    assert any(b'"agent.cleanup"' in data for path, data in kit.files(engine.place.log_root).items() if "/ann/" in path)


def test_mail_waits_for_whoever_comes_back_by_that_name(ann, bob):
    waiting = ann("message.send", content="for bob", to=["bob"])["message_id"]
    ann("agent.delete", name="bob")
    bob("agent.register", role="implementer", module="core", name="bob")
    assert names(ann) == {"ann", "bob"}
    assert [m["message_id"] for m in bob("message.list", unread=True)["messages"]] == [waiting]


def test_a_deleted_agent_holds_no_files(ann, bob, repository):
    (repository.parent / "bobs" / "cart.py").write_text("x")
    assert [h["agent_id"] for h in ann("agent.whoHas", file="cart.py")["holders"]] == ["bob"]
    ann("agent.delete", name="bob")
    assert ann("agent.whoHas", file="cart.py")["holders"] == [] == ann("agent.listContext", agent_id="bob")["contexts"]


def test_an_agent_deletes_itself_and_a_stranger_may_delete(engine, repository, ann, bob):
    bob("agent.delete", name="bob")
    engine.call("agent.delete", {"name": "ann"}, Claim())
    assert engine.roster.agents() == []
    with pytest.raises(NotFound):
        engine.call("agent.delete", {"name": "ann"}, Claim())


@pytest.mark.parametrize(
    ("name", "refusal"),
    [("nobody", NotFound), ("user:leon", BadParams), ("../ann", BadParams), ("", BadParams), ("all", BadParams)],
)
def test_who_cannot_be_deleted(ann, logs, name, refusal):
    before = logs()
    with pytest.raises(refusal):
        ann("agent.delete", name=name)
    assert logs() == before


@pytest.mark.parametrize("claimed", ["nobody", "user:nobody", "No Name", "../x"])
def test_a_caller_that_is_nobody_has_no_log_to_say_it_in(engine, ann, bob, claimed):
    engine.call("agent.delete", {"name": "bob"}, Claim(agent_id=claimed))
    assert names(ann) == {"ann"}
    assert not [path for path in kit.files(engine.place.log_root) if "nobody" in path]


def test_an_agent_of_another_clone_is_deleted_there(ann, state, logs):
    state("zed", kit.register("zed", version=1), origin=kit.THERE)
    ann("agent.list")
    before = logs()
    with pytest.raises(Forbidden) as caught:
        ann("agent.delete", name="zed")
    assert "--force" in caught.value.hint and logs() == before


def test_who_has_a_worktree_that_is_gone_is_left_behind(engine, repository, ann, bob, cat):
    bob("message.send", content="x")
    (repository.parent / "bobs" / "new.py").write_text("x")
    ann("agent.listContext")
    assert orphans(ann) == {}
    shutil.rmtree(repository.parent / "bobs")
    shown = ann("agent.cleanup", dry_run=True, force=True)
    (orphan,) = shown["orphans"]
    assert orphan == {
        "agent_id": "bob",
        "role": "implementer",
        "module": "core",
        "worktree": "bobs",
        "branch": "bobs",
        "last_seen_at": orphan["last_seen_at"],
        "worktree_missing": True,
        "branch_missing": False,
        "days_since_last_seen": 0,
        "message_count": 1,
    }
    assert clock.instant(orphan["last_seen_at"])
    assert (shown["deleted"], shown["dry_run"], shown["message"]) == ([], True, "Found 1 orphaned agent(s)")
    kit.git(repository, "worktree", "prune")
    kit.git(repository, "branch", "-D", "bobs")
    assert orphans(ann)["bob"]["branch_missing"] is True


def test_nothing_changes_without_force_and_the_answer_says_how_to_go_on(repository, ann, bob, logs):
    shutil.rmtree(repository.parent / "bobs")
    before = logs()
    shown = ann("agent.cleanup")
    assert len(shown["orphans"]) == 1 and shown["deleted"] == [] and "--force" in shown["message"]
    assert logs() == before


def test_force_deletes_them_and_nobody_else(repository, ann, bob, cat):
    shutil.rmtree(repository.parent / "bobs")
    done = ann("agent.cleanup", force=True)
    assert done["deleted"] == ["bob"] and done["message"] == "Deleted 1 orphaned agent(s)"
    assert names(ann) == {"ann", "cat"}
    again = ann("agent.cleanup", force=True)
    assert again["orphans"] == [] == again["deleted"]


def test_a_worktree_git_was_told_to_keep_exists(repository, ann, bob):
    kit.git(repository, "worktree", "lock", "../bobs")
    shutil.rmtree(repository.parent / "bobs")
    assert orphans(ann) == {}


def test_who_was_not_seen_for_long_is_left_behind_unless_a_worktree_knows_it(engine, repository, ann, state):
    for name, days in (("old", 31), ("young", 29)):
        state(name, registered_long_ago(name, days))
    state("settled", registered_long_ago("settled", 400))
    folder = repository / ".thrum" / "identities"
    shutil.copy(folder / "ann.json", folder / "settled.json")
    text = (folder / "settled.json").read_text().replace('"ann"', '"settled"')
    (folder / "settled.json").write_text(text)
    ann = kit.Caller(engine, repository, "ann")
    found = orphans(ann)
    assert set(found) == {"old"} and found["old"]["days_since_last_seen"] == 31
    assert (found["old"]["worktree_missing"], found["old"]["branch_missing"]) == (False, False)
    assert set(orphans(ann, threshold=10)) == {"old", "young"} and orphans(ann, threshold=0) == {}


def test_agents_of_other_machines_and_users_are_never_touched(ann, state):
    state("far", registered_long_ago("far", 400, worktree="gone"), origin=kit.THERE)
    ann("user.register", username="leon")
    state("user_mia", {**registered_long_ago("user:mia", 400), "kind": "user"})
    state("mine", registered_long_ago("mine", 400, worktree="gone"))
    assert set(orphans(ann)) == {"mine"}
    assert ann("agent.cleanup", force=True)["deleted"] == ["mine"]
    assert names(ann) == {"ann", "far", "user:leon", "user:mia"}


def test_a_negative_threshold_is_refused(ann):
    with pytest.raises(BadParams, match="threshold"):
        ann("agent.cleanup", threshold=-1)
