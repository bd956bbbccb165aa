"""Every line of the command list, walked through the real program: with a daemon, and without one.

Each step is a command line as a user types it; `--json` is added, and its one document must hold the fields named.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

import pytest

from docs.generate import schema
from tests.cli.conftest import ROOT, Thrum
from thrum import door
from thrum.cli import app, options
from thrum.cli.commands import COMMANDS, Command
from thrum.cli.plan import Plan
from thrum.git import place
from thrum.methods import registry

PROGRAM = [sys.executable, "-S", "-P", "-c", "from thrum.__main__ import main; raise SystemExit(main())"]
"""As the checkout's own command runs it: without `site`, until it is needed."""


class Step(NamedTuple):
    """A command line, where it is typed, the fields of its answer, its exit code, and which field is kept as what."""

    line: str
    fields: str = ""
    code: int = 0
    keep: str = ""
    at: str = "main"
    only: str = ""
    environ: Mapping[str, str] = {}
    stdin: str = ""


def rita(line, fields="", **more):
    return Step(line, fields, at="wt", **{"environ": {"THRUM_NAME": "rita"}, **more})


WALK = [
    # setting up
    Step("init --no-hooks", "repository thrum_dir remote steps"),
    Step("init", "error", code=1),
    Step("init --force", "repository steps"),
    Step("setup {wt} --branch topic", "worktree branch created steps"),
    Step("migrate", "migrated sources steps tracked"),
    Step("migrate --repo {main}", "migrated", at="wt"),
    Step("daemon status", "running status", code=1),
    Step("daemon stop", "error", code=1),
    Step("daemon start", "running pid socket log", only="daemon"),
    Step("daemon status", "running pid version", only="daemon"),
    Step("whoami", "error", code=1),
    Step("quickstart", "error", code=2),
    Step("quickstart --role planner --module auth --name bob --display Bob --intent plans", "register session intent"),
    Step("quickstart --name rita", "register", at="wt", environ={"THRUM_ROLE": "reviewer", "THRUM_MODULE": "auth"}),
    # who is who
    Step("agent register --role reviewer --module auth --name ruth", "agent_id status", at="wt"),
    Step("agent register --role reviewer --module auth --name ruth --re-register", "agent_id", at="wt"),
    Step("agent register --role reviewer --module auth --name rita", "error", code=1),
    Step("whoami", "error", code=1, at="wt"),
    rita("whoami", "agent_id role module source session_id"),
    rita("agent whoami", "agent_id"),
    Step("agent whoami --name ruth", "agent_id", at="wt"),
    rita("whoami --role planner", "error", code=1),
    Step("agent list", "agents"),
    Step("agent list --role reviewer --module auth", "agents"),
    Step("agent list --context", "contexts"),
    Step("agent list --context --module auth", "contexts"),
    Step("agent context", "contexts"),
    Step("agent context rita", "contexts"),
    Step("agent context --agent rita --branch topic --file new.txt", "contexts"),
    Step("who-has new.txt", "file holders contexts"),
    Step("ping @rita", "agent context"),
    Step("ping nobody", "error", code=1),
    # mail
    Step(
        "send 'please look' --to @rita --scope module:auth --ref pr:42 --priority high --structured '{{\"a\": 1}}'"
        " --format plain --request-id r1",
        "message_id created_at from recipients recipient_count everyone",
        keep="message_id",
    ),
    Step("send - --mention @rita", "message_id", stdin="from standard input\n"),
    Step("send 'to all' --broadcast --wait-sync", "message_id sync"),
    Step("send hello --to @nobody", "error", code=1),
    rita("inbox --peek --scope module:auth --mentions --unread --page-size 5 --page 1", "messages total unread page"),
    rita("inbox --all", "messages"),
    rita("wait --timeout 10s --scope module:auth --mention @rita --priority high --peek", "message_id body more"),
    rita("reply {message_id} 'looked at' --priority low", "message_id thread_id", keep="thread_id"),
    rita("wait --timeout 0 --mention @ruth --scope a:b", "status", code=1),
    rita("inbox", "messages"),
    Step("inbox --limit 1", "messages total_pages"),
    Step("sent --page-size 3", "messages total"),
    Step("message get {message_id}", "message"),
    rita("message edit {message_id} 'not mine'", "error", code=1),
    Step("message edit {message_id} 'please look again' --structured '{{}}'", "message_id updated_at version"),
    rita("message get {message_id} --history --peek", "message"),
    Step("search look --from @bob --scope module:auth --since 2d --limit 5", "messages total page"),
    Step("send 'taken back' --to @rita", "message_id", keep="gone=message_id"),
    Step("message delete {gone} --reason mistake", "message_id deleted_at"),
    Step("message delete {gone}", "message_id deleted_at"),
    Step("message edit {gone} again", "error", code=1),
    rita("message get {gone}", "message"),
    rita("message read {message_id}", "marked_count"),
    Step("message read --all", "marked_count"),
    # forgetting
    Step("purge --before 90d", "before messages unread events bytes purged"),
    Step("purge --before 2020-01-01 --confirm", "before messages events purged"),
    Step("purge --before tomorrow", "error", code=1),
    # threads
    Step("thread create Plans", "thread_id title created_by created_at"),
    Step(
        "thread create More --to @rita --message first --scope module:auth", "thread_id message_id", keep="t=thread_id"
    ),
    Step("thread list --scope module:auth --page-size 5 --page 1", "threads total page page_size total_pages"),
    Step("thread show {t} --page-size 5 --page 1", "thread messages total"),
    Step("send again --thread {t}", "message_id thread_id"),
    Step("thread show thr_none", "error", code=1),
    # sessions
    *(
        step
        for group in ("session", "agent")
        for step in (
            Step(f"{group} start", "session_id agent_id started_at", keep="session_id"),
            Step(
                f"{group} heartbeat --add-scope a:b --add-ref c:d --remove-scope e:f --remove-ref g:h"
                " --session-id {session_id}",
                "session_id last_seen_at scopes refs",
            ),
            Step(f"{group} set-intent 'to walk'", "session_id intent"),
            Step(f"{group} set-task 42 --session-id {{session_id}}", "session_id current_task"),
            Step(f"{group} end --reason done --session-id {{session_id}}", "session_id ended_at duration_ms"),
            Step(f"{group} end", "error", code=1),
        )
    ),
    Step("session list --active --agent rita", "sessions"),
    Step("session list", "sessions"),
    Step("session start", "session_id"),
    # subscriptions
    Step("subscribe --scope module:auth", "subscription_id session_id created_at", keep="subscription_id"),
    Step("subscribe --mention @reviewer", "subscription_id"),
    Step("subscribe --all", "subscription_id"),
    Step("subscriptions", "subscriptions"),
    Step("unsubscribe {subscription_id}", "removed"),
    Step("unsubscribe {subscription_id}", "removed", code=1),
    # everything at a glance, and the remote
    Step("status", "agent inbox sync work_context"),
    rita("overview", "agent team inbox sync"),
    Step("sync status", "sync_state remote"),
    Step("sync force", "ok sync_state"),
    Step("daemon restart", "running pid", only="daemon"),
    Step("whoami", "agent_id"),
    Step("daemon logs -n 3", "log lines", only="daemon"),
    # the rest
    Step("agent delete ruth", "agent_id deleted message"),
    Step("agent delete ruth", "error", code=1),
    Step("agent cleanup --dry-run --threshold 1", "orphans deleted dry_run"),
    Step("agent cleanup", "orphans deleted"),
    Step("agent cleanup --force", "orphans deleted message"),
    Step("hooks install", "hooks"),
    Step("hooks status", "hooks"),
    Step("hooks uninstall", "hooks"),
    Step("log --agent @bob --since 2d --limit 5 --reverse --set-aside", "events more"),
    Step("log --thread {t}", "events more"),
    Step("log --agent nobody", "error", code=1),
    Step("log --since never", "error", code=2),
    Step("verify", "whole counts findings"),
    Step("sync force", "ok"),
    Step("verify --remote", "whole counts findings remote"),
    Step("export {wt}/../mail.bundle", "file bytes"),
    Step("export {wt}/../mail.bundle", "error", code=1),
    Step("export {wt}/../mail.bundle --force", "file bytes"),
    Step("import {wt}/../mail.bundle --allow-unrelated", "file events logs"),
    Step("import {wt}/../nothing.bundle", "error", code=1),
    Step("backup --dir {wt}/..", "file bytes"),
    Step("doctor", "healthy checks"),
    Step("doctor --fix", "healthy checks"),
    Step("rebuild", "rebuilt"),
    Step("rebuild --check", "equal differences"),
    Step("version", "version python git"),
    Step("completion bash", "shell script"),
    rita("mcp serve --agent-id rita --name bob", "error", code=2),
    Step("agent lst", "error", code=2),
    Step("daemon stop", "running", only="daemon"),
]


def everything():
    """Every command that is not hidden, as words."""
    for name, entry in COMMANDS.items():
        for own, command in (entry if isinstance(entry, dict) else {"": entry}).items():
            if isinstance(command, Command) and not command.hidden:
                yield f"{name} {own}".strip()


def name_of(line):
    """The command that a line names."""
    return " ".join(options._command(shlex.split(line)))


def test_every_command_is_walked():
    assert set(everything()) <= {name_of(step.line) for step in WALK}


class Alone:
    """The program in this process, no daemon anywhere."""

    def __init__(self, capfd, monkeypatch):
        self._capfd, self._monkeypatch = capfd, monkeypatch

    def __call__(self, words, cwd, step):
        thrum = Thrum(self._capfd, self._monkeypatch, cwd)
        return thrum(*words, stdin=step.stdin.encode(), **step.environ)[:2]


class WithDaemon:
    """The program as a process of its own, that hands over to the daemon."""

    def __call__(self, words, cwd, step):
        env = {**os.environ, **step.environ, "PYTHONPATH": ROOT}
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=cwd,
            env=env,
            input=step.stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture(params=["alone", "daemon"])
def mode(request):
    return request.param


@pytest.fixture
def run(mode, capfd, monkeypatch):
    """`run(words, cwd, step)`: exit code and standard output."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    return Alone(capfd, monkeypatch) if mode == "alone" else WithDaemon()


@pytest.fixture
def places(clones, tmp_path, mode):
    """Where the steps are typed."""
    (main,) = clones(1)
    yield {"main": main, "wt": tmp_path / "wt"}
    if mode == "daemon":
        subprocess.run([*PROGRAM, "daemon", "stop"], cwd=main, capture_output=True, timeout=60, check=False)


def test_the_walk(run, places, mode):
    kept = {name: str(path) for name, path in places.items()}
    for step in WALK:
        if step.only not in ("", mode):
            continue
        words = [word.format(**kept) for word in shlex.split(step.line)]
        if name_of(step.line) == "daemon stop" and step.only:
            assert handed_over(places["main"]) >= 5
        code, out = run([*words, "--json"], places[step.at], step)
        assert code == step.code, (words, out)
        answer = json.loads(out)
        assert set(step.fields.split()) <= set(answer), (words, out)
        if not code:
            check_against_reference(words, answer)
        for pair in step.keep.split():
            name, _, field = pair.rpartition("=")
            kept[name or field] = str(answer[field])
        if step.line.startswith("setup"):
            (places["wt"] / "new.txt").write_text("new")


def check_against_reference(words, answer):
    """What the reference says a method gives is what it gives, where a command shows it as it is."""
    meant, _ = app.plan(words, lambda: b"text", {"THRUM_ROLE": "r", "THRUM_MODULE": "m"})
    plain = Plan("", {}, lambda result, style: "")
    if not isinstance(meant, Plan) or (meant.then, meant.shape) != (plain.then, plain.shape):
        return
    declared = schema.fields(registry.load()[meant.method].details)
    required = {name for name in declared if not name.endswith("?")}
    if declared:
        assert required <= set(answer) <= {name.rstrip("?") for name in declared}, meant.method


def handed_over(path):
    """How many command lines the daemon has run since it started."""
    socket = place.find(str(path)).socket
    told = door._call(door.connect(socket), socket, "daemon.status", {})
    return told["methods"]["cli.run"]["count"]
