"""The raw history: newest first, every event as it was written, with its place and its hash."""

import json
import os
import subprocess
import sys

import pytest

from tests import kit
from tests.cli.conftest import ROOT
from thrum.cli import log
from thrum.store import history
from thrum.store.log import line_hash


def log_of(repository, owner):
    folder = repository / ".git/thrum-sync/a-sync/messages" / owner
    return next(folder.glob("*/0000/00.jsonl"))


def texts(told):
    return [event["event"]["body"]["content"] for event in told["events"] if "body" in event.get("event", {})]


@pytest.fixture
def house(bob, rita):
    """@bob and @rita, who said three things."""
    bob.ok("send", "one", "--to", "@rita")
    rita.ok("send", "two")
    bob.ok("send", "three")
    return bob


def test_newest_first_and_one_line_an_event(house):
    lines = house.ok("log").splitlines()
    said = [line for line in lines if " said to " in line]
    assert [line.rsplit(": ", 1)[1] for line in said] == ["three", "two", "one"]
    assert "@bob" in said[0] and "said to everyone: three" in said[0] and "said to @rita: one" in said[2]
    assert "registered as planner, module auth" in lines[-2] + lines[-1]
    assert house.ok("log", "--reverse").splitlines() == lines[::-1]


def test_json_holds_every_event_as_it_stands_in_its_file(house, repository):
    house.ok("send", "ünï \u202e <b>")
    told = house.ask("log")
    root = repository / ".git/thrum-sync/a-sync"
    assert told["more"] is False
    for entry in told["events"]:
        raw = (root / entry["path"]).read_bytes()[entry["offset"] :].split(b"\n", 1)[0]
        assert entry["hash"] == line_hash(raw)
        assert entry["event"] == json.loads(raw)
    assert texts(told)[0] == "ünï \u202e <b>"
    assert house.ok("log", "--json").isascii()
    count = sum(len(path.read_bytes().splitlines()) for path in root.rglob("*.jsonl"))
    assert len(told["events"]) == count


def test_numbers_stay_as_they_were_written(bob, repository):
    line = (
        b'{"type":"x.future","timestamp":"2026-02-10T12:00:00Z","event_id":"e1", "n":1.50,"big":12345678901234567890}'
    )
    with open(log_of(repository, "bob"), "ab") as file:
        file.write(line + b"\n")
    assert line.decode() in bob.ok("log", "--json")


def test_an_agents_own(house):
    assert texts(house.ask("log", "--agent", "@rita")) == ["two"]
    ended = house("log", "--agent", "ritta")
    assert (ended.code, "did you mean @rita?" in ended.err) == (1, True)


def test_since_a_time_or_an_age(house):
    assert texts(house.ask("log", "--since", "1h")) == ["three", "two", "one"]
    assert house.ask("log", "--since", "2100-01-01")["events"] == []
    assert house.ok("log", "--since", "2100-01-01") == "nothing\n"
    assert house("log", "--since", "soon").code == 2


def test_a_thread_with_its_edits_and_readers(house, rita):
    sent = house.ask("sent")["messages"][1]["message_id"]
    reply = rita.ask("reply", sent, "looked")
    house.ok("inbox")
    rita.ok("message", "edit", reply["message_id"], "looked twice")
    thread = reply["thread_id"]
    told = house.ask("log", "--thread", thread)
    assert texts(told) == ["looked twice", "looked"]
    assert {entry["event"]["type"] for entry in told["events"]} == {
        "message.create",
        "message.edit",
        "message.read",
        "thread.create",
    }
    assert house.ask("log", "--thread", thread[4:-2]) == told
    assert house("log", "--thread", "thr_none").code == 1


def test_the_newest_few_whichever_way_they_are_shown(house):
    newest = house.ok("log").splitlines()[:3]
    assert house.ok("log", "-n", "3").splitlines() == newest
    assert house.ok("log", "-n", "3", "--reverse").splitlines() == newest[::-1]
    told = house.ask("log", "--limit", "2")
    assert (len(told["events"]), told["more"]) == (2, True)
    assert house.ask("log", "-n", "0")["more"] is False


def test_lines_set_aside_are_shown_when_asked_for(house, repository):
    path = log_of(repository, "bob")
    with open(path, "ab") as file:
        file.write(b"\xff\x1b[31mno json\n" + kit.raw(kit.message("rita", "not mine")) + b"\n" + b'{"half')
    house.ok("send", "four")
    assert "set aside" not in house.ok("log")
    shown = house.ok("log", "--set-aside")
    assert "claims to be rita's" in shown and "not UTF-8" in shown and "unfinished" in shown
    assert "\x1b" not in shown and "\\x1b[31mno json" in shown
    told = [entry for entry in house.ask("log", "--set-aside")["events"] if "reason" in entry]
    assert [entry["reason"].split(":")[0] for entry in told] == ["unfinished", "claims to be rita's", "not UTF-8"]
    assert told[0]["path"].startswith("quarantine/") and told[0]["text"] == '{"half'
    assert told[2]["hash"] == line_hash(b"\xff\x1b[31mno json") and told[2]["length"] == 13


def test_nothing_of_a_line_steers_a_terminal(bob, repository):
    bob.ok("send", "\x1b]0;title\x07 \u202egnp.exe\nsecond line")
    (line,) = [line for line in bob.ok("log").splitlines() if " said to " in line]
    assert "\x1b" not in line and "\u202e" not in line and "second line" in line


def test_an_event_of_another_version_is_shown_as_it_is(bob, repository):
    with open(log_of(repository, "bob"), "ab") as file:
        file.write(kit.raw(kit.event("x.future", agent_id="bob", news=1)) + b"\n")
    assert 'x.future: {"agent_id":"bob"' in bob.ok("log", "--verbose")


def test_a_broken_read_model_is_not_asked(house, repository):
    for path in (repository / ".thrum/var").glob("thrum-*.db*"):
        path.unlink()
    (repository / ".thrum/var/thrum-2.db").mkdir()
    assert "said to everyone: three" in house.ok("log")


def test_a_reader_that_leaves_early_is_no_trouble(house, repository):
    command = f"'{sys.executable}' -P -m thrum log | head -n 1"
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(["sh", "-c", command], cwd=repository, env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


def test_a_terminal_gets_a_screenful_and_is_told_of_the_rest(house, repository, monkeypatch):
    monkeypatch.setattr(log, "SCREEN", 2)
    monkeypatch.setattr(log.door, "terminal", lambda: (True, 80))
    ended = house("log")
    assert (len(ended.out.splitlines()), ended.err) == (2, "there is more: git thrum log -n 0\n")
    assert all(len(line) <= 90 for line in ended.out.splitlines())


def test_before_init_it_says_so(thrum):
    ended = thrum("log", "--json")
    assert (ended.code, ended.json["error"]["kind"]) == (1, "NotInitialised")


def test_an_error_in_the_middle_still_ends_in_one_document(house, monkeypatch):
    from thrum.errors import StorageError

    def merged(root, wanted, **options):
        yield from list(read(root, wanted, **options))[:2]
        raise StorageError("the disk is gone", "look for it")

    read = history.merged
    monkeypatch.setattr(log.history, "merged", merged)
    ended = house("log", "--json")
    assert (ended.code, ended.json["error"]["message"], ended.json["more"]) == (1, "the disk is gone", True)
