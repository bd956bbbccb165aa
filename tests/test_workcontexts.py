"""What agents work on, as this clone states it: what is so now, and nothing that was so before."""

import shutil
import threading

import pytest

from tests import kit
from thrum.core import codec
from thrum.errors import GitError


@pytest.fixture
def engine(repository):
    made = kit.set_up(repository)
    yield made
    made.close()


@pytest.fixture
def ann(engine, repository):
    return kit.hire(engine, repository, "ann")


@pytest.fixture
def bob(engine, repository):
    """At work in a worktree of his own, on two files, one of which is committed."""
    folder = kit.add_worktree(repository, "bobs")
    caller = kit.hire(engine, folder, "bob")
    (folder / "done.py").write_text("x")
    kit.git(folder, "add", ".")
    kit.git(folder, "commit", "-q", "-m", "done")
    (folder / "readme").write_text("changed")
    caller.folder = folder
    return caller


def holders(caller, file):
    found = caller("agent.whoHas", file=file)["holders"]
    return [(holder["agent_id"], bool(holder["uncommitted"])) for holder in found]


def stated(engine, agent_id):
    """How often an agent's work was stated."""
    paths = [path for path in kit.files(engine.place.log_root) if f"messages/{agent_id}/" in path]
    lines = [line for path in paths for line in kit.files(engine.place.log_root)[path].splitlines()]
    return sum(codec.decode(line)["type"] == "agent.update" for line in lines)


def test_who_has_no_worktree_any_more_has_nothing_uncommitted(engine, ann, bob, repository):
    assert holders(ann, "readme") == [("bob", True)] and holders(ann, "done.py") == [("bob", False)]
    kit.git(repository, "worktree", "remove", "--force", str(bob.folder))
    assert holders(ann, "readme") == [] and holders(ann, "done.py") == [("bob", False)]
    before = stated(engine, "bob")
    assert holders(ann, "readme") == [] and stated(engine, "bob") == before


def test_a_worktree_that_was_deleted_by_hand_is_gone_too(ann, bob):
    assert holders(ann, "readme") == [("bob", True)]
    shutil.rmtree(bob.folder)
    assert holders(ann, "readme") == []


def test_a_worktree_that_is_locked_away_is_not_gone(ann, bob, repository):
    assert holders(ann, "readme") == [("bob", True)]
    kit.git(repository, "worktree", "lock", str(bob.folder))
    bob.folder.rename(repository.parent / "elsewhere")
    assert holders(ann, "readme") == [("bob", True)]


def test_a_worktree_that_git_cannot_read_is_not_gone(engine, ann, bob):
    assert holders(ann, "readme") == [("bob", True)]
    look = engine.contexts.look

    def fail(place):
        if place.worktree == str(bob.folder):
            raise GitError("no", "no")
        return look(place)

    engine.contexts.look = fail
    assert holders(ann, "readme") == [("bob", True)]


def test_who_moves_to_another_worktree_is_seen_there(engine, ann, bob, repository):
    assert holders(ann, "readme") == [("bob", True)]
    kit.git(repository, "worktree", "move", str(bob.folder), str(repository.parent / "moved"))
    assert holders(ann, "readme") == [("bob", True)]


def test_a_reading_that_took_longer_than_a_later_one_says_nothing(engine, ann, repository):
    begun, done, look = threading.Event(), threading.Event(), engine.contexts.look

    def slow(place):
        found = look(place)
        begun.set()
        assert done.wait(30)
        return found

    early = []
    engine.contexts.look = slow
    reader = threading.Thread(target=lambda: early.extend(engine.contexts.read()))
    reader.start()
    assert begun.wait(30)
    engine.contexts.look = look
    (repository / "readme").write_text("changed")
    assert holders(ann, "readme") == [("ann", True)]
    done.set()
    reader.join()
    before = stated(engine, "ann")
    engine.contexts.state(early)
    assert stated(engine, "ann") == before
    assert [found["uncommitted_files"] for found in ann("agent.listContext")["contexts"]] == [["readme"]]
