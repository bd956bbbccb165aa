import errno
import os
import stat

import pytest

from thrum.errors import StorageError
from thrum.store import disk


def fail_with(number):
    def failing(*arguments, **more):
        raise OSError(number, os.strerror(number))

    return failing


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_append_makes_the_file_and_its_folders_for_the_owner_only(tmp_path):
    path = f"{tmp_path}/a/b/log"
    disk.append(path, b"one\n")
    disk.append(path, b"two\n")
    assert disk.read(path) == b"one\ntwo\n"
    assert mode(path) == 0o600 and mode(f"{tmp_path}/a") == mode(f"{tmp_path}/a/b") == 0o700


@pytest.mark.parametrize("call", ["write", "fdatasync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_failed_append_leaves_the_file_as_it_was(tmp_path, monkeypatch, call, number):
    path = f"{tmp_path}/log"
    disk.append(path, b"one\n")
    monkeypatch.setattr(os, call, fail_with(number))
    with pytest.raises(OSError):
        disk.append(path, b"two\n")
    monkeypatch.undo()
    assert disk.read(path) == b"one\n"


def test_a_write_that_takes_less_than_all_is_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    disk.append(f"{tmp_path}/log", b"0123456789\n")
    assert disk.read(f"{tmp_path}/log") == b"0123456789\n"


def test_half_a_write_and_then_no_room_leaves_nothing(tmp_path, monkeypatch):
    real, calls = os.write, []

    def half(descriptor, data):
        if calls:
            raise OSError(errno.ENOSPC, "no room")
        calls.append(1)
        return real(descriptor, bytes(data)[:3])

    disk.append(f"{tmp_path}/log", b"one\n")
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError):
        disk.append(f"{tmp_path}/log", b"two\n")
    monkeypatch.undo()
    assert disk.read(f"{tmp_path}/log") == b"one\n"


def test_an_append_syncs_the_data_and_a_new_file_its_folder(tmp_path, monkeypatch):
    synced = []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda d, n=name, r=real: (synced.append((n, os.readlink(f"/proc/self/fd/{d}"))), r(d))
        )
    path = f"{tmp_path}/new/log"
    disk.append(path, b"x\n")
    assert (
        ("fdatasync", path) in synced and ("fsync", f"{tmp_path}/new") in synced and ("fsync", str(tmp_path)) in synced
    )
    synced.clear()
    disk.append(path, b"y\n")
    assert synced == [("fdatasync", path)]


def test_replace_is_all_or_nothing(tmp_path, monkeypatch):
    path = f"{tmp_path}/state"
    disk.replace(path, b"old")
    for call in ("write", "fsync", "replace"):
        monkeypatch.setattr(os, call, fail_with(errno.ENOSPC))
        with pytest.raises(OSError):
            disk.replace(path, b"new")
        monkeypatch.undo()
        assert disk.read(path) == b"old" and {*os.listdir(tmp_path)} == {"state", "home"}
    disk.replace(path, b"new")
    assert disk.read(path) == b"new" and mode(path) == 0o600


def test_replace_replaces_a_symlink_and_does_not_follow_it(tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"keep")
    os.symlink(target, tmp_path / "state")
    disk.replace(f"{tmp_path}/state", b"new")
    assert target.read_bytes() == b"keep" and not os.path.islink(tmp_path / "state")


def test_append_and_read_do_not_follow_a_symlink(tmp_path):
    target = tmp_path / "precious"
    target.write_bytes(b"keep")
    os.symlink(target, tmp_path / "log")
    with pytest.raises(OSError):
        disk.append(f"{tmp_path}/log", b"evil")
    with pytest.raises(OSError):
        disk.read(f"{tmp_path}/log")
    assert target.read_bytes() == b"keep"


def test_reading_what_is_not_there_is_nothing(tmp_path):
    assert disk.read(f"{tmp_path}/nothing") == b""


def test_reading_starts_where_it_is_told(tmp_path):
    disk.append(f"{tmp_path}/log", b"0123456789")
    assert disk.read(f"{tmp_path}/log", 7) == b"789" and disk.read(f"{tmp_path}/log", 70) == b""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_lock_is_held_by_one_at_a_time(tmp_path, what):
    path = f"{tmp_path}/lock"
    if what == "folder":
        os.mkdir(path)
    with disk.locked(path):
        assert disk.try_lock(path) is None
    descriptor = disk.try_lock(path)
    assert descriptor is not None
    os.close(descriptor)


def test_a_shared_lock_is_held_by_many(tmp_path):
    with disk.locked(f"{tmp_path}/lock", shared=True), disk.locked(f"{tmp_path}/lock", shared=True):
        assert disk.try_lock(f"{tmp_path}/lock") is None


def test_a_lock_is_let_go_when_the_work_fails(tmp_path):
    with pytest.raises(RuntimeError), disk.locked(f"{tmp_path}/lock"):
        raise RuntimeError
    with disk.locked(f"{tmp_path}/lock"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_every_refusal_of_the_disk_says_what_we_did_and_what_to_do(number):
    with pytest.raises(StorageError) as caught, disk.explained("write the log"):
        raise OSError(number, os.strerror(number))
    assert "write the log" in str(caught.value) and os.strerror(number) in str(caught.value) and caught.value.hint


def flushed_folders(monkeypatch):
    """The folders that are flushed from now on."""
    found = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: found.append(os.readlink(f"/proc/self/fd/{file}")) or real(file))
    return found


def test_a_file_without_content_counts_as_new_and_the_whole_way_to_it_is_flushed(tmp_path, monkeypatch):
    """Whoever made it, and its folders, was killed before they were durable."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "log").touch()
    flushed = flushed_folders(monkeypatch)
    disk.append(f"{tmp_path}/a/b/log", b"one\n", str(tmp_path))
    assert flushed == [f"{tmp_path}/a/b", f"{tmp_path}/a", str(tmp_path)]
    disk.append(f"{tmp_path}/a/b/log", b"two\n", str(tmp_path))
    assert len(flushed) == 3


def test_a_temporary_file_that_a_killed_writer_left_is_removed_and_a_living_ones_is_not(tmp_path):
    dead, alive, young, foreign = (
        tmp_path / name for name in (".note.0123456789ab", ".note.ffffffffffff", ".note.00000000ffff", ".note.swp")
    )
    for path in (dead, alive, young, foreign):
        path.touch()
    for path in (dead, alive, foreign):
        os.utime(path, (0, 0))
    with disk.locked(str(alive)):
        disk.replace(f"{tmp_path}/note", b"hello")
    left = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert left == {"note", alive.name, young.name, foreign.name}


def test_sweeping_a_folder_takes_the_temporary_files_of_every_name(tmp_path):
    for name in (".one.0123456789ab", ".two.0123456789ab"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    disk.sweep(str(tmp_path))
    assert not any(path.is_file() for path in tmp_path.iterdir())


@pytest.mark.parametrize("number", sorted(set(disk.CURES) - {errno.EACCES, errno.EPERM}))
def test_the_machine_is_blamed_for_what_is_its_fault_with_a_next_step(number):
    with pytest.raises(StorageError) as caught, disk.blamed():
        raise OSError(number, os.strerror(number), "/some/file")
    assert os.strerror(number) in str(caught.value) and "/some/file" in str(caught.value) and caught.value.hint


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EBADF])
def test_the_machine_is_not_blamed_for_a_mistake_of_ours(number):
    with pytest.raises(OSError) as caught, disk.blamed():
        raise OSError(number, os.strerror(number))
    assert caught.value.errno == number
