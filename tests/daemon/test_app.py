"""The whole daemon: real processes, real git, real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import thrum
from tests import kit
from thrum.caller import Claim
from thrum.daemon import lifecycle
from thrum.daemon.lifecycle import ask, owner, start, stop
from thrum.engine import Engine
from thrum.git.place import Place, find

from .conftest import command

pytestmark = pytest.mark.usefixtures("daemons")
Json = dict[str, Any]


def soon(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for `condition`, patiently."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


class Wire:
    """One connection, many requests."""

    def __init__(self, place: Place) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(place.socket)  # without a time limit it waits for its turn behind others
        self.connection.settimeout(30)
        self.answers = self.connection.makefile("rb")

    def send(self, method: str, **params: Any) -> None:
        self.connection.sendall(
            json.dumps({"jsonrpc": "2.0", "id": 2, "method": method, "params": params}).encode() + b"\n"
        )

    def receive(self) -> Json:
        answer: Json = json.loads(self.answers.readline())
        return answer

    def __call__(self, method: str, **params: Any) -> Any:
        self.send(method, **params)
        answer = self.receive()
        assert "result" in answer, answer
        return answer["result"]

    def close(self) -> None:
        self.answers.close()
        self.connection.close()


@pytest.fixture
def wire(place: Place) -> Iterator[Callable[[], Wire]]:
    """Connections to the daemon of `place`, which is running."""
    start(place)
    opened: list[Wire] = []

    def connect() -> Wire:
        opened.append(Wire(place))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


def hire(wire: Wire, place: Place, name: str, role: str) -> Json:
    caller = {"cwd": place.worktree, "name": name}
    wire("agent.register", name=name, role=role, module="core", caller=caller)
    wire("session.start", agent_id=name, caller=caller)
    return caller


def test_a_v010_client_is_served(place: Place, wire: Callable[[], Wire]) -> None:
    one = wire()
    health = one("health")
    assert {"status", "uptime_ms", "version", "repo_id", "sync_state"} <= health.keys()
    assert isinstance(health["uptime_ms"], int)
    one("agent.register", name="nadia", role="implementer", module="cart", caller={"cwd": place.worktree})
    one("session.start", agent_id="nadia")
    sent = one("message.send", content="hello", caller_agent_id="nadia")
    assert sent["message_id"].startswith("msg_")
    listed = one("message.list", caller_agent_id="nadia", page_size=5)
    assert [message["message_id"] for message in listed["messages"]] == [sent["message_id"]]


@pytest.mark.parametrize(("loop", "extra"), [("uvloop", ()), ("asyncio", ("plain",))])
def test_a_wait_hears_a_message_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, loop: str, extra: tuple[str, ...]
) -> None:
    monkeypatch.setattr(lifecycle, "command", lambda place: command(place, *extra))
    wire: Callable[[], Wire] = request.getfixturevalue("wire")
    sender, waiter = wire(), wire()
    assert sender("daemon.status")["loop"] == loop
    nadia = hire(sender, place, "nadia", "implementer")
    omar = hire(sender, place, "omar", "reviewer")
    waiter.send("message.wait", caller=omar, timeout=30)
    soon(lambda: sender("daemon.status")["listeners"])
    sender("message.send", content="done", to=["@omar"], caller=nadia)
    began = time.monotonic()
    heard = waiter.receive()["result"]
    assert time.monotonic() - began < 5
    assert heard["status"] == "received"
    assert heard["message"]["body"]["content"] == "done"


def test_a_wait_hears_what_another_process_stored(place: Place, wire: Callable[[], Wire]) -> None:
    waiter = wire()
    hire(waiter, place, "nadia", "implementer")
    omar = hire(waiter, place, "omar", "reviewer")
    waiter.send("message.wait", caller=omar, timeout=30)
    time.sleep(0.1)
    assert place.worktree
    other = kit.open_engine(place.worktree)
    other.call("message.send", {"content": "from afar"}, Claim(cwd=place.worktree, name="nadia"))
    other.close()
    assert waiter.receive()["result"]["message"]["body"]["content"] == "from afar"


def test_a_clients_garbage_hurts_nobody(place: Place, wire: Callable[[], Wire]) -> None:
    good = wire()
    for line in (b"\xff\n", b"[" * 50_000 + b"\n", b'{"jsonrpc":"2.0","id":1,"method":5}\n', b"x" * (6 << 20)):
        bad = wire()
        bad.connection.sendall(line)
        assert "error" in bad.receive()
        bad.close()
    assert good("health")["status"] == "ok"
    with open(good("health")["log"]) as file:
        assert "Traceback" not in file.read()


def test_a_thousand_idle_clients_are_borne(place: Place, wire: Callable[[], Wire]) -> None:
    idle = []
    for _ in range(900):
        one = socket.socket(socket.AF_UNIX)
        one.connect(place.socket)
        idle.append(one)
    assert wire()("health")["status"] == "ok"
    for one in idle:
        one.close()


def test_stop_answers_what_is_under_way_and_leaves_nothing(place: Place, wire: Callable[[], Wire]) -> None:
    waiter = wire()
    omar = hire(waiter, place, "omar", "reviewer")
    waiter.send("message.wait", caller=omar, timeout=30)
    soon(lambda: wire()("daemon.status")["listeners"])
    stop(place)
    assert "stopping" in waiter.receive()["error"]["message"]
    assert not os.path.exists(place.socket)


def test_the_log_tells_of_a_life_and_is_private(place: Place) -> None:
    started = start(place)
    stop(place)
    assert os.stat(started.log).st_mode & 0o777 == 0o600
    with open(started.log) as file:
        text = file.read()
    assert f"pid {started.pid}" in text
    assert "stopped" in text
    assert "Traceback" not in text


def test_it_warms_up_once_it_answers(place: Place) -> None:
    started = start(place)
    soon(lambda: "warm" in Path(started.log).read_text())


def test_nothing_it_made_can_be_read_by_others(place: Place, wire: Callable[[], Wire]) -> None:
    one = wire()
    nadia = hire(one, place, "nadia", "implementer")
    one("message.send", content="secret", caller=nadia)
    for top in (place.var_dir, f"{place.log_root}/messages"):
        for folder, _, names in os.walk(top):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                assert not os.lstat(path).st_mode & 0o077 or os.path.islink(path), path


def test_git_clean_does_not_cut_it_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    started = start(place)
    hints = ("thrum.pid", "ws.port", "ws.token")
    before = [Path(place.var_dir, name).read_text() for name in hints[1:]]
    shutil.rmtree(place.thrum_dir)
    soon(lambda: os.path.exists(place.socket) and all(os.path.exists(f"{place.var_dir}/{name}") for name in hints))
    assert [Path(place.var_dir, name).read_text() for name in hints[1:]] == before
    health = ask(place.socket, "health")
    assert health["pid"] == started.pid


def test_it_ends_when_its_lock_is_removed(place: Place) -> None:
    started = start(place)
    shutil.rmtree(place.sync_dir)
    with contextlib.suppress(FileNotFoundError):
        soon(lambda: not _is_running(started.pid))


def _is_running(pid: int) -> bool:
    from thrum.daemon.ownership import birth

    return bool(birth(pid))


def test_a_terminal_may_interrupt_it(place: Place) -> None:
    started = start(place)
    os.kill(started.pid, signal.SIGINT)
    soon(lambda: owner(place) is None)


def test_a_command_line_runs_in_it(place: Place, wire: Callable[[], Wire]) -> None:
    done = wire()("cli.run", argv=["health"], cwd=place.worktree, version=thrum.__version__)
    assert done["exit"] == 0
    assert "ok" in done["stdout"]


def clone_pair(clones: Callable[[int], list[Path]]) -> list[Place]:
    found = []
    for path in clones(2):
        kit.set_up(path).close()
        kit.git(path, "config", "thrum.interval", "3600")
        found.append(find(str(path)))
    return found


@pytest.fixture
def pair(clones: Callable[[int], list[Path]]) -> Iterator[list[Place]]:
    """Two clones of one remote, each with its daemon."""
    places = clone_pair(clones)
    for place in places:
        start(place)
    yield places
    for place in places:
        if owner(place):
            stop(place)


def test_mail_reaches_the_other_clone_by_itself(pair: list[Place]) -> None:
    here, there = (Wire(place) for place in pair)
    nadia = hire(here, pair[0], "nadia", "implementer")
    omar = hire(there, pair[1], "omar", "reviewer")
    assert here("sync.force")["ok"]
    there.send("message.wait", caller=omar, timeout=60)
    time.sleep(0.1)
    here("message.send", content="over there", caller=nadia)
    assert there.receive()["result"]["message"]["body"]["content"] == "over there"
    here.close()
    there.close()


def test_an_idle_pair_makes_no_commits(pair: list[Place]) -> None:
    for place in pair:
        assert ask(place.socket, "sync.force", timeout=30)["ok"]
    for place in pair:
        assert ask(place.socket, "sync.force", timeout=30)["ok"]
    time.sleep(1.0)
    before = [kit.git(place.common_dir, "rev-parse", "a-sync") for place in pair]
    cpu = [_cpu(place) for place in pair]
    time.sleep(2.0)
    assert [kit.git(place.common_dir, "rev-parse", "a-sync") for place in pair] == before
    assert before[0] == before[1]
    assert all(now - then <= 0.1 for now, then in zip((_cpu(place) for place in pair), cpu, strict=True))


def _cpu(place: Place) -> float:
    """Seconds of processor time of the daemon and its children."""
    running = owner(place)
    assert running
    with open(f"/proc/{running.pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def test_a_hanging_remote_holds_up_neither_mail_nor_stop(place: Place, tmp_path: Path) -> None:
    assert place.worktree
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(16)  # and never answers
    kit.git(place.worktree, "remote", "add", "origin", f"git://127.0.0.1:{listener.getsockname()[1]}/x")
    started = start(place)
    one = Wire(place)
    nadia = hire(one, place, "nadia", "implementer")
    began = time.monotonic()
    one("message.send", content="hello", caller=nadia)
    assert time.monotonic() - began < 5
    one.close()
    soon(lambda: _children(started.pid))
    children = _children(started.pid)
    began = time.monotonic()
    stop(place)
    assert time.monotonic() - began < 8
    soon(lambda: not any(_is_running(pid) for pid in children))
    listener.close()


def _children(pid: int) -> list[int]:
    found = []
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children") as file:
            found += [int(word) for word in file.read().split()]
    return found


def test_a_commit_refreshes_what_an_agent_works_on(place: Place, wire: Callable[[], Wire]) -> None:
    one = wire()
    hire(one, place, "nadia", "implementer")
    assert place.worktree
    kit.git(place.worktree, "checkout", "-q", "-b", "feature")
    Path(place.mark).write_bytes(b"")
    reader = kit.open_engine(place.worktree)
    try:
        soon(lambda: _branch(reader) == "feature")
    finally:
        reader.close()


def _branch(reader: Engine) -> str:
    reader.catch_up()
    found = reader.roster.stated_context("nadia", reader.origin) or {}
    return str(found.get("branch", ""))


def test_sync_that_is_off_runs_nothing(place: Place) -> None:
    assert place.worktree
    kit.git(place.worktree, "config", "thrum.sync", "false")
    start(place)
    told = ask(place.socket, "sync.status")
    assert told["running"] is False
    assert told["sync_state"] == "off"


def test_settings_that_make_no_sense_are_told_at_start(place: Place) -> None:
    assert place.worktree
    kit.git(place.worktree, "config", "thrum.interval", "never")
    with pytest.raises(lifecycle.DaemonError, match=r"thrum\.interval"):
        start(place)


def test_serve_refuses_a_second_owner_before_it_touches_anything(place: Place) -> None:
    start(place)
    done = subprocess.run(
        lifecycle.command(place), capture_output=True, text=True, timeout=60, check=False, env=lifecycle._environment(0)
    )
    assert done.returncode != 0
    assert "already running" in done.stderr


def test_ten_thousand_races_between_sending_and_waiting_in_small(place: Place, wire: Callable[[], Wire]) -> None:
    sender, waiter = wire(), wire()
    nadia = hire(sender, place, "nadia", "implementer")
    omar = hire(sender, place, "omar", "reviewer")
    for number in range(50):
        thread = threading.Thread(target=lambda n=number: sender("message.send", content=str(n), caller=nadia))
        thread.start()
        heard = waiter("message.wait", caller=omar, timeout=30)
        thread.join()
        assert heard["message"]["body"]["content"] == str(number)
        waiter("message.markRead", message_ids=[heard["message"]["message_id"]], caller=omar)


def test_what_another_process_said_travels_at_once_too(pair: list[Place]) -> None:
    here, there = pair
    hiring = Wire(here)
    hire(hiring, here, "nadia", "implementer")
    assert hiring("sync.force")["ok"]
    hiring.close()
    running = owner(here)
    assert running
    os.kill(running.pid, signal.SIGSTOP)  # so that the other process is the first to have the news
    try:
        assert here.worktree
        other = kit.open_engine(here.worktree)
        other.call("message.send", {"content": "from afar"}, Claim(cwd=here.worktree, name="nadia"))
        other.close()
    finally:
        os.kill(running.pid, signal.SIGCONT)
    reader = Wire(there)
    omar = hire(reader, there, "omar", "reviewer")
    heard = reader("message.wait", caller=omar, timeout=30)
    assert heard["message"]["body"]["content"] == "from afar"
    reader.close()


def test_a_wait_hears_what_another_process_was_the_first_to_know(place: Place, wire: Callable[[], Wire]) -> None:
    waiter = wire()
    hire(waiter, place, "nadia", "implementer")
    omar = hire(waiter, place, "omar", "reviewer")
    waiter.send("message.wait", caller=omar, timeout=25)
    time.sleep(0.1)
    running = owner(place)
    assert running
    os.kill(running.pid, signal.SIGSTOP)
    try:
        assert place.worktree
        other = kit.open_engine(place.worktree)
        other.call("message.send", {"content": "from afar"}, Claim(cwd=place.worktree, name="nadia"))
        other.close()
    finally:
        os.kill(running.pid, signal.SIGCONT)
    began = time.monotonic()
    assert waiter.receive()["result"]["message"]["body"]["content"] == "from afar"
    assert time.monotonic() - began < 10
