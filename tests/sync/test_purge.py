"""A purge holds everywhere: what it took comes back from nobody, nothing else goes, and new clones fetch less."""

import os
import subprocess

import pytest

from tests import kit
from tests.sync.house import REF, Clone, agree, content, listing, move, remote_tip, settle
from thrum.core import layout
from thrum.core.clock import SECOND

DAY = 86400 * SECOND


@pytest.fixture
def trio(clones):
    opened = [Clone(path, name) for path, name in zip(clones(3), ("ann", "bob", "cat"), strict=True)]
    settle(*opened)
    yield opened
    for clone in opened:
        clone.close()


@pytest.fixture
def earlier(monkeypatch):
    """`with earlier(days):` what is said meanwhile was said so long ago."""
    import contextlib
    import time

    real = time.time_ns

    @contextlib.contextmanager
    def shifted(days):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: real() - days * DAY)
            yield

    return shifted


def purge(clone, before="30d"):
    return clone.caller("purge", before=before, confirm=True)


def texts(clone):
    return sorted(message["body"]["content"] for message in clone.caller("message.list", page_size=100)["messages"])


def holds(clone, text):
    """Whether a text is in any log on disk."""
    return any(text.encode() in data for data in clone.fragments().values())


def test_only_what_is_old_goes_and_a_preview_changes_nothing(trio, earlier):
    ann, *_ = trio
    with earlier(100):
        ann.send("long ago")
    ann.send("today")
    before = ann.fragments()
    told = ann.caller("purge", before="30d")
    assert (told["messages"], told["events"], told["purged"]) == (1, 1, False) and told["bytes"] > 100
    assert ann.fragments() == before
    assert purge(ann)["purged"] is True
    assert texts(ann) == ["today"] and not holds(ann, "long ago")
    ann.works()
    assert ann.is_sound()
    assert purge(ann)["purged"] is False


def test_no_peer_brings_it_back_whichever_way_and_order_it_syncs(trio, earlier, bare_remote):
    ann, bob, cat = trio
    with earlier(100):
        for clone in trio:
            clone.send(f"long ago from {clone.name}")
    settle(*trio)
    bob.caller("message.markRead", all=True)
    cat.send("today, offline")
    purge(ann)
    late = bob.send("today")
    ann.works()
    for clone in (cat, bob, cat, ann):
        clone.works()
        assert not [text for text in texts(clone) if text.startswith("long ago")], clone.name
    agree(*trio, sent={late: "today"}, bare=bare_remote)
    assert texts(ann) == ["today", "today, offline"]
    assert not any(holds(clone, "long ago") for clone in trio)
    assert not any(b"long ago" in content(bare_remote, path) for path in listing(bare_remote))


def test_mail_that_was_written_earlier_and_arrives_later_is_delivered(trio, earlier):
    ann, bob, _ = trio
    with earlier(100):
        ann.send("known")
        ann.works()
        late = bob.send("written long ago, synced late")
    purge(ann)
    settle(*trio)
    assert late in ann.messages() and texts(ann) == ["written long ago, synced late"]


def test_a_remote_that_is_rewound_to_before_the_purge_brings_nothing_back(trio, earlier, bare_remote):
    ann, bob, _ = trio
    with earlier(100):
        ann.send("long ago")
    ann.send("today")
    settle(*trio)
    old = remote_tip(bare_remote)
    purge(ann)
    settle(*trio)
    move(bare_remote, old)
    settle(*trio)
    assert texts(bob) == ["today"]
    agree(*trio, bare=bare_remote)
    assert not any(b"long ago" in content(bare_remote, path) for path in listing(bare_remote))


def test_a_clone_with_another_purge_of_its_own_keeps_both(trio, earlier, bare_remote):
    ann, bob, _ = trio
    with earlier(100):
        ann.send("a, long ago")
    with earlier(50):
        ann.send("b, a while ago")
    settle(*trio)
    purge(ann, "60d")
    purge(bob, "30d")
    settle(*trio)
    assert [texts(clone) for clone in trio] == [[], [], []]
    agree(*trio, bare=bare_remote)


def test_new_clones_fetch_less_and_the_history_begins_anew(trio, earlier, bare_remote, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 4000)
    ann, bob, _ = trio
    with earlier(100):
        for _ in range(10):
            for clone in (ann, bob):
                clone.send(os.urandom(500).hex())
            ann.works()
            bob.works()
    settle(*trio)
    heavy = size_of_a_clone(bare_remote, tmp_path / "before.git")
    purge(ann)
    settle(*trio)
    light = size_of_a_clone(bare_remote, tmp_path / "after.git")
    assert light < heavy / 3, (light, heavy)
    late = Clone(kit.make_repository(tmp_path / "late"), "dan")
    kit.git(late.path, "remote", "add", "origin", str(bare_remote))
    settle(*trio, late)
    agree(*trio, late, bare=bare_remote)
    late.close()


def size_of_a_clone(bare, path):
    kit.git(path.parent, "clone", "-q", "--bare", "--no-local", "--single-branch", "-b", "a-sync", str(bare), str(path))
    return sum(found.stat().st_size for found in path.glob("objects/pack/*.pack"))


def test_a_writer_goes_on_with_the_next_number_though_all_it_said_is_gone(trio, earlier):
    ann, *_ = trio
    with earlier(100):
        for number in range(5):
            ann.send(f"{number}")
    purge(ann)
    ann.send("next")
    ann.engine.close()
    again = Clone(ann.path)
    again.caller = kit.Caller(again.engine, ann.path, "ann")
    again.send("after a restart")
    numbers = [row.split(b'"seq":')[1].split(b",")[0] for row in again.fragments()[ann.log].splitlines()]
    assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers, key=int)
    again.close()


def test_a_remote_that_forbids_replacing_keeps_the_old_history_and_the_sync_goes_on(trio, earlier, bare_remote):
    ann, bob, cat = trio
    kit.git(bare_remote, "config", "receive.denyNonFastForwards", "true")
    with earlier(100):
        ann.send("long ago")
    ann.send("today")
    settle(*trio)
    old = remote_tip(bare_remote)
    purge(ann)
    settle(*trio)
    assert kit.git(bare_remote, "merge-base", "--is-ancestor", old, REF) == ""
    assert [texts(clone) for clone in trio] == [["today"]] * 3
    sent = {bob.send("more"): "more"}
    settle(*trio)
    agree(*trio, sent=sent, bare=bare_remote)
    assert cat.status()["sync_state"] == "synced"


def test_what_is_not_on_the_remote_yet_is_never_called_synced_after_a_purge(trio, earlier):
    ann, *_ = trio
    with earlier(100):
        for number in range(20):
            ann.send(f"{number}".ljust(300, "."))
    ann.send("today")
    ann.works()
    purge(ann)
    message_id = ann.send("x")
    sent = {m["message_id"]: m for m in ann.caller("message.sent")["messages"]}
    assert sent[message_id]["state"] == "local"
    ann.works()
    sent = {m["message_id"]: m for m in ann.caller("message.sent")["messages"]}
    assert sent[message_id]["state"] == "remote"


def test_the_purge_survives_the_loss_of_the_read_model_in_the_middle(trio, earlier, monkeypatch):
    """Killed between the purge's line and the cleansing of the logs: whoever comes next finishes it."""
    from thrum.store import purges

    ann, bob, _ = trio
    with earlier(100):
        ann.send("long ago")
    settle(*trio)

    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(purges, "cleanse", die)
        with pytest.raises(Killed):
            purge(ann)
    assert holds(ann, "long ago")
    assert texts(ann) == [] and not holds(ann, "long ago")
    settle(*trio)
    assert texts(bob) == []


def test_only_the_name_it_is_stated_under_counts(trio, earlier):
    """A purge in another's name is set aside like every other such line."""
    ann, *_ = trio
    with earlier(100):
        ann.send("long ago")
    line = kit.chained([kit.event("log.purge", agent_id="ann", before="2026-01-01T00:00:00Z", lines={})])[0]
    kit.write_log(ann.root, "bob", line)
    ann.engine.catch_up()
    assert [bad["reason"] for bad in ann.engine.mail.bad_lines()] == ["claims to be ann's"]


def test_the_objects_of_the_old_history_are_not_reachable_from_the_branch(trio, earlier):
    ann, *_ = trio
    with earlier(100):
        ann.send("long ago")
    settle(*trio)
    old = ann.tip
    purge(ann)
    ann.works()
    done = subprocess.run(["git", "merge-base", old, ann.tip], cwd=ann.path, capture_output=True)
    assert done.returncode == 1
