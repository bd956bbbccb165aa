"""One of many that work at once: `worker.py DOOR WORKTREE NAME SEED SECONDS PROMISES`.

It sends, edits, deletes, reads and syncs through the command line or the daemon's socket, and writes down what was
acknowledged: one JSON list a line. Who gets no answer to a message asks again with the same request id; what else got none was
promised nothing.
"""

import json
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

from thrum.git import place

PROGRAM = str(Path(__file__).resolve().parents[2] / "git-thrum")


class Refused(Exception):
    """An answer, and it was no."""


class CommandLine:
    """Whole commands, each in a process of its own."""

    def __init__(self, worktree, name):
        self.worktree, self.name = worktree, name

    def send(self, text, request_id):
        return self._run("send", text, "--request-id", request_id)["message_id"]

    def edit(self, message_id, text):
        self._run("message", "edit", message_id, text)

    def delete(self, message_id):
        self._run("message", "delete", message_id)

    def read(self):
        return [message["message_id"] for message in self._run("inbox", "--unread")["messages"]]

    def mark(self, message_ids):
        self._run("message", "read", *message_ids)

    def sync(self):
        self._run("sync", "force")

    def _run(self, *words):
        line = [PROGRAM, *words, "--json", "--name", self.name]
        done = subprocess.run(line, cwd=self.worktree, capture_output=True, text=True, timeout=100)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)
        return json.loads(done.stdout)


class Wire:
    """JSON-RPC over the daemon's socket, connected again whenever the daemon was killed."""

    def __init__(self, worktree, name):
        self._caller = {"cwd": worktree, "name": name}
        self._path, self._file = place.find(worktree).socket, None

    def send(self, text, request_id):
        return self._call("message.send", content=text, request_id=request_id)["message_id"]

    def edit(self, message_id, text):
        self._call("message.edit", message_id=message_id, content=text)

    def delete(self, message_id):
        self._call("message.delete", message_id=message_id)

    def read(self):
        return [message["message_id"] for message in self._call("message.list", unread=True)["messages"]]

    def mark(self, message_ids):
        self._call("message.markRead", message_ids=message_ids)

    def sync(self):
        self._call("sync.force")

    def _call(self, method, **params):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "caller": self._caller}}
        try:
            if self._file is None:
                connection = socket.socket(socket.AF_UNIX)
                connection.settimeout(100)
                connection.connect(self._path)
                self._file = connection.makefile("rwb")
            self._file.write(json.dumps(request).encode() + b"\n")
            self._file.flush()
            answer = json.loads(self._file.readline())
        except (OSError, ValueError):
            self._file = None
            raise
        if "error" in answer:
            raise Refused(json.dumps(answer["error"]))
        return answer["result"]


class Worker:
    """Does something at random until the time is up."""

    def __init__(self, door, name, seed, promises):
        self.door, self.name, self.promises = door, name, promises
        self.rng, self.count, self.own = random.Random(seed), 0, []

    def run(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            does = self.rng.choice([self.say, self.say, self.say, self.change, self.change, self.take_back, self.look])
            does = self.exchange if self.rng.random() < 0.05 else does
            try:
                does()
            except (OSError, ValueError):
                time.sleep(0.05)

    def say(self):
        self.count += 1
        text = f"{self.name}-{self.rng.getrandbits(40):x}-{self.count}"
        while True:
            try:
                message_id = self.door.send(text, text)
                break
            except (OSError, ValueError):
                time.sleep(0.05)
        self.own.append(message_id)
        self._promise("message", message_id, text)

    def change(self):
        if self.own:
            message_id, text = self.rng.choice(self.own), f"edit-{self.name}-{self.rng.getrandbits(40):x}"
            self.door.edit(message_id, text)
            self._promise("edit", message_id, text)

    def take_back(self):
        if len(self.own) > 3:
            message_id = self.own.pop(self.rng.randrange(len(self.own)))
            self.door.delete(message_id)
            self._promise("delete", message_id, self.name)

    def look(self):
        found = self.door.read()
        if found:
            self.door.mark(found)
            for message_id in found:
                self._promise("read", message_id, self.name)

    def exchange(self):
        """Others may be faster a dozen times, or somebody's `gc` takes what was just written: the next cycle tries again."""
        try:
            self.door.sync()
        except Refused as refusal:
            if not any(word in str(refusal) for word in ("nothing is lost", "is missing or damaged")):
                raise

    def _promise(self, *fact):
        self.promises.write(json.dumps(fact) + "\n")
        self.promises.flush()


if __name__ == "__main__":
    kind, worktree, name, seed, seconds, path = sys.argv[1:]
    with open(path, "a") as file:
        Worker({"cli": CommandLine, "wire": Wire}[kind](worktree, name), name, seed, file).run(float(seconds))
