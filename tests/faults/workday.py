"""What the kill, power and disk suites have somebody do: real commands in one warm process, each acknowledged on a line.

A line of the output is written after a command ended with 0: `ACK what ids...`. What must be true afterwards is in `Books`.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests import kit
from tests.faults import scene, trace
from tests.faults.ledger import Ledger
from tests.sync.house import fsck
from thrum import client
from thrum.__main__ import main
from thrum.caller import Claim
from thrum.cli import answer, app, founding, setup  # noqa: F401 (what a fork shall find loaded)
from thrum.engine import Call, Engine, database_path
from thrum.errors import ThrumError
from thrum.git import index, libgit, remote, worktree  # noqa: F401
from thrum.store import proof
from thrum.sync import cycle  # noqa: F401


class CommandFailed(Exception):
    """A command ended with another code than 0: `args` are the words, the code, what it printed."""


def thrum(cwd: str, *words: str) -> dict[str, object]:
    """Runs a command in this process as `git thrum` would; its JSON answer. Raises CommandFailed."""
    os.chdir(cwd)
    kept, out = os.dup(1), os.memfd_create("out")
    os.dup2(out, 1)
    client.interrupts.clear()
    try:
        code = main([*words, "--json"])
    finally:
        os.dup2(kept, 1)
        os.close(kept)
    said = os.pread(out, 1 << 24, 0)
    os.close(out)
    if code:
        raise CommandFailed(words, code, said.decode())
    found: dict[str, object] = json.loads(said)
    return found


def acknowledge(*words: object) -> None:
    """Says on the output that something is done; in one write, so that half a line is none."""
    os.write(1, ("ACK " + " ".join(map(str, words)) + "\n").encode())


def write_and_read(repo: str, tag: str) -> None:
    """Ann sends, answers, edits, takes back; Bob reads."""
    first = thrum(repo, "--name", "ann", "send", f"{tag} one", "--to", "@bob")["message_id"]
    acknowledge("send", first)
    second = thrum(repo, "--name", "bob", "reply", str(first), f"{tag} two")["message_id"]
    acknowledge("send", second)
    thrum(repo, "--name", "ann", "message", "edit", str(first), f"{tag} edited")
    acknowledge("edit", first, f"{tag} edited")
    third = thrum(repo, "--name", "ann", "send", f"{tag} three")["message_id"]
    acknowledge("send", third)
    thrum(repo, "--name", "ann", "message", "delete", str(third), "--force")
    acknowledge("delete", third)
    thrum(repo, "--name", "bob", "inbox", "--page-size", "2")
    acknowledge("read", first)


def hire_and_sync(repo: str, tag: str) -> None:
    """Somebody new begins, says a word, and everything is synced."""
    name = f"new_{tag}"
    thrum(repo, "quickstart", "--role", "tester", "--module", "core", "--name", name)
    acknowledge("hire", name)
    said = thrum(repo, "--name", name, "send", f"{tag} hello")["message_id"]
    acknowledge("send", said)
    thrum(repo, "sync", "force")
    acknowledge("sync")


def first_steps(repo: str, tag: str) -> None:
    """A log's first lines, many agents' one after the other: every file and folder is new."""
    for number in range(3):
        name = f"first{number}_{tag}"
        thrum(repo, "quickstart", "--role", "tester", "--module", "core", "--name", name)
        acknowledge("hire", name)
        acknowledge("send", thrum(repo, "--name", name, "send", f"{tag} I am new")["message_id"])


def sync_only(repo: str, tag: str) -> None:
    """A message, and a cycle for it."""
    acknowledge("send", thrum(repo, "--name", "ann", "send", f"{tag} to sync")["message_id"])
    thrum(repo, "sync", "force")
    acknowledge("sync")


def several_at_once(repo: str, tag: str) -> None:
    """Ann and Bob send three messages each at the same moment, to a daemon's engine; twice, the second time Bob by himself."""
    with engine_on(repo) as engine:
        engine.serve()
        for round_, names in enumerate((("ann", "bob"), ("bob",))):
            calls = [_sending(repo, name, f"{tag} {round_} {number}") for name in names for number in range(3)]
            for outcome in engine.call_together(calls):
                if isinstance(outcome, ThrumError):
                    told = {"code": outcome.code, "hint": outcome.hint, "message": str(outcome)}
                    raise CommandFailed(("send",), 1, json.dumps({"error": told}))
                if isinstance(outcome, BaseException):
                    raise outcome
                acknowledge("send", outcome["message_id"])
            engine.settle()


def _sending(repo: str, name: str, text: str) -> Call:
    return Call("message.send", {"content": text * 200, "to": ["@bob"]}, Claim(cwd=repo, name=name))


class Books:
    """What was acknowledged in one repository, and the question whether it is still so."""

    def __init__(self, ledger: Ledger, repo: str) -> None:
        self.ledger, self.repo = ledger, repo
        self.sent: set[str] = set()
        self.edited: dict[str, str] = {}
        self.deleted: set[str] = set()
        self.read: set[str] = set()
        self.hired: set[str] = set()

    def take(self, output: str) -> int:
        """Enters the acknowledgements of an output; how many they were."""
        lines = [line.split(" ", 3) for line in output.split("\n")[:-1] if line.startswith("ACK ")]
        for _, what, *rest in lines:
            if what == "sync":
                continue
            self.ledger.acknowledge(f"{what}:{rest[0]}")
            {"send": self.sent, "delete": self.deleted, "read": self.read, "hire": self.hired}.get(what, set()).add(
                rest[0]
            )
            if what == "edit":
                self.edited[rest[0]] = rest[1]
        return len(lines)

    def check(self, engine: Engine) -> None:
        """Everything acknowledged is there once, and nothing is half. Raises AssertionError."""
        engine.catch_up()
        sql = engine.projection.connection
        rows = sql.execute("SELECT message_id, line, deleted_at FROM message").fetchall()
        there = {row[0]: row for row in rows}
        assert len(there) == len(rows)
        missing = self.sent - there.keys()
        assert not missing, f"lost {sorted(missing)[:3]}"
        for message_id in self.deleted:
            assert there[message_id][2], f"{message_id} came back"
        for message_id, text in self.edited.items():
            shown = engine.mail.get(message_id)
            assert shown and shown["body"]["content"] == text, (message_id, text, shown)
        marks = {row[0] for row in sql.execute("SELECT message_id FROM read_mark")}
        assert self.read <= marks, f"unread again: {sorted(self.read - marks)[:3]}"
        known = {row[0] for row in sql.execute("SELECT agent_id FROM agent")}
        assert self.hired <= known, f"not known: {sorted(self.hired - known)}"

    def heals(self, moment: str, sound: bool = True) -> None:
        """The next ordinary command works, everything acknowledged is there, and (`sound`) git finds no fault.

        Raises AssertionError that names the moment.
        """
        began = time.monotonic()
        try:
            said = thrum(self.repo, "--name", "ann", "send", moment)["message_id"]
            self.ledger.recovered(time.monotonic() - began)
            self.take(f"ACK send {said}\n")
            with engine_on(self.repo) as engine:
                self.check(engine)
            if sound:
                fsck(self.repo)
        except Exception as error:
            raise AssertionError(moment) from error

    def leaves_no_litter(self) -> None:
        """Whatever the dead left is gone once somebody did the same things later; and the balance is right."""
        scene.age([*scene.litter(self.repo), *scene.locks(self.repo + "/.git"), *self._locks_at_the_remote()])
        for log in Path(self.repo, ".git/thrum-sync/a-sync/messages/ann").glob("*"):
            with open(max(log.glob("*/*.jsonl")), "ab") as file:
                file.write(b'{"half')  # they did die in the middle of a line
        write_and_read(self.repo, "later")
        hire_and_sync(self.repo, "later")
        left = scene.litter(self.repo)
        assert not left, left
        with engine_on(self.repo) as engine:
            self.close(engine)
            assert not uncommitted(Path(engine.place.log_root))
        self.ledger.balance()

    def _locks_at_the_remote(self) -> list[str]:
        """There, too, a git of ours may have been kept from removing its lock."""
        origin = kit.git(self.repo, "remote", "get-url", "origin", check=False).strip()
        return scene.locks(origin) if origin else []

    def close(self, engine: Engine) -> None:
        """Once, in the end: what is there goes into the ledger, one entry for each time it is there on the disk."""
        for what, ids in (("edit", self.edited), ("delete", self.deleted), ("read", self.read), ("hire", self.hired)):
            self.ledger.find(*(f"{what}:{one}" for one in ids))
        self.ledger.find(*(f"send:{one}" for one in created_on_disk(engine.place.log_root)))
        assert proof.check(engine.place.log_root, database_path(engine.place), engine.origin) == []


def uncommitted(root: Path) -> list[str]:
    """What the branch has not of its worktree. Whoever was stopped before his first line has nothing in his log to commit."""
    told = kit.git(root, "status", "--porcelain", "-uall").splitlines()
    return [line for line in told if not line.startswith("?? ") or (root / line[3:]).stat().st_size]


@contextlib.contextmanager
def engine_on(repo: str) -> Iterator[Engine]:
    """An engine for as long as it is asked."""
    engine = kit.open_engine(repo)
    try:
        yield engine
    finally:
        engine.close()


def created_on_disk(root: str) -> list[str]:
    """The id of every `message.create` in the logs, as often as it is there."""
    found = []
    for path, data in kit.files(root).items():
        if path.endswith(".jsonl"):
            lines = [json.loads(line) for line in data.split(b"\n") if line]
            found += [line["message_id"] for line in lines if line.get("type") == "message.create"]
    return found


def play(
    work: object, point: trace.Point, *arguments: str, seconds: float = 60, then: object = None
) -> tuple[trace.Run, str, str]:
    """Does some work in a fork, up to a point; the run, what it printed, and what it complained of."""
    out, err = os.memfd_create("out"), os.memfd_create("err")
    os.set_inheritable(out, True)
    try:
        run = trace.traced(lambda: work(*arguments), point, seconds, then, out=out, err=err)  # type: ignore[operator,arg-type]
        return run, os.pread(out, 1 << 20, 0).decode(), os.pread(err, 1 << 20, 0).decode()
    finally:
        os.close(out)
        os.close(err)
