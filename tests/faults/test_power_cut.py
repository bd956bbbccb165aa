"""What a power cut may take: nothing that somebody relies on is left to the system's write-back."""

import os

import pytest

from tests import kit
from tests.faults import powercut, scene, trace, workday
from tests.faults.away import away
from tests.sync.house import Clone, fsck, loose
from thrum.git import locks, remote

needs_a_disk = pytest.mark.skipif(
    not trace.IS_POSSIBLE or bool(powercut.is_possible()), reason=powercut.is_possible() or "not Linux on x86-64"
)


def test_fetched_objects_are_flushed_one_by_one(clones, monkeypatch, tmp_path):
    """git leaves loose objects unflushed by default; after a cut they are empty files that stop every later fetch."""
    ann, bob = (Clone(path, name) for path, name in zip(clones(2), ("ann", "bob"), strict=True))
    ann.send()
    ann.works()
    before = loose(bob.path)
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(tmp_path / "trace"))
    remote.fetch(bob.place, "origin")
    flushed = sum(
        int(line.split('"value":"')[1].split('"')[0])
        for line in (tmp_path / "trace").read_text().splitlines()
        if '"key":"fsync/hardware-flush"' in line
    )
    arrived = loose(bob.path) - before
    for clone in (ann, bob):
        clone.close()
    assert flushed >= arrived > 2


def test_whose_lock_it_is_lies_on_the_disk_before_the_lock(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.pread(file, 100, 0)) or real(file))
    assert locks.with_patience(str(tmp_path), "refs/heads/a-sync", lambda: flushed == [b"refs/heads/a-sync"])


@needs_a_disk
@pytest.mark.parametrize(
    ("work", "short"), [("write_and_read", 10), ("hire_and_sync", 30), ("first_steps", 60), ("several_at_once", 6)]
)
def test_the_power_may_fail_at_any_write(ledger, rng, effort, outlet, work, short):
    stride = effort(short, 2)
    away(ledger, sweep_cuts, seconds=3000, outlet=outlet, work=work, stride=stride, first=1 + rng.randrange(stride))


def sweep_cuts(ledger, outlet, work, stride, first):
    """The power fails at every `stride`-th write of the work; after each, what was acknowledged is there, and all is well."""
    disk = powercut.Disk(outlet)
    bare = disk.mounted + "/origin.git"
    repo = scene.with_people(disk.path("shop"), disk.path("origin.git"))
    disk.settle()
    books, point = workday.Books(ledger, repo), first
    while True:
        run, said, trouble = workday.play(getattr(workday, work), trace.Point(point), repo, f"k{point}", then=disk.cut)
        books.take(said)
        if not run.hit:
            assert run.code == 0, trouble
            break
        ledger.fault()
        disk.restart()
        scene.age(scene.locks(bare))
        is_whole_again(books, f"power cut at {point}: {run.hit}")
        disk.settle()
        point += stride
    books.leaves_no_litter()
    fsck(bare)
    os.chdir("/")


def is_whole_again(books, moment):
    """The next command works, the next cycle heals the branch, the doctor has nothing to say, at most after a fix."""
    books.heals(moment, sound=False)
    try:
        workday.thrum(books.repo, "sync", "force")
        try:
            workday.thrum(books.repo, "doctor")
        except workday.CommandFailed:
            workday.thrum(books.repo, "doctor", "--fix")
            workday.thrum(books.repo, "doctor")
        fsck(books.repo)
    except Exception as error:
        raise AssertionError(moment) from error


@needs_a_disk
def test_the_remotes_power_may_fail_while_somebody_syncs(ledger, rng, effort, outlet):
    stride = effort(24, 2)
    away(ledger, sweep_remote_cuts, seconds=3000, outlet=outlet, stride=stride, first=1 + rng.randrange(stride))


def sweep_remote_cuts(ledger, outlet, stride, first):
    """The disk that the remote lies on fails; the next cycle brings it everything."""
    disk = powercut.Disk(outlet)
    bare = disk.path("origin.git")
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", bare)
        disk.settle()
        books, point = workday.Books(ledger, repo), first
        while True:
            run, said, trouble = workday.play(workday.sync_only, trace.Point(point), repo, f"k{point}", then=disk.cut)
            books.take(said)
            if not run.hit:
                assert run.code == 0, trouble
                break
            ledger.fault()
            disk.restart()
            scene.age(scene.locks(str(bare)))
            books.heals(f"the remote's power cut at {point}: {run.hit}")
            workday.thrum(repo, "sync", "force")
            fsck(bare)
            assert kit.git(bare, "rev-parse", "a-sync") == kit.git(repo, "rev-parse", "a-sync")
            disk.settle()
            point += stride
        books.leaves_no_litter()
        fsck(bare)
    os.chdir("/")
