"""Old layouts, as files written from the specification, become today's: nothing is lost, nothing is overwritten."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests import kit
from thrum.core import union

from .conftest import listing

LAYOUTS = os.path.join(kit.FIXTURES, "layouts")


def old(repository, layout, where=".thrum"):
    """Puts the files of an old layout there."""
    shutil.copytree(f"{LAYOUTS}/{layout}", repository / where, dirs_exist_ok=True)


def track(repository):
    """Commits what is below `.thrum`, as the oldest versions did."""
    kit.git(repository, "add", "-f", ".thrum")
    kit.git(repository, "commit", "-q", "-m", "thrum")


@pytest.fixture
def nadia(thrum, repository):
    """The command line of @nadia, whose identity an old version wrote."""
    old(repository, "identities", ".thrum/identities")
    return thrum


def texts(caller):
    return {message["body"]["content"] for message in caller.ask("inbox", "--all")["messages"]}


def logs(repository):
    root = repository / ".git/thrum-sync/a-sync"
    return {path: data for path, data in kit.files(root).items() if path.endswith(".jsonl")}


def test_logs_that_main_tracks_are_read_and_stay_tracked(nadia, repository):
    old(repository, "tracked")
    track(repository)
    index = kit.git(repository, "ls-files", "--stage")
    before = listing(repository / ".thrum")
    out = nadia.ok("migrate")
    assert "brought 6 lines over" in out
    assert "git still tracks .thrum/events.jsonl and 4 more" in out
    assert "git rm -r --cached" in out
    assert texts(nadia) == {"cart and tax merged", "looks good"}
    assert nadia.ask("whoami")["agent_id"] == "nadia"
    assert kit.git(repository, "ls-files", "--stage") == index
    assert kit.git(repository, "status", "--porcelain") == ""
    assert before.items() <= listing(repository / ".thrum").items()
    assert nadia.ask("doctor")["healthy"]


def test_what_git_tracks_counts_even_if_the_files_are_gone(nadia, repository):
    old(repository, "tracked")
    track(repository)
    for name in ("messages", "events.jsonl"):
        path = repository / ".thrum" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    told = nadia.ask("migrate")
    assert [(source["source"], source["new"]) for source in told["sources"]] == [(".thrum/ (as git tracks it)", 6)]
    assert texts(nadia) == {"cart and tax merged", "looks good"}


def test_the_commands_that_it_names_do_what_they_say(nadia, repository):
    old(repository, "tracked")
    track(repository)
    command = nadia.ok("migrate").rsplit("next: ", 1)[1].split(", and")[0]
    subprocess.run(command, shell=True, cwd=repository, check=True)
    kit.git(repository, "commit", "-q", "-m", "without")
    assert kit.git(repository, "ls-files", ".thrum") == ""
    assert (repository / ".thrum/events.jsonl").exists()
    assert "git still tracks" not in nadia.ok("migrate")
    assert texts(nadia) == {"cart and tax merged", "looks good"}


def test_one_file_for_everything_is_dealt_out(nadia, repository):
    old(repository, "monolith")
    told = nadia.ask("migrate")
    assert sorted(told["sources"][0]["files"]) == ["events.jsonl", "messages/nadia.jsonl", "messages/omar.jsonl"]
    assert (told["sources"][0]["lines"], told["sources"][0]["new"]) == (9, 9)
    assert texts(nadia) == {"cart and tax merged"}
    gone = nadia.ask("message", "get", "--peek", "msg_01KGHF3P0A0000000000000102")["message"]
    assert (gone["deleted"], gone["agent_id"]) == (True, "omar")
    with open(f"{LAYOUTS}/monolith/messages.jsonl", "rb") as file:
        lines = union.split(file.read())
    assert sorted(line for data in logs(repository).values() for line in union.split(data)) == sorted(lines)


def test_the_same_history_in_two_layouts_is_told_once(nadia, repository):
    old(repository, "monolith")
    old(repository, "tracked")
    nadia.ok("migrate")
    assert texts(nadia) == {"cart and tax merged"}
    assert {agent["agent_id"] for agent in nadia.ask("agent", "list")["agents"]} == {"nadia", "omar"}


def test_a_single_log_that_v010_put_onto_the_branch_is_dealt_out(nadia, repository):
    root = v010(repository)
    old(repository, "monolith", ".git/thrum-sync/a-sync")
    kit.git(root, "add", ".")
    kit.git(root, "commit", "-q", "-m", "migrate: import data from main branch")
    (root / "messages.jsonl").unlink()
    assert nadia.ask("migrate")["sources"][0]["new"] == 9
    assert texts(nadia) == {"cart and tax merged"}


def v010(repository, where=".git/thrum-sync/a-sync"):
    """A real worktree of a-sync, as v0.1.0 or its forebears made it."""
    tree = kit.git(repository, "mktree").strip()
    kit.git(repository, "update-ref", "refs/heads/a-sync", kit.git(repository, "commit-tree", tree, "-m", "x").strip())
    kit.git(repository, "worktree", "add", "-q", where, "a-sync")
    return repository / where


def test_the_old_sync_worktree_is_retired_with_what_it_had_not_committed(nadia, repository):
    root = v010(repository, ".thrum/sync")
    old(repository, "tracked", ".thrum/sync")
    kit.git(root, "add", ".")
    kit.git(root, "commit", "-q", "-m", "sync")
    with open(root / "messages/omar.jsonl", "ab") as file:
        file.write(kit.raw(kit.message("omar", "not committed yet")) + b"\n")
    assert "a-sync is checked out in" in nadia("init").err
    out = nadia.ok("migrate")
    assert "retired" in out
    assert texts(nadia) == {"cart and tax merged", "looks good", "not committed yet"}
    assert (root / "messages/omar.jsonl").exists()
    assert str(root) not in kit.git(repository, "worktree", "list")
    assert nadia.ask("doctor")["healthy"]
    assert nadia.ask("migrate")["migrated"] is False


def test_the_branch_of_v010_is_read_as_it_is(nadia, repository):
    root = v010(repository)
    old(repository, "tracked", ".git/thrum-sync/a-sync")
    (root / "schema_version").unlink()
    before = logs(repository)
    told = nadia.ask("migrate")
    assert (told["migrated"], told["sources"]) == (False, [])
    assert any("read as they are" in step["note"] for step in told["steps"])
    assert texts(nadia) == {"cart and tax merged", "looks good"}
    assert logs(repository) == before


def test_a_second_time_changes_nothing(nadia, repository):
    old(repository, "tracked")
    nadia.ok("migrate")
    before = listing(repository / ".git/thrum-sync/a-sync")
    told = nadia.ask("migrate")
    assert (told["migrated"], [source["new"] for source in told["sources"]]) == (False, [0])
    assert "nothing was missing" in nadia.ok("migrate")
    assert listing(repository / ".git/thrum-sync/a-sync") == before


def test_a_newer_line_is_never_overwritten(nadia, repository):
    old(repository, "tracked")
    nadia.ok("migrate")
    path = repository / ".git/thrum-sync/a-sync/messages/omar.jsonl"
    with open(path, "ab") as file:  # as a v0.1.0 in another clone would, and a sync bring it here
        file.write(kit.raw(kit.message("omar", "newer")) + b"\n")
    nadia.ok("send", "mine")
    nadia.ok("migrate")
    assert texts(nadia) == {"cart and tax merged", "looks good", "newer", "mine"}


def test_what_comes_over_is_committed_by_the_next_sync(thrum, clones):
    (path,) = clones(1)
    here = thrum.at(path)
    old(path, "tracked")
    here.ok("migrate")
    here.ok("sync", "force")
    assert "messages/nadia.jsonl" in kit.git(path, "ls-tree", "-r", "--name-only", "refs/remotes/origin/a-sync")
    assert kit.git(path / ".git/thrum-sync/a-sync", "status", "--porcelain") == ""


def test_logs_of_other_worktrees_are_found(nadia, repository):
    nadia.ok("init")
    other = kit.add_worktree(repository, "other")
    old(other, "tracked")
    assert nadia.ask("migrate")["sources"][0]["source"] == f"{other}/.thrum/"
    assert texts(nadia) == {"cart and tax merged", "looks good"}


def test_a_repository_without_old_layouts_is_left_alone(thrum, repository, bob):
    before = listing(repository)
    assert bob.ok("migrate") == "nothing to migrate: there is no old layout here\n"
    after = listing(repository)
    assert {path for path in before if "/a-sync/" in path} == {path for path in after if "/a-sync/" in path}


def test_a_fresh_repository_is_not_set_up_by_it(thrum, repository):
    assert thrum.ask("migrate")["sources"] == []
    assert not (repository / ".thrum").exists()
    assert not (repository / ".git/thrum-sync").exists()


def test_links_are_not_followed(nadia, repository, tmp_path):
    old(repository, "tracked")
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(kit.raw(kit.message("omar", "secret")) + b"\n")
    (repository / ".thrum/messages/omar.jsonl").unlink()
    (repository / ".thrum/messages/omar.jsonl").symlink_to(secret)
    nadia.ok("migrate")
    assert texts(nadia) == {"cart and tax merged"}


def test_identities_that_nobody_can_use_are_named(nadia, repository):
    old(repository, "tracked")
    (repository / ".thrum/identities/old one.json").write_text(json.dumps({"agent": {"Role": "Old One"}}))
    out = nadia.ok("migrate")
    assert "kept" in out and "the identity nadia" in out
    assert "no identity we can use" in out


def test_another_directory_may_be_named(nadia, repository, tmp_path):
    old(repository, "tracked")
    assert nadia.at(tmp_path).ask("migrate", "--repo", repository)["migrated"]


def test_a_daemon_that_runs_hears_of_it(nadia, repository):
    nadia.ok("init")
    nadia.ok("quickstart", "--name", "nadia", "--role", "implementer", "--module", "cart")
    command = [sys.executable, "-m", "thrum"]
    subprocess.run([*command, "daemon", "start"], cwd=repository, check=True, capture_output=True)
    try:
        with subprocess.Popen(
            [*command, "wait", "--timeout", "30s"], cwd=repository, stdout=subprocess.PIPE
        ) as waiting:
            old(repository, "tracked")
            done = subprocess.run([*command, "migrate"], cwd=repository, check=True, capture_output=True, text=True)
            assert "brought 6 lines over" in done.stdout
            assert b"looks good" in waiting.communicate(timeout=40)[0]
        assert texts(nadia) == {"cart and tax merged", "looks good"}
    finally:
        subprocess.run([*command, "daemon", "stop"], cwd=repository, check=True, capture_output=True)
