"""Our loose objects become packs: nothing is lost by it, nothing of anybody else's is touched, and growth is bounded."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from thrum.git import branch, packing
from thrum.git.objects import open_objects
from thrum.git.place import Place

from .kit import fingerprint, git, make, settle, write

LINE = b'{"type":"message.create","body":{"content":"%d"},"timestamp":"2026-02-10T12:00:00Z"}\n'


class Branch:
    """A branch that grows by commits like those of the sync."""

    def __init__(self, path: str) -> None:
        self.place, self.objects, self.tip = settle(path)
        self.content = b""
        self.commits = 0

    def grow(self, commits: int) -> None:
        before = self.tip
        for _ in range(commits):
            self.commits += 1
            self.content += LINE % self.commits
            path = f"messages/ann/0000000000aa/0000/{self.commits // 256:02x}.jsonl"
            if self.commits % 256 == 0:
                self.content = b""
            tree = branch.graft(
                self.objects, self.objects.tree_of(self.tip), {path: self.objects.write_blob(self.content)}
            )
            self.tip = self.objects.commit(tree, [self.tip], "x\n")
        assert self.objects.move(branch.REF, self.tip, before)

    def is_sound(self) -> bool:
        """git finds no fault, and a handle that was open all the time reads all of it, as a new one does."""
        git(self.place.common_dir, "fsck", "--strict", "--no-dangling")
        fresh = open_objects(self.place.common_dir)
        for objects in (self.objects, fresh):
            assert objects.head(branch.REF) == self.tip
            leaves = list(branch.walk(objects, objects.tree_of(self.tip)))
            assert [objects.blob(entry.oid) for _, entry in leaves][-1].endswith(LINE % self.commits)
        fresh.close()
        listed = git(self.place.common_dir, "rev-list", "--count", branch.REF)
        return int(listed) == self.commits + 1


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """The commits of these tests need not survive a power cut."""
    pygit2.settings.enable_fsync_gitdir(False)
    yield
    pygit2.settings.enable_fsync_gitdir(True)


@pytest.fixture
def ours(repo: str) -> Branch:
    return Branch(repo)


def loose(place: Place) -> set[str]:
    """The ids of all loose objects."""
    top = os.path.join(place.common_dir, "objects")
    folders = (name for name in os.listdir(top) if len(name) == 2)
    return {folder + name for folder in folders for name in os.listdir(os.path.join(top, folder))}


def packs(place: Place) -> list[str]:
    return sorted(name for name in os.listdir(os.path.join(place.common_dir, "objects", "pack")))


def put_user_objects(repo: str) -> set[str]:
    """Loose objects of the user's: committed, and only hashed."""
    for number in range(5):
        write(os.path.join(repo, f"own{number}"), f"mine {number}\n")
        git(repo, "add", f"own{number}")
        git(repo, "commit", "-q", "-m", f"own {number}")
    hashed = git(repo, "hash-object", "-w", "--stdin", given=b"nobody reaches me")
    return {hashed, *git(repo, "rev-list", "--objects", "--no-object-names", "main").split()}


def test_our_objects_are_packed_and_the_users_stay_as_they_are(repo: str, ours: Branch) -> None:
    users = put_user_objects(repo)
    ours.grow(60)
    mine = loose(ours.place) - users
    before = fingerprint(*(os.path.join(ours.place.common_dir, "objects", oid[:2], oid[2:]) for oid in users))
    assert packing.pack(ours.place) == len(mine) > 60
    assert loose(ours.place) == users
    assert before == fingerprint(*before)
    assert ours.is_sound()
    assert git(repo, "status", "--porcelain") == ""
    assert "garbage: 0" in git(repo, "count-objects", "-v")


def test_what_the_remote_sent_is_packed_and_what_else_is_called_a_sync_is_not(repo: str, bare: str) -> None:
    ours = Branch(repo)
    git(repo, "remote", "add", "origin", bare)
    ours.grow(2)
    git(repo, "update-ref", "refs/remotes/origin/a-sync", ours.tip)
    first = git(repo, "rev-list", "--max-parents=0", branch.REF)
    git(repo, "update-ref", "refs/heads/feature/a-sync", "main")
    git(repo, "update-ref", "refs/remotes/origin/feature/a-sync", "main")
    assert ours.objects.move(branch.REF, first, ours.tip)
    assert packing.pack(ours.place, least=1) > 2
    assert ours.tip not in loose(ours.place)
    assert git(repo, "rev-parse", "main") in loose(ours.place)


def test_a_thousand_syncs_leave_few_files_in_little_room(ours: Branch) -> None:
    others = loose(ours.place) - _history(ours)
    most_loose = most_packs = 0
    for _ in range(20):
        ours.grow(50)
        packing.pack(ours.place)
        most_loose = max(most_loose, len(loose(ours.place) - others))
        most_packs = max(most_packs, sum(name.endswith(".pack") for name in packs(ours.place)))
    assert (most_loose, most_packs <= 6) == (0, True)
    folder = os.path.join(ours.place.common_dir, "objects", "pack")
    assert sum(os.path.getsize(os.path.join(folder, name)) for name in packs(ours.place)) < 2_000 * ours.commits
    assert ours.is_sound()


def test_few_objects_are_not_worth_a_pack(ours: Branch) -> None:
    ours.grow(3)
    before = loose(ours.place)
    assert packing.pack(ours.place) == 0
    assert (loose(ours.place), packs(ours.place)) == (before, [])


def test_it_is_due_when_git_would_soon_tidy(repo: str, ours: Branch, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not packing.is_due(ours.place)
    ours.grow(100)
    assert packing.estimate(ours.place) == pytest.approx(len(loose(ours.place)), rel=0.6)
    monkeypatch.setattr(packing, "estimate", lambda _: 3000)
    assert not packing.is_due(ours.place)
    git(repo, "config", "gc.auto", "5000")
    assert packing.is_due(ours.place)
    assert not packing.is_due(ours.place, share=1.0)
    git(repo, "config", "gc.auto", "0")  # nobody tidies here: our own litter is still ours
    assert not packing.is_due(ours.place)
    monkeypatch.setattr(packing, "estimate", lambda _: packing.LIMIT // 2)
    assert packing.is_due(ours.place)


@pytest.mark.parametrize(
    "setting",
    ["core.sharedRepository=group", "extensions.preciousObjects=true", "remote.origin.promisor=true"],
)
def test_where_it_might_harm_nothing_is_done(repo: str, ours: Branch, setting: str) -> None:
    ours.grow(40)
    before = loose(ours.place)
    git(repo, "config", *setting.split("="))
    assert packing.pack(ours.place, least=1) == 0
    assert loose(ours.place) == before


def test_while_a_gc_runs_nothing_is_done(ours: Branch) -> None:
    ours.grow(1)
    pid = write(os.path.join(ours.place.common_dir, "gc.pid"), "1 here")
    assert packing.pack(ours.place, least=1) == 0
    os.utime(pid, (0, 0))
    assert packing.pack(ours.place, least=1) > 1


def test_packs_that_somebody_keeps_or_indexes_stay(repo: str, ours: Branch) -> None:
    ours.grow(1)
    packing.pack(ours.place, least=1)
    first = [name for name in packs(ours.place) if name.endswith(".pack")]
    folder = os.path.join(ours.place.common_dir, "objects", "pack")
    keep = write(os.path.join(folder, first[0].replace(".pack", ".keep")), "")
    ours.grow(1)
    packing.pack(ours.place, least=1)
    assert first[0] in packs(ours.place)
    os.unlink(keep)
    git(repo, "multi-pack-index", "write")
    before = packs(ours.place)
    ours.grow(1)
    packing.pack(ours.place, least=1)
    assert set(before) < set(packs(ours.place))
    git(repo, "multi-pack-index", "verify")
    assert ours.is_sound()


def test_a_pack_of_the_users_stays(repo: str, ours: Branch) -> None:
    ours.grow(5)
    git(repo, "gc", "-q")
    users = packs(ours.place)
    ours.grow(5)
    assert packing.pack(ours.place, least=1) > 5
    ours.grow(5)
    assert packing.pack(ours.place, least=1) > 5
    assert set(users) < set(packs(ours.place))
    assert ours.is_sound()


def test_sha256_and_borrowed_objects(tmp_path: Path, repo: str, ours: Branch) -> None:
    ours.grow(2)
    lent = loose(ours.place)
    git("/", "clone", "-q", "--shared", repo, str(tmp_path / "borrower"))
    git(str(tmp_path / "borrower"), "update-ref", branch.REF, ours.tip)
    borrower = Branch(str(tmp_path / "borrower"))
    borrower.grow(3)
    assert packing.pack(borrower.place, least=1) > 3
    assert loose(ours.place) == lent
    git(borrower.place.common_dir, "fsck", "--strict", "--no-dangling")
    other = Branch(make(str(tmp_path / 'sha256, "odd": \\n'), "--object-format=sha256"))
    other.grow(3)
    assert packing.pack(other.place, least=1) > 3
    assert other.is_sound()


def test_a_full_disk_changes_nothing(ours: Branch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours.grow(3)
    before = loose(ours.place)
    real = packing.run

    def full(args, *rest, **more):  # type: ignore[no-untyped-def]
        if "pack-objects" in args:
            more["env"] = {**more["env"], "PATH": str(tmp_path / "bin") + ":" + os.environ["PATH"]}
        return real(args, *rest, **more)

    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin" / "git"
    wrapper.write_text(f'#!/bin/sh\nulimit -f 0\nexec {git("/", "--exec-path")}/git "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(packing, "run", full)
    with pytest.raises(packing.GitError):
        packing.pack(ours.place, least=1)
    assert (loose(ours.place), packs(ours.place)) == (before, [])
    assert os.listdir(os.path.join(ours.place.sync_dir, "packing")) == []
    monkeypatch.setattr(packing, "run", real)
    assert packing.pack(ours.place, least=1) > 3
    assert os.listdir(os.path.join(ours.place.sync_dir, "packing")) == []
    assert ours.is_sound()


STEPS = ("rename", "unlink", "truncate", "fsync", "rmdir")


def test_a_kill_after_any_step_loses_nothing_and_is_made_good(tmp_path: Path) -> None:
    """The process ends at every single change it makes to the disk, one after another."""
    ended = step = 0
    while not ended:
        ours = Branch(make(str(tmp_path / f"kill{step}")))
        ours.grow(1)
        packing.pack(ours.place, least=1)
        ours.grow(1)
        ended = _pack_until(ours.place, step)
        assert ours.is_sound()
        ours.grow(1)
        assert packing.pack(ours.place, least=1) > 1
        assert not loose(ours.place) & _history(ours)
        assert "garbage: 0" in git(ours.place.common_dir, "count-objects", "-v")
        assert len([name for name in packs(ours.place) if name.endswith(".pack")]) == 1
        step += 1
    assert step > 12


def test_loose_objects_that_a_killed_run_left_go_even_if_their_pack_is_not_taken_into_another(
    ours: Branch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    ours.grow(3)
    before = loose(ours.place)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(packing._Packing, "_remove_loose", killed)
        packing.pack(ours.place, least=1)
    assert loose(ours.place) == before
    folder = os.path.join(ours.place.common_dir, "objects", "pack")
    write(os.path.join(folder, packs(ours.place)[0].partition(".")[0] + ".keep"), "")
    assert packing.pack(ours.place, least=1) > 3
    assert not loose(ours.place) & _history(ours)


def _history(ours: Branch) -> set[str]:
    return set(git(ours.place.common_dir, "rev-list", "--objects", "--no-object-names", branch.REF).split())


def _pack_until(place: Place, step: int) -> bool:
    """Packs in a process that is killed before its change number `step`; whether it came to its end."""
    program = f"""
import os, signal
from thrum.git import packing, place
left = [{step}]
def counted(real):
    def change(*given, **more):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return real(*given, **more)
    return change
for name in {STEPS!r}:
    setattr(os, name, counted(getattr(os, name)))
packing.pack(place.find({place.worktree!r}), least=1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("tidy", [["gc", "--prune=now", "-q"], ["repack", "-adq"], ["prune-packed", "-q"]])
def test_beside_a_storm_of_gcs_nothing_is_lost(repo: str, ours: Branch, tidy: list[str]) -> None:
    """Only commits wait for the gc, which may take what is not yet on a branch; packing does not."""
    put_user_objects(repo)
    users = git(repo, "rev-list", "--objects", "main")
    stop, growing = threading.Event(), threading.Lock()
    trouble: list[str] = []

    def storm() -> None:
        while not stop.is_set():
            with growing:
                done = subprocess.run(["git", *tidy], cwd=repo, capture_output=True, text=True, timeout=60)
            trouble.extend([done.stderr] if done.returncode else [])
            time.sleep(0.01)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(15):
            with growing:
                ours.grow(4)
            packing.pack(ours.place, least=1)
    finally:
        stop.set()
        thread.join(60)
    assert trouble == []
    assert ours.is_sound()
    assert git(repo, "rev-list", "--objects", "main") == users


def test_random_kills_lose_nothing(ours: Branch) -> None:
    chance = random.Random(20260210)
    program = f"from thrum.git import packing, place; packing.pack(place.find({ours.place.worktree!r}), least=1)"
    for _ in range(8):
        ours.grow(6)
        child = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
        time.sleep(chance.uniform(0.05, 0.4))
        child.kill()
        child.wait()
        assert ours.is_sound()
    packing.pack(ours.place, least=1)
    assert not loose(ours.place) & _history(ours)
    assert ours.is_sound()


def test_two_at_once_are_one(ours: Branch) -> None:
    ours.grow(30)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(packing.pack(ours.place, least=1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(found) > 30
    assert ours.is_sound()
