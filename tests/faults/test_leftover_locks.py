"""Lock files that the dead left: ours are overcome by themselves, the user's are never touched, sending asks for none."""

from __future__ import annotations

import pytest

from tests import kit
from tests.faults import scene
from tests.sync.house import Clone, fsck
from thrum.git.branch import tracking_ref

USERS = ("index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "refs/heads/main.lock", "shallow.lock")
OURS = ("refs/heads/a-sync.lock", f"{tracking_ref('origin')}.lock", "worktrees/a-sync/index.lock")


@pytest.fixture
def ann(clones, bare_remote):
    """A clone whose branch has been synced once."""
    made = Clone(clones(1)[0], "ann")
    made.works()
    yield made
    made.close()


def plant(clone, names, age):
    """Lock files that nobody holds, some seconds old."""
    paths = [clone.path / ".git" / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    scene.age([str(path) for path in paths], age)
    return paths


@pytest.mark.parametrize("age", [1, 3600 * 24 * 365])
def test_the_users_locks_are_in_nobodys_way_and_stay(ann, ledger, age):
    paths = plant(ann, USERS, age)
    ledger.fault(len(paths))
    for number in range(3):
        ledger.acknowledge(ann.send(f"behind locks {number}"))
        ann.works()
    assert [path for path in paths if not path.exists()] == []
    ledger.find(*ann.messages())
    ledger.balance()
    for path in paths:
        path.unlink()
    assert ann.is_sound()


@pytest.mark.parametrize("name", OURS)
def test_an_old_lock_on_what_is_ours_is_removed_by_the_next_cycle(ann, ledger, name):
    (path,) = plant(ann, [name], 120)
    ledger.fault()
    ledger.acknowledge(ann.send())
    other_clone_speaks(ann)
    ann.works()
    assert not path.exists()
    ledger.find(*ann.messages())
    ledger.balance()
    assert ann.is_sound()


@pytest.mark.parametrize("name", OURS)
def test_a_fresh_lock_on_what_is_ours_is_respected_and_costs_no_message(ann, ledger, name):
    """Somebody may hold it: a cycle says that it could not, or goes on without; sends do not care; later all is well."""
    (path,) = plant(ann, [name], -1)
    ledger.fault()
    sent = ann.send()
    ledger.acknowledge(sent)
    report = ann.sync()
    assert report.ok or (report.error and report.hint)
    assert path.exists()
    ledger.find(*(one for one in ann.messages() if one == sent))
    ledger.balance()
    scene.age([str(path)])
    ledger.recovered(0)
    ann.works()
    fsck(ann.path)


def other_clone_speaks(ann):
    """Something arrives on the remote, so that the tracking reference has to move."""
    path = ann.path.parent / "other"
    kit.git(ann.path.parent, "clone", "-q", kit.git(ann.path, "remote", "get-url", "origin").strip(), str(path))
    other = Clone(path, "olga")
    other.send("from elsewhere")
    other.works()
    other.close()
