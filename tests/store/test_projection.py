import errno
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import kit
from tests.store import scenes
from thrum.core import union
from thrum.core.selection import Filter
from thrum.errors import ThrumError
from thrum.store import disk
from thrum.store import projection as module
from thrum.store.projection import NOTHING, REBUILT


@pytest.fixture
def branch(tmp_path):
    made = kit.Branch(tmp_path / "branch")
    yield made
    made.close()


def inboxes(branch):
    """What every agent sees: ids in order, totals, unread."""
    seen = {}
    for agent in scenes.AGENTS:
        page = branch.mail.page(agent, Filter(), 100, 1)
        unread = branch.mail.page(agent, Filter(unread=True), 100, 1)
        seen[agent] = (
            [m["message_id"] for m in page.messages],
            page.total,
            [m["message_id"] for m in unread.messages],
            branch.mail.unread_count(agent),
        )
    return seen


VIEW = ("seq", "path", "ends")
"""Where a line lies is no part of what it says."""


class Arrival:
    """Logs that arrive piece by piece, by append where that is possible and by rename where it is not."""

    def __init__(self, branch, logs, rng):
        self.branch, self.rng = branch, rng
        self.waiting = [(path, line) for path, lines in logs.items() for line in lines]
        rng.shuffle(self.waiting)
        self.there = {}

    def some(self):
        """A few more lines arrive; False when all have."""
        count = self.rng.randint(1, 6)
        now, self.waiting = self.waiting[:count], self.waiting[count:]
        for path in {path for path, _ in now}:
            fresh = [line for where, line in now if where == path]
            before = self.there.get(path, [])
            after = union.split(union.join({*before, *fresh}))
            if after[: len(before)] == before and self.rng.random() < 0.7:
                self.branch.append(path, *after[len(before) :])
            else:
                self.branch.replace(path, *after)
            self.there[path] = after
        return bool(now)


def assert_as_from_scratch(branch, logs):
    other = kit.Branch(branch.folder + "/scratch")
    try:
        for path, lines in logs.items():
            other.replace(path, *union.split(union.join(lines)))
        other.catch_up()
        assert branch.tables(without=VIEW) == other.tables(without=VIEW)
        assert inboxes(branch) == inboxes(other)
    finally:
        other.close()


@settings(print_blob=True, max_examples=25)
@given(scenes.logs(), st.integers(0, 2**32), st.sampled_from([1, 3, 4000]))
def test_what_an_agent_sees_is_a_function_of_the_set_of_events(logs, seed, batch):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", batch)
        branch = kit.Branch(folder)
        branch.catch_up()
        arrival = Arrival(branch, logs, random.Random(seed))
        while arrival.some():
            branch.catch_up()
        patch.setattr(module, "_BATCH", 4000)
        assert_as_from_scratch(branch, logs)
        branch.close()


@given(scenes.logs(largest=12), st.integers(0, 2**32), st.sampled_from(["delete", "empty", "half", "noise", "version"]))
def test_damage_to_the_database_at_any_moment_is_healed(logs, seed, damage):
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        arrival = Arrival(branch, logs, rng)
        while arrival.some():
            branch.catch_up()
            if rng.random() < 0.4:
                branch.close()
                do_damage(branch.database, damage, rng)
        branch.catch_up()
        assert_as_from_scratch(branch, logs)
        branch.close()


def do_damage(path, damage, rng):
    if damage == "delete":
        os.unlink(path)
    elif damage == "empty":
        os.truncate(path, 0)
    elif damage == "half":
        os.truncate(path, os.path.getsize(path) // 2)
    elif damage == "noise":
        with open(path, "r+b") as file:
            file.seek(0)
            file.write(rng.randbytes(5000))
    else:
        connection = sqlite3.connect(path)
        connection.execute("UPDATE state SET value = 99 WHERE key = 'version'")
        connection.commit()
        connection.close()


@pytest.mark.parametrize("damage", ["delete", "empty", "half", "noise", "version"])
def test_damage_under_an_open_projection_is_healed(branch, damage):
    lines = kit.chained([kit.register("ann"), *(kit.message("bob", f"text {n}" * 20, n) for n in range(300))])
    branch.append(f"messages/ann/{kit.HERE}/0000/00.jsonl", lines[0])
    branch.append(f"messages/bob/{kit.HERE}/0000/00.jsonl", *lines[1:200])
    branch.catch_up()
    branch.projection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    do_damage(branch.database, damage, random.Random(1))
    branch.append(f"messages/bob/{kit.HERE}/0000/00.jsonl", *lines[200:])
    branch.catch_up()
    assert branch.mail.page("ann", Filter(), 10, 1).total == 300
    assert branch.mail.unread_count("ann") == 300
    assert branch.tables() == branch.rebuilt()
    branch.close()
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()


@pytest.mark.parametrize("damage", ["delete", "empty", "half", "noise"])
def test_damage_is_healed_when_nothing_new_has_arrived_since(branch, damage):
    branch.append(f"messages/ann/{kit.HERE}/0000/00.jsonl", kit.register("ann"))
    branch.append(f"messages/bob/{kit.HERE}/0000/00.jsonl", *(kit.message("bob", "text " * 50, n) for n in range(300)))
    branch.catch_up()
    branch.close()
    do_damage(branch.database, damage, random.Random(1))
    branch.catch_up()
    assert branch.mail.page("ann", Filter(), 300, 1).messages[-1]["body"]["content"] == "text " * 50
    assert branch.tables() == branch.rebuilt()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("is_open", [False, True])
def test_an_answer_out_of_a_damaged_database_is_given_once_more_from_the_logs(branch, seed, is_open):
    rng = random.Random(seed)
    branch.say("ann", kit.register("ann"))
    branch.say("bob", *(kit.message("bob", f"{n} text " * 50, n) for n in range(300)))
    branch.catch_up()
    branch.projection.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if not is_open:
        branch.close()
    size = os.path.getsize(branch.database)
    with open(branch.database, "r+b") as file:
        file.seek(rng.randrange(size))
        file.write(rng.randbytes(rng.choice([100, 5000, size // 2])))
    branch.catch_up()
    page = branch.projection.answer(lambda: branch.mail.page("ann", Filter(), 400, 1), lambda: True)
    assert page.total == len(page.messages) == 300


def test_a_database_deleted_under_an_open_projection_is_news_to_whoever_waits(branch):
    branch.say("bob", kit.message("bob"))
    branch.catch_up()
    os.unlink(branch.database)
    assert branch.catch_up() is REBUILT
    assert branch.catch_up() is NOTHING


def test_a_stray_write_ahead_log_is_not_replayed_into_another_database(branch):
    branch.say("bob", *(kit.message("bob", at=n) for n in range(20)))
    branch.catch_up()
    branch.say("bob", *(kit.message("bob", at=n) for n in range(20, 40)))
    branch.catch_up()
    shutil.copy(branch.database + "-wal", branch.folder + "/wal")
    branch.close()
    os.unlink(branch.database)
    shutil.copy(branch.folder + "/wal", branch.database + "-wal")
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()
    assert branch.projection.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_nothing_new_is_nothing(branch):
    assert branch.catch_up() is NOTHING
    branch.say("bob", kit.message("bob"))
    branch.catch_up()
    assert branch.catch_up() is NOTHING


def test_news_name_the_new_messages_and_tell_own_eager_events_from_others(branch):
    branch.catch_up()
    theirs, mine = kit.message("bob"), kit.message("ann")
    branch.say("bob", theirs, origin=kit.THERE)
    assert branch.catch_up() == ((theirs["message_id"],), 1, False)
    branch.say("ann", mine)
    assert branch.catch_up() == ((mine["message_id"],), 1, True)
    branch.say("ann", kit.event("message.read", agent_id="ann", message_ids=[theirs["message_id"]]))
    assert branch.catch_up() == ((), 1, False)


def test_a_file_replaced_by_a_longer_one_is_read_again(branch):
    first, second, third = (kit.message("bob", at=n) for n in range(3))
    branch.replace(f"messages/bob/{kit.HERE}/0000/00.jsonl", first, third)
    branch.catch_up()
    branch.replace(f"messages/bob/{kit.HERE}/0000/00.jsonl", first, second, third)
    assert branch.catch_up().messages == (second["message_id"],)
    assert branch.tables() == branch.rebuilt()


def test_a_file_that_got_its_old_inode_back_with_another_content_is_read_again(branch):
    name = f"messages/bob/{kit.HERE}/0000/00.jsonl"
    first, second, third = (kit.message("bob", at=n) for n in range(3))
    branch.replace(name, third)
    branch.catch_up()
    inode = os.stat(branch.path(name)).st_ino
    branch.replace(name, second, third)
    branch.replace(name, first, second, third)
    if os.stat(branch.path(name)).st_ino != inode:  # this file system gives no inode twice so soon
        with open(branch.path(name), "r+b") as file:
            file.write(b"".join(kit.raw(event) + b"\n" for event in (first, second, third)))
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()


@pytest.mark.parametrize("gone", ["lines", "segment", "folder", "log"])
def test_logs_put_back_from_an_older_copy_are_all_there_is(branch, gone):
    """Somebody restores `.git` from a backup, and not the read model: it must not know more than the logs do."""
    said = kit.chained([kit.register("ann"), *(kit.message("ann", f"text {n}", n) for n in range(4))])
    other = kit.chained([kit.register("bob"), kit.message("bob", "hello", 9)])
    for segment, lines in (("0000/00", said[:2]), ("0000/01", said[2:4]), ("0001/00", said[4:])):
        branch.append(f"messages/ann/{kit.HERE}/{segment}.jsonl", *lines)
    branch.append(f"messages/bob/{kit.HERE}/0000/00.jsonl", *other)
    branch.catch_up()
    if gone == "lines":
        branch.replace(f"messages/ann/{kit.HERE}/0001/00.jsonl", b"")
    elif gone == "segment":
        os.unlink(branch.path(f"messages/ann/{kit.HERE}/0000/01.jsonl"))
    else:
        shutil.rmtree(branch.path(f"messages/ann/{kit.HERE}/0001" if gone == "folder" else "messages/bob"))
    assert branch.catch_up() == REBUILT
    assert branch.tables() == branch.rebuilt()


def test_logs_that_are_gone_altogether_are_waited_for(branch):
    """The next sync brings them back from the branch; until then mail is not hidden."""
    branch.say("ann", kit.message("ann", "hello", message_id="msg_1"))
    branch.catch_up()
    os.rename(branch.root + "/messages", branch.root + "/away")
    branch.catch_up()
    assert branch.mail.get("msg_1")
    os.rename(branch.root + "/away", branch.root + "/messages")
    assert branch.catch_up().messages == () and branch.mail.get("msg_1")


def test_a_sealed_segment_rewritten_among_others_is_noticed(branch):
    messages = [kit.message("bob", at=n) for n in range(6)]
    for number in range(3):
        branch.say("bob", messages[2 * number], segment=number)
    branch.catch_up()
    branch.replace(f"messages/bob/{kit.HERE}/0000/01.jsonl", messages[2], messages[3])
    assert branch.catch_up().messages == (messages[3]["message_id"],)
    branch.say("bob", messages[5], segment=2)
    assert branch.catch_up().messages == (messages[5]["message_id"],)


def test_new_segments_and_new_folders_and_new_logs_are_noticed(branch):
    branch.catch_up()
    for owner, origin, folder, number in [
        ("ann", kit.HERE, "0000", 0),
        ("ann", kit.HERE, "0000", 1),
        ("ann", kit.HERE, "0001", 0),
        ("ann", kit.THERE, "0000", 0),
        ("bob", kit.HERE, "0000", 0),
    ]:
        said = kit.message(owner)
        branch.append(f"messages/{owner}/{origin}/{folder}/{number:02x}.jsonl", said)
        assert branch.catch_up().messages == (said["message_id"],)


def test_an_unfinished_line_waits_for_its_end(branch):
    said = kit.message("bob")
    path = branch.path(f"messages/bob/{kit.HERE}/0000/00.jsonl")
    line = kit.raw(said)
    with open(path, "ab", buffering=0) as file:
        file.write(line[:20])
        branch.catch_up()
        assert branch.mail.get(said["message_id"]) is None and branch.mail.bad_lines() == []
        file.write(line[20:] + b"\n")
    branch.catch_up()
    assert branch.mail.get(said["message_id"]) is not None and branch.mail.bad_lines() == []


@pytest.mark.parametrize(
    "stray",
    [
        "notes.txt",
        "messages/x.txt",
        "messages/bob/readme",
        f"messages/bob/{kit.HERE}/0000/zz.jsonl",
        f"messages/bob/{kit.HERE}/0000/00.jsonl.tmp",
        "messages/BOB!/0000000000aa/0000/00.jsonl",
        "messages/deep/er/and/deep/er.jsonl",
    ],
)
def test_files_that_are_no_logs_are_passed_over(branch, stray):
    said = kit.message("bob")
    branch.say("bob", said)
    branch.append(stray, kit.message("bob"), b"garbage")
    branch.catch_up()
    assert branch.mail.page("", Filter(everything=True), 9, 1).total == 1
    assert branch.mail.bad_lines() == []


@pytest.mark.parametrize("kind", ["directory", "link", "dangling", "pipe", "folder_link"])
def test_what_is_no_plain_file_is_not_read(branch, kind):
    said = kit.message("bob")
    branch.say("bob", said, segment=1)
    secret = branch.folder + "/secret"
    with open(secret, "wb") as file:
        file.write(kit.raw(kit.message("bob")) + b"\n")
    path = branch.path(f"messages/bob/{kit.HERE}/0000/00.jsonl")
    if kind == "directory":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder_link":
        os.symlink(branch.folder, f"{branch.root}/messages/eve")
    else:
        os.symlink(secret if kind == "link" else secret + "x", path)
    branch.catch_up()
    assert [m["message_id"] for m in branch.mail.page("", Filter(everything=True), 9, 1).messages] == [
        said["message_id"]
    ]


def test_names_that_are_not_utf8_are_passed_over(branch):
    said = kit.message("bob")
    branch.say("bob", said)
    for name in (b"messages/\xff/0000000000aa/0000", b"messages/bob/\xff/0000", b"messages/bob/0000000000aa/\xff"):
        folder = os.fsencode(branch.root) + b"/" + name
        os.makedirs(folder)
        with open(folder + b"/00.jsonl", "wb") as file:
            file.write(kit.raw(kit.message("bob")) + b"\n")
    branch.catch_up()
    assert branch.mail.page("", Filter(everything=True), 9, 1).total == 1


@pytest.mark.parametrize("bad", [b"garbage", b"{}", b'{"a":NaN}', b"[" * 100_000, b'{"a":"\xff"}', b"9" * 5000])
def test_a_line_that_is_no_event_is_set_aside_and_its_neighbours_count(branch, bad):
    before, after = kit.message("bob"), kit.message("bob")
    branch.say("bob", before, bad, after)
    branch.catch_up()
    aside = branch.mail.bad_lines()
    assert [(line["path"], line["offset"], line["length"]) for line in aside] == [
        (f"messages/bob/{kit.HERE}/0000/00.jsonl", len(kit.raw(before)) + 1, len(bad))
    ]
    assert aside[0]["reason"]
    assert branch.mail.page("", Filter(everything=True), 9, 1).total == 2


def test_windows_line_ends_and_empty_lines_do_no_harm(branch):
    one, two = kit.message("bob"), kit.message("bob")
    branch.say("bob", b"", kit.raw(one) + b"\r", b"", kit.raw(two), b"\r")
    branch.catch_up()
    assert branch.mail.page("", Filter(everything=True), 9, 1).total == 2


def test_a_line_of_more_than_a_megabyte_is_read(branch):
    said = kit.message("bob", "x" * 1_500_000)
    branch.say("bob", said)
    branch.catch_up()
    assert len(branch.mail.get(said["message_id"])["body"]["content"]) == 1_500_000


def test_unicode_line_separators_do_not_cut_a_line(branch):
    text = "a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\0h\ufeff"
    said = kit.message("bob", text)
    line = kit.raw(said).replace(b"\\u2028", "\u2028".encode())
    branch.say("bob", line)
    branch.catch_up()
    assert branch.mail.get(said["message_id"])["body"]["content"] == text


def test_the_place_of_a_message_follows_a_file_that_was_rewritten(branch):
    name = f"messages/bob/{kit.HERE}/0000/00.jsonl"
    early, late = kit.message("bob", at=1), kit.message("bob", at=2)
    branch.replace(name, late)
    branch.catch_up()
    branch.replace(name, early, late)
    branch.catch_up()
    size = os.path.getsize(branch.path(name))
    assert branch.mail.place_of(late["message_id"]) == (name, size)


@pytest.mark.parametrize("again", ["never", "and then more " * 9, "x"])
@pytest.mark.parametrize("to", [["cat"], ["reviewer_03fjevz0bb", "implementer_03fjevz0bb", "planner"]])
def test_a_failed_write_that_somebody_saw_is_forgotten_again(branch, monkeypatch, again, to):
    """Between a write and its failing fdatasync another process may look; what it saw was never acknowledged."""
    from thrum.store.journal import Journal

    journal = Journal(branch.root, kit.HERE)
    kept, failed, longer = kit.message("bob"), kit.message("bob", "never", to=to), kit.message("bob", again, to=to)
    journal.append("bob", kept)
    branch.catch_up()

    def fail(descriptor):
        branch.catch_up()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(ThrumError):
        journal.append("bob", failed)
    monkeypatch.undo()
    journal.append("bob", longer)
    branch.catch_up()
    assert branch.mail.get(longer["message_id"]) is not None
    assert branch.mail.bad_lines() == []
    assert branch.tables() == branch.rebuilt()


def test_two_processes_may_catch_up_at_once(branch):
    errors = []

    def follow(number):
        mine = branch.open()
        try:
            for _ in range(40):
                mine.catch_up()
        except Exception as error:
            errors.append(error)
        finally:
            mine.database.close()

    threads = [threading.Thread(target=follow, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        branch.say("bob", kit.message("bob", at=number))
        branch.say("ann", kit.message("ann", at=number), origin=kit.THERE)
    for thread in threads:
        thread.join()
    branch.catch_up()
    assert errors == []
    assert branch.tables() == branch.rebuilt()


CHILD = """
import os, sys
from thrum.store import projection
from thrum.store.projection import Fold, Projection
root, database, own, after, mode = sys.argv[1:]
projection._BATCH = 5
fold, done = Fold._fold, []
def dying(self):
    fold(self)
    done.append(1)
    if len(done) == int(after):
        os._exit(9)
Fold._fold = dying
made = Projection(root, database, own)
made.rebuild() if mode == "rebuild" else made.catch_up()
print("whole")
"""


def run_child(branch, after, mode="catch_up"):
    command = [sys.executable, "-c", CHILD, branch.root, branch.database, branch.own, str(after), mode]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=os.path.dirname(kit.FIXTURES)
    )


@pytest.mark.parametrize("mode", ["catch_up", "rebuild"])
@pytest.mark.parametrize("after", [1, 3])
def test_a_process_killed_in_the_middle_leaves_everything_consistent(branch, mode, after):
    branch.say("bob", *(kit.message("bob", at=n) for n in range(10)))
    branch.catch_up()
    before = branch.tables()
    for segment in range(6):
        branch.say("bob", *(kit.message("bob", at=n) for n in range(10)), segment=segment)
    assert run_child(branch, after, mode).returncode == 9
    other = branch.open()
    assert kit.dump(other.connection) == before
    other.catch_up()
    assert kit.dump(other.connection) == branch.rebuilt()
    other.database.close()


def test_a_process_killed_while_it_builds_the_first_database_leaves_no_half_one(branch):
    for segment in range(4):
        branch.say("bob", *(kit.message("bob", at=n) for n in range(10)), segment=segment)
    assert run_child(branch, 2).returncode == 9
    assert not os.path.exists(branch.database)
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()


def test_what_a_killed_build_left_behind_is_swept_away_by_the_next(branch):
    for segment in range(4):
        branch.say("bob", *(kit.message("bob", at=n) for n in range(10)), segment=segment)
    assert run_child(branch, 2).returncode == 9
    branch.catch_up()
    assert [name for name in os.listdir(os.path.dirname(branch.database)) if ".new" in name] == []


def test_the_database_is_nobody_elses_to_read(branch):
    branch.say("bob", kit.message("bob"))
    branch.catch_up()
    for name in os.listdir(os.path.dirname(branch.database)):
        assert os.stat(os.path.join(os.path.dirname(branch.database), name)).st_mode & 0o077 == 0, name


def test_another_process_that_reads_on_between_two_looks_at_a_file_is_no_reason_to_build_anew(branch, monkeypatch):
    branch.say("ann", kit.message("ann", "one"))
    branch.catch_up()
    other, real, meanwhile = branch.open(), os.stat, [True]

    def slow(path, **options):
        found = real(path, **options)
        if meanwhile and str(path).endswith("00.jsonl"):
            meanwhile.clear()
            branch.say("ann", kit.message("ann", "two"))
            other.catch_up()
        return found

    monkeypatch.setattr(module.news.os, "stat", slow)
    generation = branch.projection.database.generation
    found = branch.catch_up()
    assert not meanwhile and found is not REBUILT
    assert branch.projection.database.generation == generation
    other.database.close()


def test_a_file_in_the_place_of_the_logs_is_read_as_none(tmp_path):
    (tmp_path / "a-sync").write_text("")
    projection = module.Projection(str(tmp_path / "a-sync"), str(tmp_path / "read.db"), kit.HERE)
    assert projection.catch_up().events == 0
    projection.database.close()


def test_a_segment_of_our_own_that_is_gone_with_the_time_of_its_folder_is_noticed(branch):
    """A copy from before it was begun took the place of everything, times included."""
    one, two = f"messages/ann/{kit.HERE}/0000/00.jsonl", f"messages/ann/{kit.HERE}/0000/01.jsonl"
    folder = os.path.dirname(branch.path(one))
    branch.append(one, kit.message("ann", "one"))
    os.utime(folder, (1000, 1000))
    branch.catch_up()
    branch.append(two, kit.message("ann", "two"))
    assert branch.projection.take([two]).events == 1
    os.unlink(branch.path(two))
    os.utime(folder, (1000, 1000))
    branch.catch_up()
    assert branch.tables() == branch.rebuilt()


def test_a_file_that_could_not_be_read_is_read_as_soon_as_it_can_be(branch, monkeypatch):
    branch.projection.glances = True
    branch.say("ann", kit.message("ann", "one"))
    branch.catch_up()
    branch.catch_up()
    assert branch.projection.is_current()
    branch.say("ann", kit.message("ann", "two"))
    (path,) = [name for name in kit.files(branch.root) if "/ann/" in name]

    def read(path, start=0):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "read", read)
        assert branch.projection.take([path]).messages == ()
    assert not branch.projection.is_current()
    assert len(branch.projection.catch_up().messages) == 1
