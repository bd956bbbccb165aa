"""One story through every door: an engine in this process, the daemon's sockets, the command line with and without a daemon.

The same things happen and the same answers come back; only ids and times differ.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests import kit
from thrum.caller import Claim
from thrum.errors import ThrumError
from thrum.git import place
from thrum.methods import registry

_ID = re.compile(r"\b(msg|thr|ses|evt)_[0-9A-Z]{26}\b")
_TOKEN = re.compile(r"\b(tok_[A-Za-z0-9_-]+|r_[0-9A-Z]+)")
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

    def call(self, name, method, /, **params):
        user = {"agent_id": name} if ":" in name else {"name": name}
        return self.engine.call(method, params, Claim(cwd=self.engine.place.worktree, **user))


class Socket:
    """JSON-RPC over the daemon's Unix socket."""

    def __init__(self, path):
        self.path = path
        daemon(path, "start")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(place.find(str(path)).socket)
        self._file = self._socket.makefile("rb")

    def call(self, name, method, /, **params):
        self._socket.sendall(request(self.path, name, method, params).encode() + b"\n")
        return result(json.loads(self._file.readline()))

    def close(self):
        self._file.close()
        self._socket.close()
        daemon(self.path, "stop")


class Web:
    """JSON-RPC over the daemon's WebSocket."""

    def __init__(self, path):
        self.path = path
        daemon(path, "start")
        var = place.find(str(path)).var_dir
        port, token = (Path(var, name).read_text().strip() for name in ("ws.port", "ws.token"))
        headers = {"Authorization": f"Bearer {token}"}
        self._context = connect(f"ws://localhost:{port}/ws", additional_headers=headers, proxy=None)
        self._socket = self._context.__enter__()

    def call(self, name, method, /, **params):
        self._socket.send(request(self.path, name, method, params))
        while "id" not in (answer := json.loads(self._socket.recv(timeout=60))):
            assert answer["method"].startswith("notification."), answer
        return result(answer)

    def close(self):
        self._socket.close()
        daemon(self.path, "stop")


def request(path, name, method, params):
    """A JSON-RPC request of an agent in the worktree `path`, or of a user."""
    who = {"caller_agent_id": name} if ":" in name else {"caller": {"cwd": str(path), "name": name}}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": {**params, **who}})


def result(answer):
    """What a JSON-RPC answer gives. Raises ThrumError for a refusal."""
    assert answer["id"] == 7, answer
    if "error" in answer:
        raise Told(answer["error"])
    return answer["result"]


class Told(ThrumError):
    """A refusal as it came over the wire."""

    def __init__(self, error):
        super().__init__(error["message"], error["data"]["hint"])
        self.code, self._kind = error["code"], error["data"]["kind"]

    @property
    def kind(self):
        return self._kind


class CommandLine:
    """The commands that stand for the methods, in their own process."""

    def __init__(self, path):
        self.path = path

    def call(self, name, method, /, **params):
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


DOORS = (InProcess, Socket, Web, CommandLine, CommandLineWithDaemon)
RPC = (InProcess, Socket, Web)


def play_all(door):
    """A longer story in which every method there is has its part: `(method, answer)` in turn."""
    told = []

    def do(name, method, /, **params):
        told.append((method, door.call(name, method, **params)))
        return told[-1][1]

    do("ann", "health")
    do("carl", "quickstart", role="tester", module="core", name="carl", intent="break it")
    do("dora", "agent.register", role="tester", module="core", name="dora", display="Dora")
    started = do("dora", "session.start", scopes=[{"type": "module", "value": "core"}])
    do("dora", "session.setIntent", intent="mend it")
    do("dora", "session.setTask", current_task="issue 7")
    do("dora", "session.heartbeat", add_refs=[{"type": "issue", "value": "7"}])
    do("dora", "agent.whoami")
    do("ann", "agent.listContext", agent_id="dora")
    do("ann", "agent.whoHas", file="readme")
    do("ann", "agent.ping", agent="@dora")
    do("bob", "subscribe", all=True)
    scoped = do("bob", "subscribe", scope={"type": "module", "value": "core"})
    do("bob", "subscriptions.list")
    sent = do("ann", "message.send", content="hello **bob**", to=["@bob"], scopes=[{"type": "module", "value": "core"}])
    do("bob", "message.wait", timeout=5)
    do("ann", "message.edit", message_id=sent["message_id"], content="hello again")
    do("bob", "message.get", message_id=sent["message_id"], history=True)
    do("bob", "message.reply", message_id=sent["message_id"], content="hello ann")
    do("bob", "unsubscribe", subscription_id=scoped["subscription_id"])
    thread = do("ann", "thread.create", title="Lunch", recipient="@bob", message={"content": "at noon?"})
    do("bob", "thread.list")
    do("bob", "thread.get", thread_id=thread["thread_id"])
    wrong = do("ann", "message.send", content="never mind")
    do("ann", "message.delete", message_id=wrong["message_id"], reason="wrong room")
    do("bob", "message.list", exclude_self=True, include_deleted=True)
    do("bob", "message.search", query="noon")
    do("bob", "message.markRead", all=True)
    do("ann", "message.sent")
    do("ann", "status")
    do("ann", "overview")
    do("ann", "agent.list", role="tester")
    do("ann", "session.list", agent_id="dora")
    do("dora", "session.end", session_id=started["session_id"])
    do("ann", "agent.cleanup", dry_run=True)
    do("carl", "agent.delete", name="carl")
    do("ann", "purge", before="1d")
    do("ann", "purge", before="0s", confirm=True)
    do("bob", "message.list")
    do("ann", "sync.status")
    do("ann", "sync.force")
    do("ann", "user.identify")
    do("ann", "user.register", username="eve", display="Eve")
    do("user:eve", "session.start")
    do("user:eve", "message.send", content="as ann", to=["@bob"], acting_as="ann", disclose=True)
    do("bob", "message.list", page_size=1)
    return told


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


_PROCESS = (
    "pid",
    "uptime_ms",
    "duration_ms",
    "socket",
    "log",
    "common_dir",
    "ws_port",
    "ws_url",
    "ws_token_file",
    "git_updated_at",
)
"""What a daemon tells of itself, and what takes as long as it takes."""
_SYNC = ("running", "sync_state", "triggered")
"""What a daemon does by itself and an engine only when it is asked."""


def told_by(door, path):
    """The longer story told through a door, without what differs from run to run."""
    kit.make_repository(path)
    engine = kit.set_up(path)
    for name, role in (("ann", "lead"), ("bob", "reviewer")):
        kit.hire(engine, path, name, role=role)
    engine.close()
    kit.git(path, "config", "thrum.sync", "false")
    (path / "readme").write_text("changed\n")
    opened = door(path)
    try:
        story = play_all(opened)
    finally:
        opened.close()
    text = json.dumps(story, sort_keys=True).replace(os.path.realpath(path), "SHOP")
    text = _TIME.sub("TIME", _TOKEN.sub("TOKEN", _ID.sub(r"\1_ID", text)))
    return [(method, without(answer, (*_PROCESS, *_SYNC))) for method, answer in json.loads(text)]


def without(value, names):
    """`value` without these keys, however deep."""
    if isinstance(value, dict):
        return {key: without(item, names) for key, item in value.items() if key not in names}
    return [without(item, names) for item in value] if isinstance(value, list) else value


def test_every_method_gives_the_very_same_answer_through_every_socket(tmp_path):
    first, *others = [told_by(door, tmp_path / door.__name__ / "shop") for door in RPC]
    assert {method for method, _ in first} == set(registry.load()), "a method has no part in the story"
    for door, story in zip(RPC[1:], others, strict=True):
        for here, there in zip(first, story, strict=True):
            assert there == here, (door.__name__, here[0])


@pytest.mark.parametrize("door", RPC[1:], ids=lambda door: door.__name__)
def test_every_refusal_has_the_same_code_words_and_hint_through_every_socket(repository, door):
    engine = kit.set_up(repository)
    kit.hire(engine, repository, "ann")
    engine.close()
    calls = [
        ("ann", "message.send", {"content": 5}),
        ("ann", "message.send", {}),
        ("ann", "message.send", {"content": "x", "to": ["@nobody"]}),
        ("ann", "message.send", {"content": "x", "acting_as": "bob"}),
        ("ann", "message.get", {"message_id": "msg_x"}),
        ("ann", "subscribe", {}),
        ("ann", "subscribe", {"all": True, "since": "msg_x"}),
        ("ann", "unsubscribe", {"subscription_id": 0}),
        ("ann", "user.register", {"username": "../x"}),
        ("ann", "session.end", {"session_id": "ses_x"}),
        ("zoe", "message.send", {"content": "x"}),
        ("user:zoe", "message.send", {"content": "x"}),
    ]
    here, there = InProcess(repository), door(repository)
    try:
        for name, method, params in calls:
            refused = []
            for one in (here, there):
                with pytest.raises(ThrumError) as caught:
                    one.call(name, method, **params)
                refused.append(caught.value.as_json())
            assert refused[0] == refused[1], method
    finally:
        here.close()
        there.close()


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
