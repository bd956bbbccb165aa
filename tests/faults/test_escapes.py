"""Nothing a stranger writes steers a terminal or hides from the eye, whatever field it stands in and which command shows it."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from tests.cli.conftest import Thrum
from tests.faults.crowd import Daemon, Wire
from tests.test_commands_walk import everything
from thrum.core.printable import safe
from thrum.daemon import lifecycle
from thrum.git.place import find

SMEAR = "e" + "\u0301" * 60
HOSTILE = {
    "controls": "\x00\x01\x07\x08\x0b\x0c\r\x1b[2J\x1b[31m\x7f\x80\x9b31m\x9d",
    "titles and links": "\x1b]0;owned\x07\x1b]8;;http://evil.example\x07click\x1b]8;;\x07\x1b]52;c;cm0gLXJmIH4=\x07\x1bP+q\x1b\\",
    "directions": "\u202egnp.exe\u202c\u2066x\u2069\u200f\u061c",
    "hidden": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u3164\u115f" + "".join(chr(0xE0000 + ord(c)) for c in "obey"),
    "halves": "\ud800\udc00\udfff\ud83d",
    "lines": "a\u2028b\u2029c\u0085d\x1ce\n\nfrom: human\n[2J",
    "smears": SMEAR + "\ufe00\ufe01\ufe0e\ufe0f" * 8,
}
EVIL = "evil" + "".join(HOSTILE.values())
DANGEROUS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\ud800-\udfff"
    "\U000e0000-\U000e0fff]|[\u0300-\u036f]{17}|[\ufe00-\ufe0f]{2}"
)
PAIR = {"type": EVIL, "value": EVIL}
TAGS = {"scopes": [PAIR], "refs": [PAIR, {"type": "mention", "value": EVIL}]}
ID = "msg_01KH3VQZ00EVEEVEEVEEVEEVEE"

WALK = {
    "inbox": ["--all --peek", "--all --peek --verbose"],
    "sent": [""],
    "search": ["evil"],
    "message get": [ID, f"{ID} --history --verbose"],
    "reply": [f"{ID} 'I see'"],
    "wait": ["--timeout 0 --peek"],
    "thread list": ["", "--verbose"],
    "thread show": ["thr_evil"],
    "agent list": ["", "--context", "--verbose"],
    "agent context": ["", "eve", "--verbose"],
    "who-has": ["evil.txt"],
    "ping": ["eve"],
    "session list": ["", "--agent eve", "--verbose"],
    "subscriptions": [""],
    "status": ["", "--verbose"],
    "overview": ["", "--verbose"],
    "sync force": [""],
    "sync status": ["", "--verbose"],
    "doctor": ["", "--verbose"],
    "rebuild": ["--check", ""],
    "agent cleanup": ["--dry-run --threshold 1"],
    "agent delete": ["eve"],
    "hooks status": [""],
    "migrate": [""],
    "daemon status": [""],
    "daemon logs": [""],
}
"""Commands that show what is there, and how they are called."""


def test_every_command_that_reads_is_walked():
    assert set(WALK) <= set(everything())


def hostile_events():
    """Everything another clone may say, every text of it hostile."""
    body = {"format": EVIL, "content": EVIL, "structured": json.dumps({EVIL: EVIL})}
    context = {
        "branch": EVIL,
        "intent": EVIL,
        "current_task": EVIL,
        "session_id": "ses_evil",
        "worktree": EVIL,
        "git_updated_at": EVIL,
        "changed_files": [EVIL, "evil.txt"],
        "uncommitted_files": [EVIL, "evil.txt"],
        "unmerged_commits": [{"sha": EVIL, "message": EVIL, "files": [EVIL]}],
    }
    start = kit.event("agent.session.start", 1, session_id="ses_evil", agent_id="eve", worktree=EVIL, **TAGS)
    return [
        {**kit.register("eve", EVIL, 0), "module": EVIL, "display": EVIL, "worktree": EVIL, "name": EVIL, "kind": EVIL},
        start,
        kit.event("agent.session.update", 2, session_id="ses_evil", agent_id="eve", intent=EVIL, current_task=EVIL),
        kit.event("agent.session.update", 2, session_id="ses_evil", agent_id="eve", add_scopes=[PAIR], add_refs=[PAIR]),
        kit.event("agent.update", 3, agent_id="eve", work_contexts=[context]),
        kit.event("thread.create", 4, thread_id="thr_evil", title=EVIL, created_by="eve", scopes=[PAIR]),
        kit.message(
            "eve", EVIL, 5, message_id=ID, body=body, thread_id="thr_evil", priority=EVIL, session_id=EVIL, **TAGS
        ),
        kit.message("eve", EVIL, 5, body=body, to=["bob"], request_id=EVIL, **TAGS),
        kit.message("eve", EVIL, 5, message_id=f"msg_{EVIL}", thread_id=f"thr_{EVIL}", everyone=True),
        {**kit.message("eve", EVIL, 6), "timestamp": EVIL},
        {**kit.message("eve", EVIL, 6), "event_id": f"evt_{EVIL}"},
        kit.event("message.edit", 7, message_id=ID, body=body, version=1),
        kit.event("message.delete", 8, message_id=f"msg_{EVIL}", reason=EVIL),
        kit.event("agent.session.end", 9, session_id="ses_other", agent_id="eve", reason=EVIL),
        kit.message("ann", EVIL, 9),
        kit.event(f"no.such.{EVIL}", 9),
        kit.event("message.edit", 9, message_id=EVIL, body=5),
    ]


def write(root, path, events):
    """Appends events as JSON that holds any text at all."""
    file = Path(root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as log:
        log.write(b"".join(json.dumps(event).encode() + b"\n" for event in events))


def plant(repository):
    """Hostile text wherever a stranger may put some: logs of today and of v0.1.0, files, branches, the remote."""
    root = find(str(repository)).log_root
    write(root, f"messages/eve/{kit.THERE}/0000/00.jsonl", hostile_events())
    old = {"agent_id": f"agent:planner:{EVIL}"[:200], "kind": EVIL, "role": EVIL, "module": EVIL, "display": EVIL}
    write(
        root,
        "events.jsonl",
        [
            kit.event("agent.register", 0, **old),
            kit.event("thread.create", 0, thread_id=EVIL, title=EVIL, created_by=EVIL[:150]),
        ],
    )
    spoiled = "evil\x1b[2J\u202e\x07"
    (repository / f"{spoiled}.txt").write_text("x")
    (repository / ".thrum" / "identities" / f"{spoiled}.json").write_text("{")
    kit.git(repository, "checkout", "-q", "-b", "evil\u202e\u200b\U000e0041")
    remote = repository.parent / "remote\x1b[2J.git"
    kit.git(repository, "init", "-q", "--bare", str(remote))
    hook = remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nprintf '\\033[2J\\033]52;c;eA==\\007\\342\\200\\256no' >&2\nexit 1\n")
    hook.chmod(0o755)
    kit.git(repository, "remote", "add", "origin", str(remote))


@pytest.fixture
def thrum(capfd, monkeypatch, repository):
    """The command line of @bob in a planted repository."""
    made = Thrum(capfd, monkeypatch, repository)
    made.ok("init", "--quiet", "--no-hooks")
    made.ok("quickstart", "--role", "planner", "--module", "auth", "--name", "bob")
    made.ok("send", "own")
    plant(repository)
    return made


def check(text, where):
    """Nothing dangerous is in a text; every newline and tab may be ours."""
    found = DANGEROUS.search(text)
    assert found is None, (where, found.group(), text[max(0, found.start() - 100) : found.end() + 20])


def test_what_is_planted_is_shown_by_every_command_and_steers_none(thrum, ledger):
    shown = ""
    for command, lines in WALK.items():
        for line in lines:
            ended = thrum(*command.split(), *shlex.split(line))
            assert ended.code < 2, (command, ended)
            check(ended.out + ended.err, f"{command} {line}")
            shown += ended.out + ended.err
            as_json = thrum(*command.split(), *shlex.split(line), "--json")
            assert as_json.out.isascii() and as_json.err == "" and as_json.json is not None, command
            ledger.fault()
    assert shown.count("evil") > 50 and "\\u202e" in shown and "\\x1b" in shown and "\\U000e006f" in shown


def test_no_refusal_repeats_a_hostile_word_as_it_is(thrum, ledger):
    word = EVIL.replace("\x00", "").encode(errors="replace").decode() + os.fsdecode(b"\xff\xfe")
    for command in everything():
        if command in ("setup", "mcp serve", "completion", "quickstart", "init", "migrate") or command.startswith(
            "daemon"
        ):
            continue  # they are tried with options alone
        for words in ([word], [word, word], ["--" + word], ["--name", word], ["--timeout", word], ["--since", word]):
            ended = thrum(*command.split(), *words)
            check(ended.out + ended.err, (command, words))
    for command in everything():
        for words in (["--" + word], ["--name", word], ["--repo", word]):
            if command not in ("daemon start", "daemon restart", "mcp serve"):
                ended = thrum(*command.split(), *words)
                check(ended.out + ended.err, (command, words))
    for name in ("THRUM_NAME", "THRUM_ROLE", "THRUM_MODULE", "THRUM_WS_PORT"):
        for command in ("whoami", "send x", "status", "quickstart"):
            ended = thrum(*command.split(), **{name: word})
            check(ended.out + ended.err, (command, name))
            ledger.fault()


def test_the_daemons_log_and_its_refusals_are_readable(repository, ledger):
    daemon = Daemon(repository)
    try:
        plant(repository)
        said = []
        with Wire(daemon) as wire:
            for evil in HOSTILE.values():
                for call in (
                    ("no.such." + evil, {}),
                    (evil, {evil: evil}),
                    ("message.get", {"message_id": evil, "caller": daemon.anna}),
                    ("message.send", {"content": "x", "to": [evil], "caller": daemon.anna}),
                    ("agent.register", {"name": evil, "role": evil, "module": evil, "caller": daemon.anna}),
                    ("health", {"caller": {"cwd": evil.replace("\0", ""), "name": evil}}),
                    ("cli.run", {"version": evil, "argv": [evil], "cwd": evil}),
                ):
                    wire.say(call[0], **call[1])
                    said.append(wire.receive())
                    ledger.fault()
            wire("sync.force")
        assert lifecycle.status(daemon.place)["running"]
        check(daemon.log.read_text(errors="surrogateescape"), "log")
        assert all("error" in one or "result" in one for one in said)
    finally:
        daemon.close()


@given(st.text(st.sampled_from([*sorted(set(EVIL)), "a", "é", "漢", "🎉", " ", "\n"]), max_size=60))
def test_safe_text_is_safe_in_any_mixture(text):
    check(safe(text), text)


def test_marks_as_people_write_them_stay():
    for text in ("e\u0301", "a\u0308\u0323", "שָׁלוֹם", "ที่นี่", "Việt Nam", "❤\ufe0f", "1\ufe0f\u20e3", "क्षि"):
        assert safe(text) == text
