"""The way to the methods, with daemons that are well, asleep, confused or gone."""

import contextlib
import json
import os
import signal
import socket
import threading

import anyio
import pytest

from thrum.caller import Claim
from thrum.errors import NoIdentity, NotARepository, ThrumError, UnknownRecipient
from thrum.git import place
from thrum.mcp import door
from thrum.mcp.door import Door


@pytest.fixture
def ann(house):
    """@ann's door."""
    return Door(Claim(cwd=str(house.shop)))


@contextlib.contextmanager
def somebody(house, answer):
    """Somebody who listens on the daemon's socket and gives `answer` (bytes) to each line; None: hangs up."""
    path = place.find(str(house.shop)).socket
    heard = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connected, _ = listening.accept()
                    with connected:
                        heard.append(json.loads(connected.makefile("rb").readline()))
                        if answer is not None:
                            connected.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    os.unlink(path)


def call(a_door, method, **params):
    return anyio.run(a_door.call, method, params)


@pytest.mark.parametrize("has_daemon", [False, True], ids=["alone", "daemon"])
def test_results_and_refusals_are_the_same_with_a_daemon_and_without(house, ann, has_daemon):
    if has_daemon:
        house.thrum(house.shop, "daemon", "start")
    assert call(ann, "agent.whoami")["agent_id"] == "ann"
    with pytest.raises(UnknownRecipient, match="nobody is called bib") as refused:
        call(ann, "message.send", content="x", to=["bib"])
    assert "did you mean @bob" in refused.value.hint
    with pytest.raises(NoIdentity):
        call(Door(Claim(cwd=str(house.shop), name="bob")), "agent.whoami")
    assert call(Door(Claim(cwd=str(house.wt), environ={"THRUM_NAME": "bob"})), "agent.whoami")["agent_id"] == "bob"


def test_outside_a_repository_there_is_no_way(tmp_path):
    with pytest.raises(NotARepository):
        call(Door(Claim(cwd=str(tmp_path))), "agent.whoami")


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b'{"jsonrpc":"2.0","id":1,"result":{"agent_id":"half',
        b"[]\n",
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32023,"message":"the daemon is stopping"}}\n',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found","data":"an older one"}}\n',
    ],
    ids=["hangs up", "speaks nonsense", "dies over it", "gives an empty list", "is stopping", "is older"],
)
def test_a_daemon_that_cannot_answer_is_done_without(house, ann, answer):
    with somebody(house, answer) as heard:
        assert call(ann, "agent.whoami")["agent_id"] == "ann"
    assert heard[0]["params"]["caller"]["cwd"] == str(house.shop) and heard[0]["method"] == "agent.whoami"


def test_a_mistake_of_the_daemon_is_told_with_its_number(house, ann):
    error = {"code": -32603, "message": "Internal error", "data": {"kind": "Internal", "hint": "incident 12ab"}}
    with (
        somebody(house, json.dumps({"jsonrpc": "2.0", "id": 1, "error": error}).encode() + b"\n"),
        pytest.raises(ThrumError, match="Internal error") as told,
    ):
        call(ann, "agent.whoami")
    assert told.value.hint == "incident 12ab"


def test_a_daemon_that_sleeps_is_asked_once_and_then_left_alone(house, ann, monkeypatch):
    monkeypatch.setattr(door, "_SIGN_OF_LIFE", 0.2)
    house.thrum(house.shop, "daemon", "start")
    pid = json.loads(house.thrum(house.shop, "daemon", "status", "--json"))["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        sent = call(ann, "message.send", content="past the sleeper", to=["bob"], request_id="abc")
        monkeypatch.setattr(door, "_SIGN_OF_LIFE", 3600)  # asking the sleeper again would take an hour
        assert call(ann, "agent.whoami")["agent_id"] == "ann"
    finally:
        os.kill(pid, signal.SIGCONT)
    house.thrum(house.shop, "daemon", "stop")  # which lets it answer what it was asked
    assert house.unread(house.bob) == [sent["message_id"]]


def test_a_cancelled_wait_closes_its_connection(house, ann):
    house.thrum(house.shop, "daemon", "start")
    before = set(os.listdir("/proc/self/fd"))

    async def wait_a_little():
        with anyio.move_on_after(0.3):
            await ann.wait({}, 600)
        await anyio.sleep(0.1)
        return set(os.listdir("/proc/self/fd")) - before

    def connections(left):
        return [fd for fd in left if os.path.exists(f"/proc/self/fd/{fd}")]

    left = anyio.run(wait_a_little)
    assert not [fd for fd in connections(left) if "socket" in os.readlink(f"/proc/self/fd/{fd}")]


def test_a_wait_for_no_time_looks_once(house, ann):
    assert anyio.run(ann.wait, {}, 0.0) == {"status": "timeout"}
    sent = house.bob("message.send", content="there", to=["ann"])
    assert anyio.run(ann.wait, {}, 0.0)["message"]["message_id"] == sent["message_id"]
