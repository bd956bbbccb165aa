"""A glance must never miss what a whole look would find."""

import os
import time

import pytest

from tests import kit
from thrum.core import clock
from thrum.store import disk, glance
from thrum.store.glance import Glance
from thrum.store.log import Log
from thrum.vigil import LostSightError

LOG = f"messages/ann/{kit.HERE}/0000"


@pytest.fixture(params=["told", "not told"])
def is_told(request, monkeypatch):
    """Whether the system tells of what is touched."""
    if request.param == "not told":

        def refuse(top):
            raise LostSightError(top)

        monkeypatch.setattr(glance, "Vigil", refuse)
    return request.param == "told"


@pytest.fixture(params=["settled", "just changed"])
def root(tmp_path, request, is_told):
    """Logs of two agents and of v0.1.0, whose folders were changed long ago, or just now."""
    root = f"{tmp_path}/sync/a-sync"
    for name in ("ann", "bob"):
        Log(root, name, kit.HERE).append([kit.message(name)])
    for name in ("events.jsonl", "messages/old.jsonl"):
        with open(f"{root}/{name}", "wb") as file:
            file.write(b"{}\n")
    if request.param == "settled":
        for folder, _, _ in os.walk(root):
            os.utime(folder, (1_600_000_000, 1_600_000_000))
    return root


def append(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as file:
        file.write(b"{}\n")


def replace(path):
    with open(path, "rb") as file, open(path + ".tmp", "wb") as fresh:
        fresh.write(file.read())
    os.replace(path + ".tmp", path)


CHANGES = {
    "a line": lambda root: append(f"{root}/{LOG}/00.jsonl"),
    "the next segment": lambda root: append(f"{root}/{LOG}/01.jsonl"),
    "a segment behind a gap": lambda root: append(f"{root}/{LOG}/07.jsonl"),
    "the next folder": lambda root: append(f"{root}/messages/ann/{kit.HERE}/0001/00.jsonl"),
    "another clone": lambda root: append(f"{root}/messages/ann/{kit.THERE}/0000/00.jsonl"),
    "another agent": lambda root: append(f"{root}/messages/eve/{kit.HERE}/0000/00.jsonl"),
    "an old agent": lambda root: append(f"{root}/messages/older.jsonl"),
    "an old line": lambda root: append(f"{root}/messages/old.jsonl"),
    "an old event": lambda root: append(f"{root}/events.jsonl"),
    "a cut": lambda root: os.truncate(f"{root}/{LOG}/00.jsonl", 3),
    "a loss": lambda root: os.unlink(f"{root}/{LOG}/00.jsonl"),
    "the loss of everything": lambda root: os.rename(f"{root}/messages", f"{root}/gone"),
    "another file in its place": lambda root: replace(f"{root}/{LOG}/00.jsonl"),
    "a mending": lambda root: append(f"{os.path.dirname(root)}/mended"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_seen(root, change):
    look = Glance(root)
    assert look.holds() and look.holds()
    CHANGES[change](root)
    assert not look.holds()


def test_what_we_have_read_ourselves_is_no_change(root):
    look = Glance(root)
    path = f"{LOG}/00.jsonl"
    append(f"{root}/{path}")
    found = os.stat(f"{root}/{path}")
    look.renew(path, found.st_ino, found.st_size, found.st_mtime_ns)
    assert look.holds()
    append(f"{root}/{path}")
    assert not look.holds()


def test_a_folder_that_changed_just_now_is_believed_for_a_moment_only(root, is_told, monkeypatch):
    look, later = Glance(root), time.time_ns() + clock.SETTLED + 1
    was_settled = not look._unsettled
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert look.holds() == (was_settled or is_told)


def test_nothing_is_looked_at_where_the_system_tells(root, is_told, monkeypatch):
    look, asked = Glance(root), []
    real = disk.signature
    monkeypatch.setattr(disk, "signature", lambda path: asked.append(path) or real(path))
    assert look.holds()
    assert len(asked) == 2 if is_told else len(asked) > 8
    append(f"{root}/{LOG}/00.jsonl")
    found = os.stat(f"{root}/{LOG}/00.jsonl")
    look.renew(f"{LOG}/00.jsonl", found.st_ino, found.st_size, found.st_mtime_ns)
    asked.clear()
    assert look.holds() and f"{root}/{LOG}/00.jsonl" in asked
    asked.clear()
    assert look.holds() and (f"{root}/{LOG}/00.jsonl" in asked) != is_told


def test_it_looks_for_itself_once_the_system_tells_no_more(root):
    look = Glance(root)
    os.mkdir(f"{root}/strange")
    assert look.holds() and look.holds()
    append(f"{root}/{LOG}/00.jsonl")
    assert not look.holds()


def test_all_of_it_moved_away_is_a_change(root):
    look = Glance(root)
    os.rename(os.path.dirname(root), f"{os.path.dirname(root)}.moved")
    assert not look.holds()


def test_there_may_be_no_logs_at_all(tmp_path, is_told):
    look = Glance(f"{tmp_path}/none")
    assert look.holds()
    append(f"{tmp_path}/none/messages/ann/{kit.HERE}/0000/00.jsonl")
    assert not look.holds()


def test_the_next_glance_asks_whom_the_last_one_asked(root, is_told):
    first = Glance(root)
    asked = first._vigil
    append(f"{root}/{LOG}/00.jsonl")
    second = Glance(root, first)
    assert second.holds() and (second._vigil is asked)
    append(f"{root}/{LOG}/00.jsonl")
    assert not second.holds()
    append(f"{root}/messages/eve/{kit.HERE}/0000/00.jsonl")
    third = Glance(root, second)
    assert third.holds() and (third._vigil is not asked) == is_told
    append(f"{root}/messages/eve/{kit.HERE}/0000/00.jsonl")
    assert not third.holds()
