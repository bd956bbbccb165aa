import errno
import multiprocessing
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import codec, layout
from thrum.errors import BadParams, StorageError
from thrum.store import log as module
from thrum.store.log import Log, line_hash


@pytest.fixture
def log(tmp_path):
    return Log(f"{tmp_path}/sync/a-sync", "ann", kit.HERE)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1000)
    monkeypatch.setattr(layout, "SEGMENTS_PER_FOLDER", 4)


def lines(log):
    """Every line of the log, in order of its segments."""
    found = []
    for path, data in sorted(kit.files(log.folder).items()):
        assert data.endswith(b"\n") or not data, path
        found += data.split(b"\n")[:-1]
    return found


def assert_unbroken(log, count):
    said = lines(log)
    assert len(said) == count
    prev = ""
    for seq, line in enumerate(said, 1):
        event = codec.decode(line)
        assert (event["seq"], event["prev"], event["origin"], event["v"]) == (seq, prev, kit.HERE, 1)
        assert codec.encode(event) == line
        prev = line_hash(line)


def some(count, text="hello"):
    return [kit.message("ann", text) for _ in range(count)]


def test_lines_are_numbered_without_gaps_and_chained(log):
    log.append(some(3))
    log.append(some(1))
    Log(log.root, "ann", kit.HERE).append(some(2))
    log.append(some(1))
    assert_unbroken(log, 7)


def test_what_the_event_says_of_its_own_place_is_overruled(log):
    log.append([{**kit.message("ann"), "seq": 99, "prev": "x", "origin": "y", "v": 7}])
    assert_unbroken(log, 1)


def test_appending_nothing_changes_nothing(log):
    log.append(some(1))
    before = kit.files(log.root)
    log.append([])
    assert kit.files(log.root) == before
    log.append(some(1))
    assert_unbroken(log, 2)


def test_appending_nothing_makes_durable_what_a_killed_writer_did_not(log, monkeypatch):
    log.append(some(1))
    flushed = []
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, call, lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    log.append([])
    assert log._path(0) in flushed and log.root in flushed


def test_a_segment_is_sealed_before_it_grows_beyond_its_size(log, small):
    for _ in range(40):
        log.append(some(1))
    found = kit.files(log.folder)
    assert max(map(len, found.values())) <= 1000
    assert sorted(found)[:5] == ["0000/00.jsonl", "0000/01.jsonl", "0000/02.jsonl", "0000/03.jsonl", "0001/00.jsonl"]
    assert_unbroken(log, 40)


def test_sealed_segments_never_change_again(log, small):
    for _ in range(10):
        log.append(some(1))
    before = kit.files(log.folder)
    for _ in range(10):
        Log(log.root, "ann", kit.HERE).append(some(1))
    after = kit.files(log.folder)
    sealed = sorted(before)[:-1]
    assert {path: before[path] for path in sealed} == {path: after[path] for path in sealed}
    assert after[max(before)].startswith(before[max(before)])


def test_a_line_longer_than_a_segment_gets_one_of_its_own(log, small):
    log.append(some(1))
    log.append(some(1, "x" * 5000))
    log.append(some(1))
    assert len(kit.files(log.folder)) == 3
    assert_unbroken(log, 3)


def test_one_append_may_span_segments_and_folders(log, small):
    log.append(some(40))
    assert len({path.split("/")[0] for path in kit.files(log.folder)}) > 1
    log.append(some(1))
    assert_unbroken(log, 41)


def test_real_segments_are_64_kilobytes(log):
    log.append(some(100, "x" * 2000))
    sizes = [len(data) for _, data in sorted(kit.files(log.folder).items())]
    assert all(60_000 < size <= 65_536 for size in sizes[:-1]) and len(sizes) > 2


def append_many(root, number, count):
    for mark in range(count):
        Log(root, "ann", kit.HERE).append([kit.message("ann", f"{number}/{mark}")])


def test_many_processes_may_append_at_once(log):
    context = multiprocessing.get_context("spawn" if os.environ.get("THRUM_TEST_SPAWN") else "fork")
    workers = [context.Process(target=append_many, args=(log.root, number, 50)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    said = [codec.decode(line)["body"]["content"] for line in lines(log)]
    assert sorted(said) == sorted(f"{number}/{mark}" for number in range(8) for mark in range(50))
    assert_unbroken(log, 400)


@pytest.mark.parametrize("torn", [b'{"type":"mess', b"{", b"\xff\xff", b"x" * 5000])
def test_what_a_killed_writer_left_unfinished_is_moved_to_quarantine(log, torn):
    log.append(some(2))
    path = f"{log.folder}/0000/00.jsonl"
    with open(path, "ab") as file:
        file.write(torn)
    Log(log.root, "ann", kit.HERE).append(some(1))
    assert_unbroken(log, 3)
    kept = kit.files(os.path.dirname(log.root) + "/quarantine")
    assert list(kept.values()) == [torn]


def test_a_writer_that_was_open_before_the_crash_of_another_heals_too(log):
    log.append(some(1))
    with open(f"{log.folder}/0000/00.jsonl", "ab") as file:
        file.write(b"torn")
    log.append(some(1))
    assert_unbroken(log, 2)


def test_a_whole_line_of_garbage_stays_and_the_chain_goes_on_behind_it(log):
    log.append(some(2))
    with open(f"{log.folder}/0000/00.jsonl", "ab") as file:
        file.write(b"garbage\n")
    Log(log.root, "ann", kit.HERE).append(some(1))
    said = lines(log)
    assert said[2] == b"garbage"
    assert codec.decode(said[3])["seq"] == 3


def failing_after(calls, name, number):
    real = getattr(os, name)

    def maybe(*arguments):
        calls[0] -= 1
        if calls[0] < 0:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    return maybe


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_failed_append_leaves_the_log_as_it_was_and_the_next_works(
    log, small, monkeypatch, number, call, first, after
):
    if not first:
        log.append(some(3))
    before = lines(log) if not first else []
    monkeypatch.setattr(os, call, failing_after([after], call, number))
    try:
        log.append(some(12))
        failed = False
    except StorageError as error:
        failed = True
        assert os.strerror(number) in str(error)
    monkeypatch.undo()
    if failed:
        assert (lines(log) if os.path.isdir(log.folder) else []) == before
    log.append(some(1))
    assert_unbroken(log, len(before) + 1 + (0 if failed else 12))


def test_a_write_that_takes_less_than_all_is_continued(log, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:7]))
    log.append(some(2))
    assert_unbroken(log, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": None}])
def test_what_no_line_can_hold_is_refused_and_nothing_of_the_batch_is_stored(log, value):
    log.append(some(1))
    if isinstance(value, dict):
        for _ in range(5000):
            value = {"deep": value}
    before = kit.files(log.root)
    with pytest.raises(BadParams):
        log.append([*some(2), {**kit.message("ann"), "more": value}])
    assert kit.files(log.root) == before
    log.append(some(1))
    assert_unbroken(log, 2)


def test_a_line_that_is_too_long_is_refused_and_nothing_is_stored(log):
    log.append(some(1))
    before = kit.files(log.root)
    with pytest.raises(BadParams):
        log.append([*some(1), *some(1, "x" * codec.LONGEST_LINE)])
    assert kit.files(log.root) == before


def test_a_log_replaced_by_the_sync_is_continued_where_it_now_ends(log):
    log.append(some(2))
    other = kit.chained(some(5))
    path = f"{log.folder}/0000/00.jsonl"
    with open(path + ".new", "wb") as file:
        file.write(b"".join(line + b"\n" for line in other))
    os.replace(path + ".new", path)
    log.append(some(1))
    assert_unbroken(log, 6)


def test_a_symlink_in_the_place_of_a_segment_is_set_aside_and_not_followed(log, tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"keep\n")
    os.makedirs(f"{log.folder}/0000")
    os.symlink(target, f"{log.folder}/0000/00.jsonl")
    log.append(some(1))
    assert target.read_bytes() == b"keep\n"
    (kept,) = os.listdir(os.path.dirname(log.root) + "/quarantine")
    assert os.readlink(f"{os.path.dirname(log.root)}/quarantine/{kept}") == str(target)
    assert os.path.isfile(f"{log.folder}/0000/00.jsonl")


@pytest.mark.parametrize(
    "stray", ["zzzz/00.jsonl", "0000/zz.jsonl", "0000/.hidden", "ffff", "readme", "0000/01.jsonl.tmp"]
)
def test_stray_files_in_the_log_do_not_lead_the_writer_astray(log, small, stray):
    for _ in range(6):
        log.append(some(1))
    path = f"{log.folder}/{stray}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"stray")
    Log(log.root, "ann", kit.HERE).append(some(1))
    os.unlink(path)
    assert_unbroken(log, 7)


def test_everything_is_for_the_owner_only(log):
    log.append(some(1))
    for folder, _, names in os.walk(log.root):
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            assert os.stat(path).st_mode & 0o077 == 0, path


def test_an_acknowledged_line_was_synced_to_the_disk(log, monkeypatch):
    synced = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda d: (synced.append(os.readlink(f"/proc/self/fd/{d}")), real(d)))
    log.append(some(2))
    assert synced == [f"{log.folder}/0000/00.jsonl"]


def test_a_batch_is_one_write(log, monkeypatch):
    log.append(some(1))
    written = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda d, data: (written.append(len(data)), real(d, data))[1])
    log.append(some(5))
    assert len(written) == 1


@given(st.lists(st.lists(st.integers(0, 900), max_size=5), max_size=12))
def test_whatever_the_sizes_the_log_is_unbroken(batches):
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "SEGMENT_BYTES", 1000)
        patch.setattr(layout, "SEGMENTS_PER_FOLDER", 3)
        patch.setattr(os, "fdatasync", lambda descriptor: None)
        patch.setattr(os, "fsync", lambda descriptor: None)
        log = Log(f"{folder}/a-sync", "ann", kit.HERE)
        for sizes in batches:
            log.append([kit.message("ann", "x" * size) for size in sizes])
        assert_unbroken(log, sum(map(len, batches)))


def test_a_line_hash_is_128_bits():
    assert len(module.line_hash(b"x")) == 32


def test_a_last_line_end_that_was_damaged_meanwhile_does_not_swallow_the_next_line(log):
    log.append(some(1))
    path = f"{log.folder}/0000/00.jsonl"
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x0b")
    log.append(some(2))
    with open(path, "rb") as file:
        assert [codec.decode(line)["origin"] for line in file.read().split(b"\n")[:-1]] == [log.origin] * 2
