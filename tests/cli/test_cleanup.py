"""What was left behind goes only when somebody says so."""

import os
import pty
import subprocess
import sys

import pytest

from tests import kit

from .conftest import ROOT


@pytest.fixture
def left(bob, rita, repository, tmp_path):
    """The command line of @bob; @rita's worktree is gone."""
    kit.git(repository, "worktree", "remove", "--force", str(tmp_path / "wt"))
    return bob


def names(bob):
    return {agent["agent_id"] for agent in bob.ask("agent", "list")["agents"]}


def test_without_a_terminal_nothing_is_deleted_and_nothing_asked(left):
    ended = left("agent", "cleanup")
    assert (ended.code, ended.out) == (1, "")
    assert "1 agent would be deleted, and there is nobody to ask" in ended.err
    assert left("agent", "cleanup", "--json").json["error"]["kind"] == "Refused"
    assert names(left) == {"bob", "rita"}


def test_a_dry_run_shows_who_would_go(left):
    shown = left.ok("agent", "cleanup", "--dry-run")
    assert "@rita" in shown and "its worktree wt is gone" in shown and "1 agent left behind" in shown
    assert left.ask("agent", "cleanup", "--dry-run")["orphans"][0]["worktree_missing"]
    assert names(left) == {"bob", "rita"}


def test_force_does_not_ask(left):
    assert "deleted 1 agent" in left.ok("agent", "cleanup", "--force")
    assert names(left) == {"bob"}
    assert left.ok("agent", "cleanup") == "nobody was left behind\n"


@pytest.mark.parametrize(("answer", "gone"), [(b"y\n", True), (b"\n", False), (b"no\n", False)])
def test_at_a_terminal_it_asks(left, repository, answer, gone):
    ours, theirs = pty.openpty()
    try:
        done = subprocess.Popen(
            [sys.executable, "-P", "-m", "thrum", "agent", "cleanup"],
            cwd=repository,
            env={**os.environ, "PYTHONPATH": ROOT},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        os.write(ours, answer)
        out, _ = done.communicate(timeout=60)
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 0
    assert (b"deleted 1 agent" in out) == gone
    assert names(left) == ({"bob"} if gone else {"bob", "rita"})


def test_an_agent_is_deleted_by_name(bob, rita):
    assert bob.ok("agent", "delete", "@rita") == "@rita is deleted; what it said stays\n"
    assert names(bob) == {"bob"}
    assert bob("send", "hi", "--to", "rita").code == 1
    ended = bob("agent", "delete", "rita", "--json")
    assert (ended.code, ended.json["error"]["kind"]) == (1, "NotFound")
