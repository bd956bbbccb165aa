"""Who speaks, line by line as promised: flags, then THRUM_ variables, then the files of this worktree; through both doors."""

import json
import os
import subprocess
import sys

import pytest

from .conftest import ROOT


@pytest.fixture
def two(bob):
    """@bob (planner, auth) and @dora (tester, web) in one worktree."""
    bob.ok("agent", "register", "--role", "tester", "--module", "web", "--name", "dora", "--display", "Dora D")
    return bob


CHOICES = [
    # flags, environment → whom, decided by what
    ((), {"THRUM_NAME": "dora"}, "dora", "environment"),
    ((), {"THRUM_ROLE": "planner"}, "bob", "environment"),
    ((), {"THRUM_MODULE": "web"}, "dora", "environment"),
    (("--name", "bob"), {"THRUM_NAME": "dora"}, "bob", "flags"),
    (("--name", "bob"), {"THRUM_ROLE": "tester", "THRUM_MODULE": "web"}, "bob", "flags"),
    (("--role", "planner"), {"THRUM_ROLE": "tester"}, "bob", "flags"),
    (("--module", "web"), {}, "dora", "flags"),
]
REFUSALS = [
    # flags, environment → the refusal, and what it says
    ((), {}, "NoIdentity", ("bob (role planner, module auth)", "dora (role tester, module web)")),
    (("--name", "zoe"), {}, "NoIdentity", ("no agent zoe is set up in this worktree",)),
    ((), {"THRUM_NAME": "zoe"}, "NoIdentity", ("no agent zoe is set up in this worktree",)),
    ((), {"THRUM_NAME": "../bob"}, "UsageError", ("THRUM_NAME",)),
    (
        ("--role", "tester"),
        {"THRUM_NAME": "bob"},
        "Contradiction",
        ("THRUM_NAME=bob and --role tester", "role planner"),
    ),
    (("--name", "bob", "--module", "web"), {}, "Contradiction", ("--name bob and --module web", "module auth")),
    ((), {"THRUM_ROLE": "cook"}, "Contradiction", ("THRUM_ROLE=cook", "dora (role tester, module web)")),
]


@pytest.mark.parametrize(("flags", "environ", "whom", "source"), CHOICES)
def test_flags_then_environment_then_files(two, flags, environ, whom, source):
    told = two.ask("whoami", *flags, **environ)
    assert (told["agent_id"], told["source"]) == (whom, source)
    assert two.ask("send", "x", *flags, **environ)["from"] == whom


@pytest.mark.parametrize(("flags", "environ", "kind", "words"), REFUSALS)
def test_what_does_not_fit_is_refused_and_says_what(two, flags, environ, kind, words):
    for command in (("whoami",), ("send", "x"), ("inbox",)):
        ended = two(*command, *flags, "--json", **environ)
        assert ended.code in (1, 2)
        assert ended.json["error"]["kind"] == kind
        assert all(word in ended.json["error"]["message"] for word in words)
        assert ended.json["error"]["hint"]


def test_the_file_decides_when_nothing_else_does(bob):
    assert bob.ask("whoami")["source"] == "identity_file"


def test_the_environment_names_us_for_people(two):
    assert two.ask("whoami", "--name", "dora")["display"] == "Dora D"
    assert two.ask("whoami", "--name", "dora", THRUM_DISPLAY="D.")["display"] == "D."


@pytest.mark.parametrize("command", [("quickstart",), ("agent", "register")])
def test_registration_takes_from_the_environment_what_no_flag_says(thrum, command):
    thrum.ok("init")
    environ = {"THRUM_NAME": "eve", "THRUM_ROLE": "cook", "THRUM_MODULE": "soup", "THRUM_DISPLAY": "Eve E"}
    thrum.ok(*command, **environ)
    told = thrum.ask("whoami")
    assert [told[field] for field in ("agent_id", "role", "module", "display")] == ["eve", "cook", "soup", "Eve E"]
    thrum.ok(*command, "--name", "ada", "--role", "baker", "--module", "bread", "--display", "A", **environ)
    told = thrum.ask("whoami", "--name", "ada")
    assert [told[field] for field in ("agent_id", "role", "module", "display")] == ["ada", "baker", "bread", "A"]


def test_the_daemon_listens_to_the_callers_environment_and_not_to_its_own(two, repository):
    def run(*words, **environ):
        env = {**os.environ, "PYTHONPATH": ROOT, **environ}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "thrum", *words, "--json"],
            cwd=repository, env=env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return json.loads(done.stdout)

    assert run("daemon", "start", THRUM_NAME="bob")["running"]
    try:
        assert run("whoami")["error"]["kind"] == "NoIdentity"
        assert run("whoami", THRUM_NAME="dora")["agent_id"] == "dora"
        assert run("whoami", "--name", "bob", THRUM_NAME="dora")["agent_id"] == "bob"
        assert run("whoami", THRUM_ROLE="tester", THRUM_DISPLAY="T")["display"] == "T"
    finally:
        run("daemon", "stop")


def test_contexts_can_be_narrowed_to_a_role_and_a_module(bob, rita):
    assert {one["agent_id"] for one in bob.ask("agent", "list", "--context")["contexts"]} == {"bob", "rita"}
    found = bob.ask("agent", "list", "--context", "--role", "reviewer", "--module", "auth")
    assert [one["agent_id"] for one in found["contexts"]] == ["rita"]
    assert set(found) == {"contexts"}
    assert bob.ask("agent", "list", "--context", "--module", "none")["contexts"] == []
