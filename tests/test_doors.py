"""One story through every door: an engine in this process, the daemon's socket, the command line with and without a daemon.

The same things happen and the same answers come back; only ids and times differ.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from tests import kit
from thrum.engine import Claim
from thrum.git import place

_ID = re.compile(r"\b(msg|thr|ses|evt)_[0-9A-Z]{26}\b")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def daemon(cwd, what):
    """`daemon start` or `daemon stop`."""
    line = [sys.executable, "-m", "thrum", "daemon", what]
    done = subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def thrum(cwd, *words, code=0):
    """Runs the program as a user would; its JSON answer."""
    done = subprocess.run(
        [sys.executable, "-m", "thrum", *words, "--json"],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return json.loads(done.stdout)


class InProcess:
    """Methods of an engine in this process."""

    def __init__(self, path):
        self.engine = kit.open_engine(path)
        self.close = self.engine.close

    def call(self, name, method, **params):
        return self.engine.call(method, params, Claim(cwd=self.engine.place.worktree, name=name))


class Socket:
    """JSON-RPC over the daemon's Unix socket."""

    def __init__(self, path):
        self.path = path
        daemon(path, "start")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(place.find(str(path)).socket)
        self._file = self._socket.makefile("rb")

    def call(self, name, method, **params):
        caller = {"cwd": str(self.path), "name": name}
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, "caller": caller}}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._file.readline())
        assert answer["id"] == 7, answer
        return answer["result"]

    def close(self):
        self._file.close()
        self._socket.close()
        daemon(self.path, "stop")


class CommandLine:
    """The commands that stand for the methods, in their own process."""

    def __init__(self, path):
        self.path = path

    def call(self, name, method, **params):
        return thrum(self.path, *self.words(method, params), "--name", name)

    def words(self, method, params):
        """The command line of a call."""
        to = [word for who in params.get("to", ()) for word in ("--to", who)]
        return {
            "agent.whoami": lambda: ["whoami"],
            "message.send": lambda: ["send", params["content"], *to],
            "message.list": lambda: ["inbox", "--peek"],
            "message.reply": lambda: ["reply", params["message_id"], params["content"]],
            "message.markRead": lambda: ["message", "read", *params["message_ids"]],
            "agent.whoHas": lambda: ["who-has", params["file"]],
            "agent.ping": lambda: ["ping", params["agent"]],
            "session.setIntent": lambda: ["session", "set-intent", params["intent"]],
            "message.wait": lambda: ["wait", "--peek", "--timeout", str(params["timeout"])],
        }[method]()

    def close(self):
        pass


class CommandLineWithDaemon(CommandLine):
    """The same, handed over to a warm daemon."""

    def __init__(self, path):
        super().__init__(path)
        self._daemon = Socket(path)

    def close(self):
        self._daemon.close()


DOORS = (InProcess, Socket, CommandLine, CommandLineWithDaemon)


def play(door):
    """The story; every answer in turn."""
    told = [door.call("ann", "agent.whoami"), door.call("ann", "session.setIntent", intent="ship it")]
    sent = door.call("ann", "message.send", content="hello bob", to=["@bob"])
    told += [sent, door.call("bob", "message.list", exclude_self=True)]
    told.append(door.call("bob", "message.wait", timeout=5))
    told.append(door.call("bob", "message.reply", message_id=sent["message_id"], content="hello ann"))
    told.append(door.call("ann", "message.list", exclude_self=True))
    told.append(door.call("ann", "message.markRead", message_ids=[told[-1]["messages"][0]["message_id"]]))
    told.append(door.call("ann", "message.send", content="everyone, lunch"))
    told.append(door.call("bob", "agent.whoHas", file="readme"))
    told.append(door.call("bob", "agent.ping", agent="@ann"))
    return told


def plain(answers):
    """The answers without what differs from run to run."""
    text = _TIME.sub("TIME", _ID.sub(r"\1_ID", json.dumps(answers, sort_keys=True)))
    return [_shape(answer) for answer in json.loads(text)]


def _shape(answer):
    # `wait` answers on the command line with the message itself, as v0.1.0 promised.
    if "message" in answer:
        answer = {**answer["message"], "more": answer["more"]}
    answer.pop("git_updated_at", None)
    return answer


@pytest.fixture
def told(repository, request):
    """What the story told through one door."""
    engine = kit.set_up(repository)
    kit.hire(engine, repository, "ann", role="lead")
    kit.hire(engine, repository, "bob", role="reviewer")
    engine.close()
    (repository / "readme").write_text("changed\n")
    door = request.param(repository)
    try:
        return plain(play(door))
    finally:
        door.close()


@pytest.mark.parametrize("told", DOORS, indirect=True, ids=lambda door: door.__name__)
def test_every_door_tells_the_same_story(told, tmp_path):
    whoami, intent, sent, mail, waited, reply, answered, marked, lunch, holders, ping = told
    assert whoami["agent_id"] == "ann" and whoami["source"] == "flags" and whoami["worktree"] == "shop"
    assert intent["intent"] == "ship it"
    assert sent["recipients"] == ["bob"] and not sent["everyone"]
    assert [m["body"]["content"] for m in mail["messages"]] == ["hello bob"] and mail["unread"] == 1
    assert waited["body"]["content"] == "hello bob" and waited["more"] == 0
    assert reply["thread_id"] == "thr_ID" and reply["recipients"] == ["ann"]
    assert [m["body"]["content"] for m in answered["messages"]] == ["hello ann"]
    assert marked["marked_count"] == 1
    assert lunch["everyone"] and lunch["recipient_count"] == 1
    assert {holder["agent_id"] for holder in holders["holders"]} == {"ann", "bob"}
    assert ping["agent"]["status"] == "online" and ping["context"]["uncommitted_files"] == ["readme"]


def test_every_door_gives_the_very_same_answers(tmp_path):
    stories = []
    for door in DOORS:
        path = kit.make_repository(tmp_path / door.__name__ / "shop")
        engine = kit.set_up(path)
        for name, role in (("ann", "lead"), ("bob", "reviewer")):
            kit.hire(engine, path, name, role=role)
        engine.close()
        (path / "readme").write_text("changed\n")
        opened = door(path)
        try:
            stories.append(json.loads(json.dumps(plain(play(opened))).replace(os.path.realpath(path), "SHOP")))
        finally:
            opened.close()
    for door, story in zip(DOORS[1:], stories[1:], strict=True):
        assert story == stories[0], door.__name__


def test_a_refusal_is_the_same_through_every_door(repository):
    engine = kit.set_up(repository)
    kit.hire(engine, repository, "ann")
    engine.close()
    alone = thrum(repository, "send", "hi", "--to", "@nobody", code=1)
    door = Socket(repository)
    try:
        handed_over = thrum(repository, "send", "hi", "--to", "@nobody", code=1)
    finally:
        door.close()
    assert alone == handed_over
    assert alone["error"]["kind"] == "UnknownRecipient" and alone["error"]["hint"]
