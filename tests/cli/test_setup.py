"""`init` and `setup`: what they make, what they leave alone, and what they take back."""

import os
import stat

import pytest

from tests import kit
from tests.sync import servers
from thrum.cli import founding

from .conftest import listing

TOLD = "already exists"


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_init_makes_everything_and_says_what_comes_next(thrum, repository):
    out = thrum.ok("init")
    assert f"set thrum up in {repository}" in out
    assert "next: git thrum quickstart" in out
    assert "there is no remote to sync with" in out
    assert (repository / ".thrum/schema_version").read_text() == "1\n"
    assert [mode(repository / path) for path in (".thrum", ".thrum/identities", ".thrum/var")] == [0o700] * 3
    assert mode(repository / ".thrum/schema_version") == 0o600
    assert (repository / ".git/thrum-sync/origin").exists()
    assert kit.git(repository, "rev-parse", "--verify", "a-sync")
    assert kit.git(repository, "status", "--porcelain") == ""
    assert kit.git(repository / ".git/thrum-sync/a-sync", "status", "--porcelain") == ""
    assert not (repository / ".gitignore").exists()


def test_the_exclude_file_gets_one_line_and_keeps_its_bytes(thrum, repository):
    path = repository / ".git/info/exclude"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"# mine\r\n*.o")
    thrum.ok("init")
    thrum.ok("init", "--force")
    assert path.read_bytes() == b"# mine\r\n*.o\n.thrum/\n"


def test_a_second_init_is_refused_and_force_heals(bob, repository):
    ended = bob("init")
    assert (ended.code, TOLD in ended.err, "--force" in ended.err) == (1, True, True)
    assert bob("init", "--json").json["error"]["kind"] == "Refused"
    bob.ok("send", "kept")
    kit.git(repository, "worktree", "unlock", ".git/thrum-sync/a-sync")
    os.unlink(repository / ".git/thrum-sync/a-sync/.git")
    os.unlink(repository / ".thrum/schema_version")
    assert "healed" in bob.ok("init", "--force")
    assert bob.ask("sent")["messages"][0]["body"]["content"] == "kept"
    assert kit.git(repository / ".git/thrum-sync/a-sync", "rev-parse", "--abbrev-ref", "HEAD") == "a-sync\n"


def test_init_in_a_subdirectory_works_on_the_whole_repository(thrum, repository):
    (repository / "src").mkdir()
    thrum.at(repository / "src").ok("init")
    assert (repository / ".thrum").is_dir()
    assert not (repository / "src/.thrum").exists()


def test_init_in_a_linked_worktree_sets_both_up(thrum, repository):
    linked = kit.add_worktree(repository, "linked")
    thrum.at(linked).ok("init")
    assert (repository / ".thrum/schema_version").exists()
    assert (linked / ".thrum/redirect").read_text() == f"{repository}/.thrum\n"
    assert mode(linked / ".thrum/redirect") == 0o600
    other = kit.add_worktree(repository, "other")
    thrum.at(other).ok("init")
    assert (other / ".thrum/identities").is_dir()
    assert thrum.at(other)("init").code == 1


def test_a_remote_that_anybody_may_read_is_told_of_at_once_and_ever_after(thrum, repository, bare_remote):
    kit.git(bare_remote, "config", "http.receivepack", "true")
    with servers.web(bare_remote.parent) as server:
        kit.git(repository, "remote", "add", "origin", f"http://127.0.0.1:{server.port}/{bare_remote.name}")
        out = thrum.ok("init")
        allow = "git config thrum.allowPublic true"
        assert "anybody may read it" in out and allow in out and "push nothing" in out and "it will sync" not in out
        assert not any("receive-pack" in path for path, _ in server.heard)
        ended = thrum("sync", "force")
        assert ended.code == 1 and "anybody may read the remote origin" in ended.err and allow in ended.err
        assert "nothing was pushed" in thrum.ok("sync", "status")
        doctor = thrum("doctor")
        assert doctor.code == 1 and "anybody may read" in doctor.out and allow in doctor.out
        assert not kit.git(bare_remote, "for-each-ref")
        kit.git(repository, *allow.split()[1:])
        assert "it will sync with origin" in thrum.ok("init", "--force")
        assert thrum.ok("sync", "force") and thrum("doctor").code == 0
        assert "a-sync" in kit.git(bare_remote, "for-each-ref")


def test_init_in_a_bare_repository(thrum, bare_remote):
    there = thrum.at(bare_remote)
    there.ok("init")
    assert (bare_remote / "thrum/schema_version").exists()
    assert kit.git(bare_remote, "rev-parse", "--verify", "a-sync")
    assert there("whoami").code == 1


def test_init_outside_a_repository_leaves_nothing(thrum, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    ended = thrum.at(folder)("init")
    assert (ended.code, "no git repository" in ended.err) == (1, True)
    assert list(folder.iterdir()) == []


def test_init_takes_the_branch_of_the_remote(thrum, clones):
    one, two = (thrum.at(path) for path in clones(2))
    assert "will sync with origin" in one.ok("init")
    one.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
    one.ok("send", "from one")
    one.ok("sync", "force")
    made = two.ask("init")
    assert made["remote"] == "origin"
    assert any("from origin's" in step["note"] for step in made["steps"])
    assert [message["body"]["content"] for message in two.ask("inbox", "--all")["messages"]] == ["from one"]


def test_init_goes_on_when_the_remote_cannot_be_reached(thrum, repository):
    kit.git(repository, "remote", "add", "origin", "/nowhere/at/all")
    out = thrum.ok("init")
    assert "skipped" in out
    assert "will sync with origin (/nowhere/at/all)" in out


def test_local_only_switches_the_sync_off(thrum, repository, bare_remote):
    kit.git(repository, "remote", "add", "origin", str(bare_remote))
    assert "stays on this machine" in thrum.ok("init", "--local-only")
    assert kit.git(repository, "config", "--local", "thrum.sync") == "false\n"


def test_no_hooks_installs_none(thrum, repository):
    thrum.ok("init", "--no-hooks")
    assert {hook["how"] for hook in thrum.ask("hooks", "status")["hooks"]} == {"missing"}


@pytest.mark.parametrize(
    "step", ["make_worktree_ready", "make_origin", "make_branch", "install_hooks", "_make_log_root"]
)
def test_a_failed_init_takes_back_what_it_made_and_nothing_else(thrum, repository, monkeypatch, step):
    kit.git(repository, "branch", "mine")
    before, refs = listing(repository), kit.git(repository, "for-each-ref")

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(founding.Founding, step, fail)
    ended = thrum("init")
    assert (ended.code, "No space left" in ended.err, "make room" in ended.err) == (1, True, True)
    after = {path: what for path, what in listing(repository).items() if not path.startswith(".git/objects")}
    assert after == {path: what for path, what in before.items() if not path.startswith(".git/objects")}
    assert kit.git(repository, "for-each-ref") == refs
    assert not (repository / ".thrum").exists()
    assert not (repository / ".git/thrum-sync").exists()
    monkeypatch.undo()
    monkeypatch.chdir(repository)


def test_a_failed_init_keeps_an_existing_branch(thrum, repository, monkeypatch):
    tree = kit.git(repository, "mktree").strip()
    tip = kit.git(repository, "commit-tree", tree, "-m", "old").strip()
    kit.git(repository, "update-ref", "refs/heads/a-sync", tip)
    with monkeypatch.context() as patch:
        patch.setattr(founding.Founding, "install_hooks", lambda *a, **k: (_ for _ in ()).throw(OSError(5, "I/O")))
        assert thrum("init").code == 1
    assert kit.git(repository, "rev-parse", "a-sync").strip() == tip
    assert thrum("init").code == 0


def test_setup_makes_a_worktree_on_a_new_branch(bob, repository, tmp_path):
    path = tmp_path / "a b"
    out = bob.ok("setup", path, "--branch", "topic")
    assert f"cd '{path}' && git thrum quickstart" in out
    assert kit.git(path, "rev-parse", "--abbrev-ref", "HEAD") == "topic\n"
    assert (path / ".thrum/redirect").read_text() == f"{repository}/.thrum\n"
    assert kit.git(path, "status", "--porcelain") == ""
    again = bob.ask("setup", path)
    assert again["created"] is False


def test_setup_names_the_branch_after_the_folder_or_takes_the_one_there_is(bob, repository, tmp_path):
    kit.git(repository, "branch", "there")
    for name in ("fresh", "there"):
        bob.ok("setup", tmp_path / name)
        assert kit.git(tmp_path / name, "rev-parse", "--abbrev-ref", "HEAD") == f"{name}\n"


def test_setup_is_relative_to_where_the_user_stands(bob, repository, tmp_path):
    (repository / "sub").mkdir()
    bob.at(repository / "sub").ok("setup", "../../beside")
    assert (tmp_path / "beside/.thrum/identities").is_dir()


def test_setup_refuses_what_is_no_worktree_of_ours(bob, tmp_path):
    other = kit.make_repository(tmp_path / "other")
    assert "no worktree of this repository" in bob("setup", other).err
    assert bob("setup", tmp_path / "x", "--branch", "a-sync").code == 2
    bob.ok("setup", tmp_path / "y", "--branch", "one")
    assert "is on the branch one" in bob("setup", tmp_path / "y", "--branch", "two").err


def test_setup_needs_init(thrum, tmp_path):
    ended = thrum("setup", tmp_path / "x")
    assert (ended.code, "git thrum init" in ended.err) == (1, True)
    assert not (tmp_path / "x").exists()


def test_setup_heals_a_redirect_that_leads_astray(rita, tmp_path):
    redirect = tmp_path / "wt/.thrum/redirect"
    redirect.write_text("/elsewhere\n")
    ended = rita("whoami")
    assert (ended.code, "git thrum setup" in ended.err) == (1, True)
    rita.ok("setup")
    assert rita.ask("whoami")["agent_id"] == "rita"


def test_setup_takes_the_worktree_back_when_it_fails(bob, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(founding.Founding, "make_worktree_ready", lambda self: (_ for _ in ()).throw(OSError(28, "full")))
        assert bob("setup", tmp_path / "gone").code == 1
    assert not (tmp_path / "gone").exists()


def test_a_failing_hook_of_the_users_does_not_stop_setup(bob, repository, tmp_path):
    hook = repository / ".git/hooks/post-checkout"
    hook.unlink()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    bob.ok("setup", tmp_path / "wt")
    assert (tmp_path / "wt/.thrum/redirect").exists()


def test_init_takes_over_what_v010_left(thrum, repository):
    """A real worktree of a-sync with its two kinds of logs, an identity, and its own files in `.thrum`."""
    tree = kit.git(repository, "mktree").strip()
    kit.git(repository, "update-ref", "refs/heads/a-sync", kit.git(repository, "commit-tree", tree, "-m", "x").strip())
    kit.git(repository, "worktree", "add", "-q", ".git/thrum-sync/a-sync", "a-sync")
    root = repository / ".git/thrum-sync/a-sync"
    (root / "messages").mkdir()
    (root / "events.jsonl").write_bytes(kit.raw(kit.register("old", "planner")) + b"\n")
    (root / "messages/old.jsonl").write_bytes(kit.raw(kit.message("old", "from before")) + b"\n")
    kit.git(root, "add", ".")
    kit.git(root, "commit", "-q", "-m", "sync")
    (repository / ".thrum/var").mkdir(parents=True)
    (repository / ".thrum/schema_version").write_text("1\n")
    thrum.ok("init")
    thrum.ok("quickstart", "--role", "r", "--module", "m", "--name", "bob")
    assert thrum.ask("inbox")["messages"][0]["body"]["content"] == "from before"
    assert thrum.ask("doctor")["healthy"]


def test_a_forced_sync_without_a_daemon_packs_what_piled_up_once_it_has_answered(thrum, monkeypatch):
    from thrum.git import packing

    packed = []
    thrum.ok("init")
    monkeypatch.setattr(packing, "is_due", lambda place, share: share >= 1)
    monkeypatch.setattr(packing, "pack", lambda place: packed.append(place.common_dir))
    thrum("sync", "force")
    assert len(packed) == 1
    thrum.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
    thrum("send", "hello", "--wait-sync")
    thrum("inbox")
    assert len(packed) == 1
