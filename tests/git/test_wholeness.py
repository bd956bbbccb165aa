from __future__ import annotations

import os
from pathlib import Path

import pytest

from thrum.errors import GitError
from thrum.git import wholeness
from thrum.git.branch import REF, ensure, graft
from thrum.git.command import Result
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place, find

from .kit import git

TRACKING = "refs/remotes/origin/a-sync"


@pytest.fixture
def place(repo: str) -> Place:
    return find(repo)


@pytest.fixture
def objects(place: Place) -> Objects:
    return open_objects(place.common_dir)


def say(objects: Objects, place: Place, text: str) -> str:
    """A commit more, with a folder that only it has; what git calls the folder."""
    before = ensure(objects, place, None)
    tree = graft(objects, objects.tree_of(before), {"messages/log": objects.write_blob(text.encode())})
    assert objects.move(REF, objects.commit(tree, [before], text), before)
    return objects.entries(tree)["messages"].oid


def lose(place: Place, oid: str) -> None:
    os.unlink(f"{place.common_dir}/objects/{oid[:2]}/{oid[2:]}")


def a_hole_in_the_past(place: Place, objects: Objects) -> None:
    folder = say(objects, place, "one")
    say(objects, place, "two")
    lose(place, folder)


def a_tip_without_its_tree(place: Place, objects: Objects) -> None:
    say(objects, place, "one")
    lose(place, objects.tree_of(git(place.common_dir, "rev-parse", REF)))


def a_commit_that_is_gone(place: Place, objects: Objects) -> None:
    say(objects, place, "one")
    lose(place, git(place.common_dir, "rev-parse", REF))


def a_log_that_names_what_is_gone(place: Place, objects: Objects) -> None:
    before = ensure(objects, place, None)
    folder = say(objects, place, "one")
    git(place.common_dir, "update-ref", REF, before)
    lose(place, folder)


def what_a_remote_had(place: Place, objects: Objects) -> None:
    before = ensure(objects, place, None)
    folder = say(objects, place, "one")
    git(place.common_dir, "remote", "add", "origin", "nowhere")
    git(place.common_dir, "update-ref", TRACKING, REF)
    git(place.common_dir, "update-ref", REF, before)
    lose(place, folder)


HOLES = [
    a_hole_in_the_past, a_tip_without_its_tree, a_commit_that_is_gone, a_log_that_names_what_is_gone, what_a_remote_had,
]  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_a_hole_is_found_and_mended_so_that_git_can_tidy_again(place: Place, objects: Objects, hole: object) -> None:
    hole(place, objects)  # type: ignore[operator]
    assert not wholeness.is_whole(place, objects)
    assert wholeness.mend(place, objects)
    assert wholeness.is_whole(place, objects) and objects.head(REF)
    git(place.common_dir, "gc", "-q", "--prune=now")
    git(place.common_dir, "fsck", "--strict")
    assert not wholeness.mend(place, objects)


def test_what_is_whole_stays_and_so_does_its_log(place: Place, objects: Objects) -> None:
    assert wholeness.is_whole(place, objects) and not wholeness.mend(place, objects)  # there is no such branch yet
    say(objects, place, "one")
    before = git(place.common_dir, "reflog", REF)
    assert before and not wholeness.mend(place, objects)
    assert git(place.common_dir, "reflog", REF) == before


def test_a_branch_of_the_users_with_a_like_name_is_none_of_ours(place: Place, objects: Objects) -> None:
    theirs = "refs/remotes/origin/feature/a-sync"
    before = ensure(objects, place, None)
    folder = say(objects, place, "one")
    git(place.common_dir, "remote", "add", "origin", "nowhere")
    git(place.common_dir, "update-ref", theirs, REF)
    git(place.common_dir, "update-ref", "-d", REF)
    git(place.common_dir, "update-ref", REF, before)
    lose(place, folder)
    assert wholeness.is_whole(place, objects)
    assert not wholeness.mend(place, objects) and git(place.common_dir, "rev-parse", theirs)


def test_only_what_the_remote_lacks_is_looked_at_before_a_push(place: Place, objects: Objects) -> None:
    folder = say(objects, place, "one")
    there = git(place.common_dir, "rev-parse", REF)
    say(objects, place, "two")
    lose(place, folder)
    head = git(place.common_dir, "rev-parse", REF)
    assert wholeness.is_offered_whole(place, head, there)
    assert not wholeness.is_offered_whole(place, head, None)


@pytest.mark.parametrize("ended", [Result(-9, b"", ""), Result(128, b"", "fatal: Out of memory, malloc failed")])
def test_a_git_that_was_kept_from_looking_lets_nothing_go(
    place: Place, objects: Objects, monkeypatch: pytest.MonkeyPatch, ended: Result
) -> None:
    say(objects, place, "one")
    tip = objects.head(REF)
    real = wholeness.run
    monkeypatch.setattr(
        wholeness, "run", lambda args, *rest, **more: ended if "--stdin" in args else real(args, *rest, **more)
    )
    with pytest.raises(GitError, match="could not look"):
        wholeness.mend(place, objects)
    assert objects.head(REF) == tip


def test_a_gc_is_running_while_its_lock_is_young(place: Place) -> None:
    assert not wholeness.gc_is_running(place)
    lock = Path(place.common_dir) / "gc.pid"
    lock.write_text("1 elsewhere\n")
    assert wholeness.gc_is_running(place)
    os.utime(lock, (0, 0))
    assert not wholeness.gc_is_running(place)
