"""The WebSocket of a real daemon: its port, its token, its life, and who hears what through it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests import kit
from thrum.daemon.lifecycle import ask, owner, start, status, stop
from thrum.git.place import Place, find

from .test_app import Wire, hire, soon

pytestmark = pytest.mark.usefixtures("daemons")
Json = dict[str, Any]


def port(place: Place) -> int:
    """As a client reads it, from whatever worktree."""
    return int(Path(place.var_dir, "ws.port").read_text())


def token(place: Place) -> str:
    return Path(place.var_dir, "ws.token").read_text().strip()


class Browser:
    """A WebSocket client of a daemon."""

    def __init__(self, place: Place, said: str = "", host: str = "localhost") -> None:
        headers = {"Authorization": f"Bearer {said or token(place)}"}
        uri = f"ws://{host}:{port(place)}/ws"
        self._context = connect(uri, additional_headers=headers, proxy=None, open_timeout=30)
        self.socket: ClientConnection = self._context.__enter__()
        self.pushed: list[Json] = []

    def __call__(self, method: str, **params: Any) -> Any:
        self.socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        while "id" not in (answer := json.loads(self.socket.recv(timeout=30))):
            self.pushed.append(answer)
        assert "result" in answer, answer
        return answer["result"]

    def hear(self) -> Json:
        """The next notification."""
        frame: Json = self.pushed.pop(0) if self.pushed else json.loads(self.socket.recv(timeout=30))
        assert "id" not in frame, frame
        return frame

    def hear_message(self) -> str:
        """The preview of the next message."""
        return str(self.hear()["params"]["preview"])

    def is_silent(self) -> bool:
        """Whether nothing has come so far; asks the daemon, so that what it had sent before would be here."""
        self("health")
        return not self.pushed


@pytest.fixture
def browse(place: Place) -> Iterator[Callable[..., Browser]]:
    """Browsers at the daemon of `place`, which is running, or of another place."""
    start(place)
    opened: list[Browser] = []

    def open_one(where: Place = place, **more: Any) -> Browser:
        opened.append(Browser(where, **more))
        return opened[-1]

    yield open_one
    for one in opened:
        with contextlib.suppress(ConnectionClosed, OSError):
            one.socket.close()


@pytest.fixture
def wire(place: Place, browse: Callable[..., Browser]) -> Iterator[Wire]:
    one = Wire(place)
    yield one
    one.close()


def test_it_says_where_it_is_and_cleans_up(place: Place) -> None:
    start(place)
    health = ask(place.socket, "health")
    assert Path(place.var_dir, "ws.port").read_text() == f"{health['ws_port']}\n"
    assert health["ws_url"] == f"ws://localhost:{health['ws_port']}/ws"
    told = status(place)
    assert (told["ws_port"], told["ws_token_file"]) == (health["ws_port"], f"{place.var_dir}/ws.token")
    assert token(place) not in json.dumps([health, told])
    for name in ("ws.port", "ws.token"):
        assert stat.S_IMODE(os.stat(f"{place.var_dir}/{name}").st_mode) == 0o600
    stop(place)
    assert not {"ws.port", "ws.token"} & set(os.listdir(place.var_dir))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_it_answers_on_both_addresses(place: Place, browse: Callable[..., Browser], host: str) -> None:
    if host == "[::1]":
        with socket.socket(socket.AF_INET6) as probe:
            try:
                probe.bind(("::1", 0))
            except OSError:
                pytest.skip("no IPv6 here")
    assert browse(host=host)("health")["status"] == "ok"


def test_it_listens_nowhere_else(place: Place, browse: Callable[..., Browser]) -> None:
    listening = {
        line.split()[1]
        for name in ("tcp", "tcp6")
        if os.path.exists(f"/proc/net/{name}")
        for line in Path("/proc/net", name).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port(place):04X}")
    }
    assert {address.partition(":")[0] for address in listening} <= {"0100007F", "00000000000000000000000001000000"}
    assert listening


def test_the_token_dies_with_the_daemon(place: Place, browse: Callable[..., Browser]) -> None:
    old = token(place)
    stop(place)
    start(place)
    assert token(place) != old
    with pytest.raises(InvalidStatus) as refused:
        browse(said=old)
    assert refused.value.response.status_code == 401


def test_a_users_token_makes_a_later_connection_that_users(place: Place, browse: Callable[..., Browser]) -> None:
    said = browse()("user.register", username="ann")["token"]
    os.kill(_pid(place), signal.SIGKILL)
    soon(lambda: owner(place) is None)
    start(place)
    assert browse(said=said)("agent.whoami")["agent_id"] == "user:ann"
    files = "".join(path.read_text(errors="replace") for path in Path(place.sync_dir).glob("*.json"))
    assert said not in files


def _pid(place: Place) -> int:
    running = owner(place)
    assert running
    return running.pid


def test_the_token_of_a_registration_on_the_unix_socket_counts_too(
    place: Place, wire: Wire, browse: Callable[..., Browser]
) -> None:
    browse()("health")  # it serves by now
    said = wire("user.register", username="ann")["token"]
    assert browse(said=said)("agent.whoami")["agent_id"] == "user:ann"


def test_two_repositories_have_two_ports(place: Place, browse: Callable[..., Browser], tmp_path: Path) -> None:
    other_path = kit.make_repository(tmp_path / "other")
    kit.set_up(other_path).close()
    other = find(str(other_path))
    start(other)
    try:
        assert port(other) != port(place)
        for one in (place, other):
            assert browse(one)("health")["common_dir"] == one.common_dir
        with pytest.raises(InvalidStatus):
            browse(other, said=token(place))
    finally:
        stop(other)


def test_a_taken_port_is_passed_over(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("THRUM_WS_PORT", str(taken))
        start(place)
        assert port(place) != taken
        other.settimeout(0.2)
        browser = Browser(place)
        assert browser("health")["ws_port"] == port(place)
        browser.socket.close()
        with pytest.raises(TimeoutError):
            other.accept()


def test_a_linked_worktree_finds_the_same_port(place: Place, browse: Callable[..., Browser]) -> None:
    assert place.worktree
    linked = find(str(kit.add_worktree(Path(place.worktree), "feature")))
    assert browse(linked)("health")["common_dir"] == place.common_dir


@pytest.mark.parametrize("how", ["environment", "configuration"])
def test_it_can_be_switched_off(place: Place, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    assert place.worktree
    if how == "environment":
        monkeypatch.setenv("THRUM_WS_PORT", "0")
    else:
        kit.git(place.worktree, "config", "thrum.wsPort", "0")
    start(place)
    assert not {"ws_port", "ws_url", "ws_error"} & ask(place.socket, "health").keys()
    assert not os.path.exists(f"{place.var_dir}/ws.port")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can put in the way what cannot be moved")
def test_the_daemon_runs_without_it_and_says_why(place: Place) -> None:
    taken = f"{place.var_dir}/ws.port"
    os.makedirs(taken)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", taken], check=True)
    try:
        runs_without_it(place)
    finally:
        subprocess.run(["umount", "-l", taken], check=True)


def runs_without_it(place: Place) -> None:
    start(place)
    told = status(place)
    assert told["status"] == "running"
    assert "ws.port" in told["ws_error"] or "busy" in told["ws_error"]
    assert "ws_port" not in told
    assert not os.path.exists(f"{place.var_dir}/ws.token")


def test_stop_says_goodbye(place: Place, browse: Callable[..., Browser]) -> None:
    idle, waiting = browse(), browse()
    caller = hire(waiting, place, "omar", "reviewer")  # type: ignore[arg-type]
    waiting.socket.send(
        json.dumps({"jsonrpc": "2.0", "id": 9, "method": "message.wait", "params": {"caller": caller, "timeout": 60}})
    )
    soon(lambda: idle("daemon.status")["listeners"])
    stop(place)
    assert "stopping" in json.loads(waiting.socket.recv(timeout=10))["error"]["message"]
    for browser in (idle, waiting):
        with pytest.raises(ConnectionClosed) as closed:
            browser.socket.recv(timeout=10)
        assert closed.value.rcvd and closed.value.rcvd.code == 1001
    with open(Path(os.environ["XDG_STATE_HOME"]).glob("**/*.log").__next__()) as file:
        assert "Traceback" not in file.read()


def test_everybody_hears_a_hundred_messages_of_many_senders_once_and_in_order(
    place: Place, wire: Wire, browse: Callable[..., Browser]
) -> None:
    nadia, omar = hire(wire, place, "nadia", "implementer"), hire(wire, place, "omar", "reviewer")
    browsers = [browse(), browse()]
    for browser in browsers:
        browser("subscribe", all=True, caller=omar)
    pushed = Wire(place)
    pushed("subscribe", all=True, push=True, caller=omar)

    def from_unix(first: int) -> None:
        sender = Wire(place)
        for number in range(first, first + 30):
            sender("message.send", content=str(number), caller=nadia)
        sender.close()

    def from_command_lines(first: int) -> None:
        for number in range(first, first + 5):
            line = [sys.executable, "-P", "-m", "thrum", "send", str(number), "--name", "nadia"]
            subprocess.run(line, cwd=place.worktree, check=True, capture_output=True, timeout=60)

    jobs = [(from_unix, 0), (from_unix, 30), (from_unix, 60), (from_command_lines, 90), (from_command_lines, 95)]
    threads = [threading.Thread(target=job, args=(first,)) for job, first in jobs]
    for thread in threads:
        thread.start()
    heard = [[browser.hear_message() for _ in range(100)] for browser in browsers]
    heard.append([pushed.receive()["params"]["preview"] for _ in range(100)])
    for thread in threads:
        thread.join()
    pushed.close()
    numbers = [int(text) for text in heard[0]]
    assert heard == [heard[0]] * 3 and sorted(numbers) == list(range(100))
    for first, last in ((0, 30), (30, 60), (60, 90), (90, 95), (95, 100)):
        assert [number for number in numbers if first <= number < last] == list(range(first, last)), (
            "one sender's order"
        )
    listed = wire("message.list", page_size=100, caller=omar)["messages"]
    assert {message["body"]["content"] for message in listed} == set(heard[0])
    assert all(browser.is_silent() for browser in browsers)


def test_what_another_process_stored_is_told(place: Place, wire: Wire, browse: Callable[..., Browser]) -> None:
    hire(wire, place, "nadia", "implementer")
    browser = browse()
    browser("subscribe", all=True, caller=hire(wire, place, "omar", "reviewer"))
    assert place.worktree
    other = kit.open_engine(place.worktree)
    kit.Caller(other, place.worktree, "nadia")("message.send", content="from afar")
    other.close()
    assert browser.hear_message() == "from afar"


def test_after_a_crash_a_client_gets_what_it_missed(place: Place, wire: Wire, browse: Callable[..., Browser]) -> None:
    nadia, omar = hire(wire, place, "nadia", "implementer"), hire(wire, place, "omar", "reviewer")
    browser = browse()
    subscribed = browser("subscribe", all=True, caller=omar)
    wire("message.send", content="before", caller=nadia)
    last = browser.hear()["params"]["event_id"]
    os.kill(_pid(place), signal.SIGKILL)
    with pytest.raises(ConnectionClosed):
        browser.socket.recv(timeout=30)
    assert place.worktree
    alone = kit.open_engine(place.worktree)
    sender = kit.Caller(alone, place.worktree, "nadia")
    for number in range(3):
        sender("message.send", content=f"missed {number}")
    alone.close()
    soon(lambda: owner(place) is None)
    start(place)
    again = browse()
    assert again("subscribe", all=True, since=last, caller=omar) == subscribed
    sending = Wire(place)
    sending("message.send", content="after", caller=nadia)
    sending.close()
    assert [again.hear_message() for _ in range(4)] == ["missed 0", "missed 1", "missed 2", "after"]
    assert again.is_silent()


def test_a_sync_brings_mail_from_elsewhere(clones: Callable[[int], list[Path]]) -> None:
    places = []
    for path in clones(2):
        kit.set_up(path).close()
        kit.git(path, "config", "thrum.interval", "3600")
        places.append(find(str(path)))
    here, there = places
    with contextlib.ExitStack() as stack:
        for one in places:
            start(one)
            stack.callback(stop, one)
        sender, receiver = Wire(here), Wire(there)
        nadia, omar = hire(sender, here, "nadia", "implementer"), hire(receiver, there, "omar", "reviewer")
        browser = Browser(there)
        browser("subscribe", all=True, caller=omar)
        sender("message.send", content="over there", caller=nadia)
        assert browser.hear_message() == "over there"
        assert browser.is_silent()
        for one in (sender, receiver, browser.socket):
            one.close()
