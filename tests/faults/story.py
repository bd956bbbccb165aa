"""Two agents with a past, and everything they can see of it: what a fault must not change."""

import json
import os
import shutil
import subprocess
import sys
from typing import NamedTuple

from tests import kit

_GIVEN_UP = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
MAY_BE_REFUSED = not _GIVEN_UP or shutil.which("setpriv") is not None
"""Whether a process can be started that a file's mode keeps out."""
VOLATILE = {"last_seen", "last_seen_at", "now", "uptime", "uptime_ms", "age", "pid", "idle", "online", "status"}
QUESTIONS = [
    ("message.list", {"page_size": 100}),
    ("message.list", {"page_size": 100, "unread": True}),
    ("message.list", {"page_size": 100, "all": True, "include_deleted": True, "sort_by": "updated_at"}),
    ("message.sent", {"page_size": 100}),
    ("message.search", {"query": "words", "page_size": 100}),
    ("thread.list", {"page_size": 100}),
    ("agent.list", {}),
    ("agent.whoHas", {"file": "readme"}),
    ("session.list", {}),
    ("subscriptions.list", {}),
]


def tell(call, size=60, words=30):
    """Ann and Bob write, reply, edit, delete and read: `call(name, method, **params)`; the ids of what was sent."""
    sent = []
    for number in range(size):
        who, other = ("ann", "bob") if number % 3 else ("bob", "ann")
        text = f"{number} " + "words " * words
        if number % 7 == 3:
            sent.append(call(who, "message.reply", message_id=sent[-1], content=text)["message_id"])
        else:
            sent.append(call(who, "message.send", content=text, to=[other] if number % 2 else None)["message_id"])
    call("ann", "message.edit", message_id=sent[1], content="edited " * 400)
    call("ann", "message.delete", message_id=sent[2], reason="wrong")
    call("bob", "message.markRead", message_ids=sent[: size // 2])
    call("ann", "message.markRead", message_ids=sent[: size // 4])
    call("ann", "subscribe", all=True)
    return sent


def look(call):
    """All answers to all questions of both, without what the clock changes."""
    return [
        (who, method, settled(call(who, method, **params))) for who in ("ann", "bob") for method, params in QUESTIONS
    ]


def settled(value):
    """A JSON value without what the clock changes."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items() if key not in VOLATILE}
    return [settled(item) for item in value] if isinstance(value, list) else value


class Cast:
    """An engine and its two callers: `cast("ann", "message.send", content="hi")`."""

    def __init__(self, engine, repository, hired=False):
        self.engine, self.repository = engine, repository
        hire = (lambda name: kit.Caller(engine, repository, name)) if hired else self._hire
        self.callers = {name: hire(name) for name in ("ann", "bob")}

    def _hire(self, name):
        return kit.hire(self.engine, self.repository, name)

    def __call__(self, who, method, /, **params):
        return self.callers[who](method, **params)


class Ended(NamedTuple):
    """How a process ended."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def json(self):
        """The one JSON document it printed."""
        return json.loads(self.stdout)


def refused(repository, *words):
    """Runs the program as somebody to whom files' modes apply, with `--json`."""
    return _run([*_GIVEN_UP, sys.executable, "-m", "thrum", *words, "--json"], repository)


def _run(command, repository):
    environ = {**os.environ, "PYTHONPATH": os.path.dirname(kit.FIXTURES)}
    done = subprocess.run(command, cwd=repository, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return Ended(done.returncode, done.stdout, done.stderr)


def program(repository, *words):
    """Runs the program as a user would, with `--json`."""
    return _run([sys.executable, "-m", "thrum", *words, "--json"], repository)
