"""Start, stop and status: one daemon, the truth, and a sentence for every trouble."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests import kit
from thrum import errors
from thrum.daemon import lifecycle, logfile
from thrum.daemon.lifecycle import owner, start, status, stop
from thrum.daemon.ownership import Ownership, birth, lock_path, pid_path
from thrum.errors import DaemonError, NotInitialised, Refused, StorageError
from thrum.git.place import Place, find

from .conftest import command

pytestmark = pytest.mark.usefixtures("daemons")


def is_gone(pid: int) -> bool:
    """Whether the process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def read_pid_file(place: Place) -> dict[str, object]:
    with open(pid_path(place)) as file:
        found: dict[str, object] = json.load(file)
    return found


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while not is_gone(pid):
        time.sleep(0.01)


def test_start_returns_when_the_daemon_answers_and_stop_when_it_is_gone(place: Place) -> None:
    started = start(place)
    assert lifecycle.ask(place.socket, "health")["pid"] == started.pid
    running = owner(place)
    assert running is not None
    assert running.pid == started.pid
    assert running.repo_path == place.worktree
    assert stop(place) == started.pid
    assert owner(place) is None
    assert is_gone(started.pid)
    assert not os.path.exists(place.socket)
    assert not os.path.exists(pid_path(place))
    assert os.path.exists(lock_path(place))


def test_the_pid_file_is_v010s(place: Place) -> None:
    started = start(place)
    record = read_pid_file(place)
    assert record["pid"] == started.pid
    assert record["socket_path"] == place.socket
    assert str(record["started_at"]).endswith("Z")
    assert os.stat(pid_path(place)).st_mode & 0o777 == 0o600


def test_a_second_start_is_refused_and_names_the_first(place: Place) -> None:
    started = start(place)
    with pytest.raises(Refused, match=f"already running.*{started.pid}"):
        start(place)


def test_stop_and_status_without_a_daemon(place: Place) -> None:
    with pytest.raises(Refused, match="not running"):
        stop(place)
    assert status(place) == {"running": False, "status": "stopped"}
    assert not os.path.exists(lock_path(place))


def test_status_tells_who_where_and_how_it_is(place: Place) -> None:
    started = start(place)
    told = status(place)
    assert told["running"] is True
    assert told["pid"] == started.pid
    assert told["version"]
    assert told["log"] == started.log
    assert told["sync_state"]


def test_a_repository_without_thrum_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "bare")], check=True)
    with pytest.raises(NotInitialised):
        start(find(str(tmp_path / "bare")))
    with pytest.raises(NotInitialised):
        Ownership(find(str(tmp_path / "bare")))


def test_after_a_kill_everything_starts_again(place: Place) -> None:
    kill(start(place).pid)
    while owner(place):  # its other threads end a moment later
        time.sleep(0.01)
    assert os.path.exists(place.socket)
    assert os.path.exists(pid_path(place))
    again = start(place)
    assert lifecycle.ask(place.socket, "health")["pid"] == again.pid


@pytest.mark.parametrize("garbage", ["", "{", "[1]", "null", "999999", '{"pid": "x"}', "\0\0", "4" * 5000, "[" * 10**5])
def test_a_pid_file_of_garbage_decides_nothing(place: Place, garbage: str) -> None:
    os.makedirs(place.var_dir, exist_ok=True)
    Path(pid_path(place)).write_text(garbage)
    assert owner(place) is None
    started = start(place)
    Path(pid_path(place)).write_text(garbage)
    found = owner(place)
    assert found is not None
    assert found.pid == started.pid
    assert stop(place) == started.pid


def test_stop_never_signals_a_process_that_only_has_the_pid(place: Place) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        os.makedirs(place.var_dir, exist_ok=True)
        record = {"pid": bystander.pid, "repo_path": place.worktree, "birth": birth(bystander.pid)}
        Path(pid_path(place)).write_text(json.dumps(record))
        with pytest.raises(Refused, match="not running"):
            stop(place)
        started = start(place)
        Path(pid_path(place)).write_text(json.dumps(record))
        assert stop(place) == started.pid
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_where_the_system_lists_no_locks_the_pid_file_or_the_socket_tells(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thrum.daemon.ownership._lock_holder", lambda path: 0)
    started = start(place)
    found = owner(place)
    assert found is not None
    assert found.pid == started.pid
    os.unlink(pid_path(place))
    assert owner(place) == lifecycle.Running(0)
    assert stop(place) == started.pid


def test_a_directory_that_git_clean_removed_makes_no_second_daemon(place: Place) -> None:
    started = start(place)
    shutil.rmtree(place.thrum_dir)
    with pytest.raises(Refused, match=str(started.pid)):
        start(place)
    assert stop(place) == started.pid


def test_from_a_linked_worktree_it_is_the_same_daemon(place: Place, tmp_path: Path) -> None:
    assert place.worktree
    linked = str(tmp_path / "linked")
    subprocess.run(["git", "worktree", "add", "-q", linked], cwd=place.worktree, check=True)
    started = start(find(linked))
    with pytest.raises(Refused):
        start(place)
    assert stop(place) == started.pid


def test_many_starts_make_one_daemon(place: Place) -> None:
    outcomes: list[object] = []
    logfile.path_for(place)  # the race is for the daemon, not for the user's own directories

    def attempt() -> None:
        try:
            outcomes.append(start(place))
        except Refused as refused:
            outcomes.append(refused)

    threads = [threading.Thread(target=attempt) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, lifecycle.Started) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 5


def test_asking_for_the_owner_does_not_keep_a_daemon_from_starting(place: Place) -> None:
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            owner(place)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(20):
            Ownership(place).close()
    finally:
        stopped.set()
        asking.join()


def test_a_running_v010_daemon_is_respected(place: Place) -> None:
    os.makedirs(place.var_dir, exist_ok=True)
    with open(os.path.join(place.var_dir, "thrum.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="already running"):
            start(place)
    start(place)


def test_a_lock_file_that_was_replaced_is_noticed(place: Place) -> None:
    ownership = Ownership(place)
    assert ownership.is_valid
    os.rename(lock_path(place), lock_path(place) + ".old")
    assert not ownership.is_valid
    with pytest.raises(Refused):  # v0.1.0's lock is held as well
        Ownership(place)
    ownership.close()


def test_children_do_not_inherit_the_lock(place: Place) -> None:
    ownership = Ownership(place)
    child = subprocess.Popen(["sleep", "60"])
    try:
        ownership.close()
        assert owner(place) is None
        Ownership(place).close()
    finally:
        child.kill()
        child.wait()


def test_the_childs_refusal_is_told_word_for_word(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "command", lambda place: command(place, "fail"))
    with pytest.raises(DaemonError, match="the disk is made of cheese") as caught:
        start(place)
    assert "buy another" in caught.value.hint
    assert ".log" in caught.value.hint


def test_a_child_that_dies_without_a_word_leaves_its_last_line(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "command", lambda place: command(place, "die"))
    with pytest.raises(DaemonError, match="a plain sentence"):
        start(place)


def test_a_program_that_is_missing_is_a_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "command", lambda place: ["/does/not/exist"])
    with pytest.raises(DaemonError, match="could not be started"):
        start(place)


def test_a_start_that_takes_too_long_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    spawned: list[subprocess.Popen[bytes]] = []

    class Remembered(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            spawned.append(self)

    monkeypatch.setattr(lifecycle, "command", lambda place: command(place, "hang"))
    monkeypatch.setattr(subprocess, "Popen", Remembered)
    with pytest.raises(DaemonError, match="not ready yet"):
        start(place, timeout=0.2)
    for process in spawned:
        process.kill()
        process.wait()


def test_a_directory_in_the_locks_place_is_a_sentence(place: Place) -> None:
    os.makedirs(place.thrum_dir, exist_ok=True)
    shutil.rmtree(place.var_dir, ignore_errors=True)
    Path(place.var_dir).write_text("a file")
    with pytest.raises(StorageError, match="cannot lock"):
        Ownership(place)
    with pytest.raises(DaemonError, match="cannot lock"):
        start(place)


def test_a_full_disk_is_a_sentence(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    ownership = Ownership(place)
    monkeypatch.setattr("thrum.daemon.ownership.disk.replace", refuse)
    with pytest.raises(StorageError, match="No space left"):
        ownership.announce("")
    ownership.close()


def test_nobodys_identity_and_none_of_gits_environment_reaches_the_daemon(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THRUM_NAME", "mallory")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "x")
    monkeypatch.setenv("GIT_SSH_COMMAND", "ssh -v")
    started = start(place)
    with open(f"/proc/{started.pid}/environ", "rb") as file:
        names = {item.split(b"=")[0].decode() for item in file.read().split(b"\0")}
    assert not names & {"THRUM_NAME", "GIT_DIR", "GIT_AUTHOR_NAME"}
    assert "GIT_SSH_COMMAND" in names
    assert os.readlink(f"/proc/{started.pid}/cwd") == "/"
    assert os.getsid(started.pid) == started.pid


def test_start_leaves_no_open_files_behind(place: Place) -> None:
    before = len(os.listdir("/proc/self/fd"))
    start(place)
    stop(place)
    assert len(os.listdir("/proc/self/fd")) == before


def test_two_repositories_do_not_touch_each_other(place: Place, tmp_path: Path) -> None:
    kit.set_up(kit.make_repository(tmp_path / "other")).close()
    other = find(str(tmp_path / "other"))
    first, second = start(place), start(other)
    assert first.log != second.log
    stop(place)
    assert lifecycle.ask(other.socket, "health")["pid"] == second.pid
    stop(other)


def test_a_start_on_a_warm_machine_is_quick(place: Place) -> None:
    start(place)
    stop(place)
    assert start(place).seconds < 8


def test_a_daemon_that_hangs_is_named(place: Place) -> None:
    started = start(place)
    os.kill(started.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DaemonError, match=f"{started.pid}.*did not stop"):
            stop(place, timeout=0.2)
    finally:
        os.kill(started.pid, signal.SIGCONT)
    while owner(place):
        time.sleep(0.01)


def test_every_refusal_of_the_child_keeps_its_class() -> None:
    for kind in (errors.Refused, errors.NotInitialised):
        line = json.dumps(kind("a", "b").as_json()).encode()
        with pytest.raises(kind, match="a"):
            lifecycle._understand(line, "", 0)


def test_the_module_runs_with_this_python(place: Place) -> None:
    said = lifecycle.__dict__["command"](place)
    assert said[0] == sys.executable


def test_a_path_too_long_for_a_socket_works_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = tempfile.mkdtemp()
    monkeypatch.setenv("XDG_RUNTIME_DIR", short)
    deep = tmp_path / ("d" * 120) / ("e" * 60)
    kit.set_up(kit.make_repository(deep)).close()
    place = find(str(deep))
    assert place.socket.startswith(short)
    try:
        started = start(place)
        assert lifecycle.ask(place.socket, "health")["pid"] == started.pid
        assert read_pid_file(place)["socket_path"] == place.socket
    finally:
        stop(place)
        shutil.rmtree(short)


def test_without_a_place_for_the_log_it_runs_all_the_same(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    started = start(place)
    assert started.log == ""
    assert lifecycle.ask(place.socket, "health")["status"] == "ok"


def test_the_log_is_rotated(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logfile, "LARGEST", 2000)
    path, handler = logfile.open_log(place)
    try:
        for number in range(200):
            logging.getLogger("thrum.daemon").warning("line %d of many", number)
    finally:
        logfile.close_log(handler)
    names = sorted(os.listdir(os.path.dirname(path)))
    assert len(names) == 1 + logfile.KEPT
    for name in names:
        found = os.stat(os.path.join(os.path.dirname(path), name))
        assert found.st_size <= 2000
        assert found.st_mode & 0o777 == 0o600


def test_a_daemon_whose_engine_is_busy_still_says_with_what(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    started = start(place)
    real = lifecycle.ask

    def ask(path: str, method: str) -> dict[str, object]:
        if method == "health":
            raise DaemonError("the daemon does not answer: timed out")
        return real(path, method)

    monkeypatch.setattr(lifecycle, "ask", ask)
    found = status(place)
    assert (found["status"], found["pid"]) == ("busy", started.pid)
    assert found["queues"]["connections"] >= 1
    assert "timed out" in found["error"]
