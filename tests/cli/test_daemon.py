"""The same commands through a daemon, and the daemon's own commands."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from thrum import door
from thrum.daemon import lifecycle
from thrum.errors import ThrumError
from thrum.git.place import find


@pytest.fixture
def warm(bob, repository):
    """@bob's command line, with a daemon behind it."""
    bob.ok("daemon", "start")
    yield bob
    place = find(str(repository))
    running = lifecycle.owner(place)
    if running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGCONT)
        with contextlib.suppress(ThrumError):
            lifecycle.stop(place)


def by_daemon(thrum, *argv):
    """What the command printed, which the daemon must have answered."""
    ended = thrum(*argv, "--verbose")
    assert "through the daemon" in ended.err, ended
    return ended


def test_commands_go_through_the_daemon(warm, repository, tmp_path):
    assert "@bob" in by_daemon(warm, "whoami").out
    warm.ok("setup", tmp_path / "wt", "--branch", "feature")
    there = warm.at(tmp_path / "wt")
    assert by_daemon(there, "quickstart", "--role", "reviewer", "--module", "auth", "--name", "rita").code == 0
    sent = by_daemon(warm, "send", "hello", "--to", "@reviewer")
    assert "to @rita (1 agent), as @bob" in sent.out
    assert by_daemon(there, "inbox").code == 0
    assert there.ask("inbox")["unread"] == 0
    assert by_daemon(there, "wait", "--timeout", "100ms").err.startswith("timeout: no mail within 100ms\n")
    assert warm.ask("sent")["messages"][0]["read_by"] == ["rita"]
    assert there("send", "x", "--to", "nobody").code == 1
    assert there("send", "text", "--json", "--bogus").code == 2


def test_without_an_identity_the_daemon_refuses_too(warm, tmp_path):
    warm.ok("setup", tmp_path / "bare", "--branch", "bare")
    ended = warm.at(tmp_path / "bare")("send", "hi")
    assert (ended.code, "no agent is set up" in ended.err) == (1, True)


def test_standard_input_and_help_stay_in_this_process(warm):
    ended = warm("send", "-", "--verbose", stdin=b"text")
    assert "in this process" in ended.err
    assert "Usage: git thrum send" in warm.ok("send", "--help")


def test_a_waiting_command_hears_of_mail_at_once(warm, repository):
    warm.ok("quickstart", "--role", "reviewer", "--module", "auth", "--name", "rita")
    command = [sys.executable, "-P", "-m", "thrum", "wait", "--name", "rita", "--timeout", "20s"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.7)
        warm.ok("send", "wake up", "--to", "rita", "--name", "bob")
        assert waiting.wait(10) == 0
        assert "wake up" in waiting.stdout.read()
    assert warm.ask("inbox", "--name", "rita")["unread"] == 0


def test_a_daemon_that_dies_under_a_wait_is_replaced_by_this_process(warm, repository):
    warm.ok("quickstart", "--role", "reviewer", "--module", "auth", "--name", "rita")
    command = [sys.executable, "-P", "-m", "thrum", "wait", "--name", "rita", "--timeout", "30s"]
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as waiting:
        time.sleep(0.7)
        os.kill(warm.ask("daemon", "status")["pid"], signal.SIGKILL)
        warm.ok("send", "still here", "--to", "rita", "--name", "bob")
        assert waiting.wait(20) == 0
        assert "still here" in waiting.stdout.read()


def test_a_daemon_that_hangs_holds_nobody_up(warm, monkeypatch):
    monkeypatch.setattr(door, "_SIGN_OF_LIFE", 0.3)
    os.kill(warm.ask("daemon", "status")["pid"], signal.SIGSTOP)
    ended = warm("send", "hello", "--verbose")
    assert (ended.code, "in this process" in ended.err) == (0, True)
    os.kill(lifecycle.owner(find(str(warm._cwd))).pid, signal.SIGCONT)
    time.sleep(0.5)
    assert warm.ask("sent")["total"] == 1  # the daemon did it too, and it is one message


def test_start_status_restart_stop(bob):
    assert bob("daemon", "status") == (1, "the daemon is not running\n  try: git thrum daemon start\n", "")
    assert bob("daemon", "stop").code == 1
    started = bob.ask("daemon", "start")
    try:
        assert bob("daemon", "start").code == 1
        status = bob.ask("daemon", "status")
        assert {
            "running": True,
            "status": "running",
            "pid": started["pid"],
            "socket": started["socket"],
        }.items() <= status.items()
        assert status["uptime"]
        again = bob.ask("daemon", "restart")
        assert again["pid"] != started["pid"]
        assert "starts for" in bob.ok("daemon", "logs", "-n", "100")
        assert bob.ask("daemon", "logs", "-n", "1")["lines"]
    finally:
        bob.ok("daemon", "stop")
    assert bob("daemon", "status", "--json").json == {"running": False, "status": "stopped"}


def test_status_says_where_the_websocket_is_and_keeps_its_token(warm, repository):
    told = warm.ask("daemon", "status")
    assert told["ws_url"] == f"ws://localhost:{told['ws_port']}/ws"
    shown = warm.ok("daemon", "status")
    assert f"websocket   {told['ws_url']}\n" in shown and f"token       {told['ws_token_file']}" in shown
    with open(told["ws_token_file"]) as file:
        token = file.read().strip()
    assert token and token not in shown + json.dumps(told)


def test_status_shows_where_a_slow_daemon_loses_its_time(warm):
    for _ in range(3):
        warm.ok("send", "hello")
    told = warm.ask("daemon", "status")
    assert told["requests"] >= 3
    assert 0 < told["methods"]["message.send"]["p50_ms"] <= told["methods"]["message.send"]["p99_ms"]
    assert told["queues"]["calls"] >= 0 and told["queues"]["listeners"] == 0 and told["queues"]["connections"] >= 1
    assert 1_000_000 < told["memory_bytes"] < 1_000_000_000
    assert {"cycles", "failures", "busy"} <= told["sync"].keys()
    shown = warm.ok("daemon", "status")
    for line in (
        r"requests +\d+\n",
        r"message\.send  p50 \d+\.\d ms, p99 ",
        r"waiting +0 calls, 0 listeners",
        r"memory +\d+\.\d MB",
    ):
        assert re.search(line, shown), (line, shown)


def test_status_leaves_out_what_is_slow_because_it_waits():
    from thrum.cli import daemon
    from thrum.cli.plan import Style

    slow = {"count": 1, "p50_ms": 30_000.0, "p99_ms": 30_000.0}
    methods = {"message.wait": slow, "cli.run": slow, "health": {"count": 9, "p50_ms": 0.4, "p99_ms": 0.6}}
    sync = {"cycles": 7, "failures": 2, "busy": False, "last_ms": 1500.0, "last_success_at": "2026-02-10T12:00:00Z"}
    found = {"running": True, "status": "running", "requests": 11, "methods": methods, "sync": sync}
    shown = daemon.shown(found, Style(now=1_770_724_800 * 10**9 + 180 * 10**9))
    assert "slowest   health  p50 0.4 ms, p99 0.6 ms\n" in shown and "30000" not in shown
    assert "7 of the sync, the last took 1s, the last that worked ended 3m ago; 2 failures since" in shown


def test_the_daemon_says_why_it_does_not_start(thrum):
    ended = thrum("daemon", "start")
    assert (ended.code, "git thrum init" in ended.err) == (1, True)
    ended = thrum("daemon", "run")
    assert (ended.code, "git thrum init" in ended.err) == (1, True)


def test_settings_that_make_no_sense_are_named_at_the_start(bob):
    from tests import kit

    kit.git(bob._cwd, "config", "thrum.interval", "soon")
    ended = bob("daemon", "start")
    assert (ended.code, "thrum.interval" in ended.err) == (1, True)


def test_many_at_once_lose_nothing_and_double_nothing(warm, repository):
    def send(number):
        command = [sys.executable, "-P", "-m", "thrum", "send", f"number {number}"]
        subprocess.run(command, cwd=repository, check=True, capture_output=True)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    time.sleep(0.15)
    os.kill(warm.ask("daemon", "status")["pid"], signal.SIGKILL)
    for thread in threads:
        thread.join()
    said = sorted(message["body"]["content"] for message in warm.ask("sent")["messages"])
    assert said == [f"number {number}" for number in range(6)]


def test_the_doctor_sees_a_daemon_of_another_kind(warm):
    os.kill(warm.ask("daemon", "status")["pid"], signal.SIGSTOP)
    report = warm("doctor", "--json").json
    assert {check["name"] for check in report["checks"] if not check["ok"]} == {"daemon"}


def test_mail_stays_unread_when_it_could_not_be_written(warm, repository):
    warm.ok("quickstart", "--role", "reviewer", "--module", "auth", "--name", "rita")
    warm.ok("send", "precious", "--to", "rita", "--name", "bob")
    command = [sys.executable, "-P", "-m", "thrum", "inbox", "--name", "rita"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=repository, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "could not be written: No space left" in done.stderr) == (1, True)
    assert warm.ask("inbox", "--peek", "--name", "rita")["unread"] == 1
