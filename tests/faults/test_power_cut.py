"""What a power cut may take: nothing that somebody relies on is left to the system's write-back."""

import os

from tests.sync.house import Clone, loose
from thrum.git import locks, remote


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
