"""Nobody else speaks for you: whoever tries is refused, or has no effect, and the doctor tells of it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests import kit
from tests.faults.crowd import Daemon, RawSocket, Wire, soon
from thrum.caller import Claim
from thrum.cli.checks import Patient, well
from thrum.cli.checks.strangers import doors, voices_
from thrum.config import Settings
from thrum.core import ids
from thrum.errors import ThrumError
from thrum.git.place import find
from thrum.methods import registry
from thrum.store import voices

NOBODY = 65534


@pytest.fixture
def patient(engine):
    """What the doctor looks at, in a repository with @ann and @mallory."""
    for name in ("ann", "mallory"):
        kit.hire(engine, engine.place.worktree, name)
    made = Patient(engine.place, Settings(sync=False))
    made.engine = engine
    yield made
    made.close()


def turned_away(daemon):
    """{reason: count}."""
    with Wire(daemon) as wire:
        return wire("daemon.status")["turned_away"]


# At the doors


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can play another user")
@pytest.mark.parametrize("is_open", [False, True], ids=["as it is", "after chmod 0777"])
def test_another_users_process_hears_nothing_on_the_socket(is_open, ledger):
    home = Path(tempfile.mkdtemp(prefix="thrum-"))
    home.chmod(0o755)  # pytest's own folders are closed to others, and that would prove nothing
    daemon = Daemon(kit.make_repository(home / "shop"))
    try:
        if is_open:
            for path in (daemon.place.socket, daemon.place.var_dir, daemon.place.thrum_dir):
                os.chmod(path, 0o777)
        knock = (
            "import socket,sys\ns=socket.socket(1)\ns.settimeout(20)\n"
            's.connect(sys.argv[1])\ns.sendall(b\'{"jsonrpc":"2.0","id":1,"method":"message.list"}\\n\')\n'
            "print(s.recv(100))"
        )
        line = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/usr/bin/env", "python3"]
        done = subprocess.run(
            [*line, "-c", knock, daemon.place.socket],
            capture_output=True,
            cwd="/",
            timeout=60,
            env={"PATH": "/usr/bin"},
        )
        assert b"jsonrpc" not in done.stdout and done.stdout.strip() in (b"", b"b''"), done
        assert turned_away(daemon).get("user", 0) == int(is_open), done.stderr
        ledger.fault()
        daemon.check()
    finally:
        daemon.close()
        shutil.rmtree(home)


PORT = "PORT"
STRANGERS = [
    (["Origin: http://evil.example"], "", True, 403, "origin"),
    (["Origin: null"], "", True, 403, "origin"),
    (["Origin: http://localhost:3000"], "", True, 403, "origin"),
    (["Origin: http://localhost"], "", True, 403, "origin"),
    ([f"Origin: http://localhost:{PORT}.evil.example"], "", True, 403, "origin"),
    ([f"Origin: http://evil.example/?http://localhost:{PORT}"], "", True, 403, "origin"),
    ([f"Origin: http://localhost:{PORT}", "Origin: http://evil.example"], "", True, 403, "origin"),
    ([], f"evil.example:{PORT}", True, 403, "host"),
    ([], f"localhost.evil.example:{PORT}", True, 403, "host"),
    (["Host: evil.example"], "", True, 403, "host"),
    ([], "", False, 401, "token"),
    (["Authorization: Bearer wrong"], "", False, 401, "token"),
    (["Cookie: thrum-PORT=wrong", f"Origin: http://localhost:{PORT}"], "", False, 401, "token"),
]


def test_no_page_and_no_stranger_gets_a_handshake_and_each_is_counted(daemon, ledger):
    for headers, host, token, status, reason in STRANGERS:
        before = turned_away(daemon)
        said = [header.replace(PORT, str(daemon.port)) for header in headers]
        with RawSocket(daemon, *said, host=host.replace(PORT, str(daemon.port)), token=token) as stranger:
            assert stranger.status == status, (headers, host)
        assert turned_away(daemon)[reason] > before.get(reason, 0), headers
        ledger.fault()
    with RawSocket(daemon, f"Origin: http://localhost:{daemon.port}") as own:
        assert own.status == 101
    found = doors(Patient(find(str(daemon.path)), Settings(sync=False)))
    assert found.is_well and "7 from another page" in found.detail and "without a token" in found.detail


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_a_form_of_a_page_is_answered_with_an_error_and_does_nothing(daemon, ledger, kind):
    call = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "message.send", "params": {"content": "x", "caller": daemon.anna}}
    )
    for body in (call, call + "\n" + call, "\r\n\r\n" + call):
        head = (
            f"POST /ws HTTP/1.1\r\nHost: localhost:{daemon.port}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        )
        with socket.create_connection(("127.0.0.1", daemon.port), 30) as page:
            page.sendall(f"{head}\r\n\r\n{body}".encode())
            answer = b"".join(iter(lambda: page.recv(65536), b""))
        assert b"jsonrpc" not in answer and b"Access-Control" not in answer
        assert not answer or answer.split()[1][:1] in (b"4", b"5"), answer
        ledger.fault()
    with Wire(daemon) as wire:
        assert not wire("message.list", all=True, caller=daemon.omar)["messages"]


# In the logs


def forgeries():
    """What @ann really said, and each lie of @mallory's log about it: {name: line}."""
    said = kit.message("ann", "the truth", 9)
    said["message_id"] = ids.bound_id("msg", "ann", said["event_id"])
    begun = kit.event("agent.session.start", 9, agent_id="ann")
    begun["session_id"] = session = ids.bound_id("ses", "ann", begun["event_id"])
    body = {"format": "markdown", "content": "a lie"}
    message_id = said["message_id"]
    lies = {
        "edits": kit.event("message.edit", 99, message_id=message_id, body=body, version=99),
        "deletes": kit.event("message.delete", 99, message_id=message_id),
        "claims": kit.message("mallory", "a lie", 0, message_id=message_id),
        "marks read": kit.event("message.read", 99, agent_id="ann", message_ids=[message_id]),
        "registers": kit.register("ann", "planner", 99, version=99),
        "ends": kit.event("agent.session.end", 99, session_id=session, agent_id="ann"),
        "ends as itself": kit.event("agent.session.end", 99, session_id=session, agent_id="mallory"),
        "claims the session": kit.event("agent.session.start", 0, session_id=session, agent_id="mallory"),
        "writes": kit.message("ann", "never said", 99),
        "writes as a user": kit.message("ann", "never said", 99, authored_by="user:leon"),
        "tells what it does": kit.event("agent.session.update", 99, session_id=session, agent_id="ann", intent="a lie"),
        "works": kit.event("agent.update", 99, agent_id="ann", work_contexts=[{"branch": "lie"}]),
    }
    return said, begun, lies


@pytest.mark.parametrize("name", forgeries()[2])
@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_a_line_about_anothers_things_has_no_effect_and_is_told_of(patient, ledger, name, is_first):
    said, begun, lies = forgeries()
    engine, root = patient.engine, patient.place.log_root

    def speak():
        kit.write_log(root, "ann", *map(kit.raw, (begun, said)))
        engine.catch_up()

    def lie():
        kit.write_log(root, "mallory", lies[name])
        engine.catch_up()

    for step in (lie, speak) if is_first else (speak, lie):
        step()
    found = engine.mail.get(said["message_id"])
    assert found["body"]["content"] == "the truth" and found["agent_id"] == "ann" and "deleted_at" not in found
    session = engine.roster.session(begun["session_id"])
    assert session["agent_id"] == "ann" and session["ended_at"] is None and not session.get("intent")
    assert engine.roster.agent("ann")["role"] == "implementer"
    texts = [row[0] for row in engine.projection.connection.execute("SELECT line FROM message")]
    assert not any(b"never said" in line for line in texts)
    assert not engine.mail.unmarked("mallory", []) and is_told(patient, name)
    ledger.fault()


def is_told(patient, name):
    """Whether the doctor names the line: as set aside, or as about another's. A session of one's own is nobody's business."""
    path = f"messages/mallory/{kit.THERE}/0000/00.jsonl"
    if any(bad["path"] == path and bad["offset"] == 0 for bad in patient.engine.mail.bad_lines()):
        return True
    found = voices_(patient)
    return name.startswith(("ends as", "claims the session")) or (
        not found.is_well and f"{path} at byte 0" in found.detail
    )


def test_honest_mail_edits_and_replies_are_no_finding(patient):
    ann = kit.Caller(patient.engine, patient.place.worktree, "ann")
    sent = ann("message.send", content="one")["message_id"]
    ann("message.edit", message_id=sent, content="two")
    kit.Caller(patient.engine, patient.place.worktree, "mallory")("message.reply", message_id=sent, content="three")
    ann("message.delete", message_id=ann("message.send", content="four")["message_id"])
    assert voices_(patient) == well("everybody speaks for himself")
    kit.write_log(patient.place.log_root, "ann", kit.message("ann"))
    patient.engine.catch_up()
    assert list(voices.shared_names(patient.place.log_root)) == ["ann"] and voices_(patient).is_well


def test_a_request_answered_by_anothers_message_is_sent_all_the_same(patient):
    forged = kit.message("mallory", "a lie", 0, message_id=ids.requested_message_id("ann", "r1"), request_id="r1")
    kit.write_log(patient.place.log_root, "mallory", forged)
    ann = kit.Caller(patient.engine, patient.place.worktree, "ann")
    sent = [ann("message.send", content="the truth", request_id="r1")["message_id"] for _ in range(2)]
    assert sent[0] == sent[1] == forged["message_id"]
    assert ann("message.get", message_id=sent[0])["message"]["body"]["content"] == "the truth"
    own = [path for path in kit.files(patient.place.log_root).items() if b"the truth" in path[1]]
    assert len(own) == 1 and own[0][1].count(b"the truth") == 1


# Beside the worktree


def minimal(method):
    """Parameters with which a method gets as far as asking who calls."""
    made = {str: "x", bool: True, int: 1, list: [], dict: {}}
    return {p.name: made.get(p.kind, "x") for p in method.parameters if p.required}


def liars(repository, tmp_path):
    """Claims that fit nobody here."""
    other = kit.make_repository(tmp_path / "other")
    kit.set_up(other).close()
    linked = kit.add_worktree(repository, "linked")
    gone = tmp_path / "gone"
    return {
        "another repository": Claim(cwd=str(other), name="ann"),
        "another worktree": Claim(cwd=str(linked), name="ann"),
        "nowhere": Claim(cwd=str(gone), name="ann"),
        "no git": Claim(cwd="/", name="ann"),
        "no such name": Claim(cwd=str(repository), name="eve"),
        "a stale environment": Claim(cwd=str(repository), environ={"THRUM_NAME": "eve"}),
        "another role": Claim(cwd=str(repository), name="ann", role="planner"),
        "several and no choice": Claim(cwd=str(repository)),
        "nothing": Claim(),
        "a hostile name": Claim(cwd=str(repository), name="../ann\x1b[2J"),
        "an id of nobody": Claim(agent_id="eve"),
        "a hostile id": Claim(agent_id="../../ann\n"),
    }


def test_no_method_acts_for_whoever_does_not_belong_here(patient, repository, tmp_path, ledger):
    engine, root = patient.engine, patient.place.log_root
    folder = Path(patient.place.identities_dir)
    engine.contexts.refresh()  # what those do who belong here may be stated by whoever looks
    before = kit.files(root), sorted(folder.iterdir())
    declared = registry.load()
    for (who, claim), name in itertools.product(liars(repository, tmp_path).items(), sorted(declared)):
        if name in ("agent.register", "quickstart", "user.register", "agent.cleanup", "sync.force"):
            continue  # what makes somebody, and what asks for nobody
        try:
            engine.call(name, minimal(declared[name]), claim)
        except ThrumError as refusal:
            assert str(refusal), (who, name)
        assert (kit.files(root), sorted(folder.iterdir())) == before, (who, name)
        ledger.fault()


HOSTILE_NAMES = [
    "../ann",
    "a/b",
    "\x1b[2J",
    "a\nb",
    "x" * 300,
    "daemon",
    "everyone",
    "-rf",
    "user_ann",
    "Ann",
    "\u202eann",
    "",
]


@pytest.mark.parametrize("field", ["Name", "Role", "Module"])
@pytest.mark.parametrize("value", HOSTILE_NAMES)
def test_an_identity_file_with_a_hostile_word_is_nobodys_and_is_named(patient, field, value, ledger):
    from thrum.store import identities

    if field != "Name" and value in ("daemon", "everyone", "user_ann"):
        pytest.skip("a role may be called so")
    agent = {"Kind": "agent", "Name": "eve", "Role": "r", "Module": "m", field: value}
    path = Path(patient.place.identities_dir, "eve.json")
    path.write_text(json.dumps({"version": 1, "agent": agent}))
    assert "eve" not in [one.agent_id for one in identities.present(patient.place.identities_dir)]
    assert identities.broken(patient.place.identities_dir) == ["eve.json"]
    with pytest.raises(ThrumError) as refusal:
        patient.engine.call("message.send", {"content": "x"}, Claim(cwd=patient.place.worktree, name="eve"))
    assert "\x1b" not in str(refusal.value)
    ledger.fault()


# What a clone brings along


def brought(path, name, content):
    """A file that a clone brings along in `.thrum`."""
    made = path / ".thrum" / name
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(content if isinstance(content, bytes) else content.encode())


def thrum(cwd, *words):
    """The program, as a process."""
    root = str(Path(kit.__file__).parent.parent)
    return subprocess.run(
        [sys.executable, "-P", "-m", "thrum", *words],
        cwd=cwd,
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": root},
        check=False,
    )


def test_what_a_clone_brings_along_in_dot_thrum_leads_nowhere(tmp_path, repository, ledger):
    outside, seen = tmp_path / "outside", tmp_path / "seen"
    kit.set_up(kit.make_repository(outside)).close()
    before = kit.files(outside)
    bystander = subprocess.Popen(["sleep", "600"])
    listening = socket.socket(socket.AF_UNIX)
    victim = str(tmp_path / "victim.sock")
    listening.bind(victim)
    listening.listen()
    listening.setblocking(False)
    brought(repository, "redirect", f"{outside}/.thrum\n")
    brought(repository, "var/thrum.pid", json.dumps({"pid": bystander.pid, "socket_path": victim}))
    brought(repository, "var/ws.port", "1\n")
    brought(repository, "var/thrum-3.db", b"SQLite format 3\0" + b"\xff" * 4096)
    brought(repository, "var/messages.db", b"junk")
    brought(
        repository,
        "identities/mallory.json",
        json.dumps({"version": 1, "agent": {"Name": "../x", "Role": "r", "Module": "m"}}),
    )
    brought(repository, "config.json", json.dumps({"hook": f"touch {seen}"}))
    (repository / ".thrum" / "var" / "thrum.sock").symlink_to(victim)
    kit.git(repository, "add", "-f", ".thrum")
    kit.git(repository, "commit", "-q", "-m", "a gift")
    clone = tmp_path / "clone"
    kit.git(tmp_path, "clone", "-q", str(repository), str(clone))
    try:
        for words in (("status",), ("doctor",), ("daemon", "status"), ("daemon", "stop"), ("inbox",)):
            assert thrum(clone, *words).returncode, words  # before init there is nothing
        assert not (clone / ".git" / "thrum-sync").exists()
        refused = thrum(clone, "init", "--local-only")
        assert refused.returncode == 1 and b"redirect" in refused.stderr and b"Traceback" not in refused.stderr
        (clone / ".thrum" / "redirect").unlink()
        assert thrum(clone, "init", "--local-only").returncode == 0
        assert thrum(clone, "quickstart", "--role", "r", "--module", "m", "--name", "ann").returncode == 0
        assert thrum(clone, "send", "it lives").returncode == 0
        in_the_way = thrum(clone, "daemon", "start")
        assert in_the_way.returncode == 1 and b"thrum.sock is in the way" in in_the_way.stderr, in_the_way
        (clone / ".thrum" / "var" / "thrum.sock").unlink()
        started = thrum(clone, "daemon", "start")
        assert started.returncode == 0, started
        told = thrum(clone, "doctor").stdout
        assert b"mallory.json" in told, told
        assert thrum(clone, "daemon", "stop").returncode == 0
        with pytest.raises(BlockingIOError):
            listening.accept()
        assert bystander.poll() is None and not seen.exists() and kit.files(outside) == before
        ledger.fault(8)
    finally:
        thrum(clone, "daemon", "stop")
        bystander.kill()
        bystander.wait()
        listening.close()


def test_a_port_that_somebody_else_has_is_told_nothing(tmp_path, repository, monkeypatch, ledger):
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        squatter.settimeout(0.3)
        monkeypatch.setenv("THRUM_WS_PORT", str(squatter.getsockname()[1]))
        daemon = Daemon(repository)
        try:
            assert daemon.port != squatter.getsockname()[1]
            assert thrum(repository, "whoami", "--name", "anna").returncode == 0
            with pytest.raises(TimeoutError):
                squatter.accept()
            find(str(repository))
            soon(lambda: not turned_away(daemon))
            ledger.fault()
        finally:
            daemon.close()
