"""The logs carried by hand: a bundle out, a bundle in, as often as one likes and without any network."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

from tests import kit
from tests.cli.conftest import ROOT
from tests.sync import house
from thrum.git import bundle


@pytest.fixture
def two(thrum, tmp_path):
    """@ann and @bob in clones of one history that never see a remote."""
    seed = kit.make_repository(tmp_path / "seed")
    found = []
    for name in ("ann", "bob"):
        kit.git(tmp_path, "clone", "-q", str(seed), str(tmp_path / name))
        kit.git(tmp_path / name, "remote", "remove", "origin")
        here = thrum.at(tmp_path / name)
        here.ok("init")
        found.append(here)
    ann, bob = found
    ann.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
    return ann, bob


def hire(here, name):
    here.ok("quickstart", "--role", "r", "--module", "m", "--name", name)


def state(path):
    """Everything of a repository that an import may change."""
    refs = kit.git(path, "for-each-ref")
    return refs, {name: data for name, data in kit.files(path / ".git/thrum-sync").items() if name != "moving"}


def test_what_one_exports_the_other_imports(two, tmp_path):
    ann, bob = two
    ann.ok("send", "by hand")
    told = ann.ask("export", tmp_path / "x.bundle")
    assert told == {"file": str(tmp_path / "x.bundle"), "bytes": (tmp_path / "x.bundle").stat().st_size}
    assert stat.S_IMODE((tmp_path / "x.bundle").stat().st_mode) == 0o600
    assert os.listdir(tmp_path).count("x.bundle") == 1 and not [n for n in os.listdir(tmp_path) if n[:7] == ".thrum-"]
    assert bob.ask("import", tmp_path / "x.bundle")["events"] >= 2
    assert bob.ask("search", "by hand")["total"] == 1
    assert bob.ok("import", tmp_path / "x.bundle").endswith("nothing new\n")
    assert bob.ask("verify")["whole"]


def test_there_and_back_makes_both_the_same(two, tmp_path):
    ann, bob = two
    ann.ok("export", tmp_path / "1.bundle")
    bob.ok("import", tmp_path / "1.bundle")
    hire(bob, "bob")
    bob.ok("send", "from bob")
    ann.ok("send", "from ann")
    bob.ok("export", tmp_path / "2.bundle")
    ann.ok("import", tmp_path / "2.bundle")
    ann.ok("export", tmp_path / "3.bundle")
    bob.ok("import", tmp_path / "3.bundle")
    trees = {kit.git(tmp_path / name, "rev-parse", "a-sync^{tree}") for name in ("ann", "bob")}
    assert len(trees) == 1
    assert ann.ask("search", "from")["total"] == bob.ask("search", "from")["total"] == 2


def test_a_plain_git_bundle_will_do_and_other_branches_stay_out(two, tmp_path):
    ann, bob = two
    ann.ok("send", "plain")
    ann.ok("export", tmp_path / "x.bundle")  # commits it
    kit.git(tmp_path / "ann", "branch", "secret")
    kit.git(tmp_path / "ann", "bundle", "create", "-q", str(tmp_path / "all.bundle"), "--all")
    bob.ok("import", tmp_path / "all.bundle")
    assert bob.ask("search", "plain")["total"] == 1
    assert "secret" not in kit.git(tmp_path / "bob", "for-each-ref")
    assert "refs/thrum" not in kit.git(tmp_path / "bob", "for-each-ref")


def test_nothing_is_written_over_without_force(two, tmp_path):
    ann, _ = two
    (tmp_path / "x").write_text("mine")
    ended = ann("export", tmp_path / "x")
    assert (ended.code, (tmp_path / "x").read_text()) == (1, "mine")
    assert "--force" in ended.err
    ann.ok("export", tmp_path / "x", "--force")
    assert (tmp_path / "x").read_bytes().startswith(b"# v2 git bundle")


def test_a_file_that_came_while_the_bundle_was_made_is_not_written_over(two, tmp_path, monkeypatch):
    ann, _ = two
    settle = bundle._settle

    def late(path):
        (tmp_path / "x").write_text("mine")
        return settle(path)

    monkeypatch.setattr(bundle, "_settle", late)
    assert ann("export", tmp_path / "x").code == 1
    assert (tmp_path / "x").read_text() == "mine"


def test_a_link_is_replaced_and_not_followed(two, tmp_path):
    ann, _ = two
    (tmp_path / "mine").write_text("mine")
    os.symlink(tmp_path / "mine", tmp_path / "x")
    assert ann("export", tmp_path / "x").code == 1
    ann.ok("export", tmp_path / "x", "--force")
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "x").is_symlink()


def test_a_disk_that_refuses_leaves_nothing(two, tmp_path, monkeypatch):
    ann, _ = two

    def refuse(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_settle", refuse)
    ended = ann("export", tmp_path / "x")
    assert (ended.code, "No space left" in ended.err) == (1, True)
    assert sorted(name for name in os.listdir(tmp_path) if "x" in name or name.startswith(".thrum-")) == []
    assert ann("export", tmp_path / "no/where").code == 1


def test_what_is_still_unsynced_is_in_it_and_the_remote_is_not_asked(thrum, clones, tmp_path, bare_remote):
    (path,) = clones(1)
    here = thrum.at(path)
    here.ok("init")
    hire(here, "ann")
    here.ok("sync", "force")
    before = house.remote_tip(bare_remote)
    kit.git(path, "remote", "set-url", "origin", "/nowhere")
    here.ok("send", "fresh")
    here.ok("export", tmp_path / "x.bundle")
    kit.git(path, "remote", "set-url", "origin", str(bare_remote))
    assert house.remote_tip(bare_remote) == before
    status = here.ask("sync", "status")
    assert status["sync_state"] == "pending" and status["remote"] == "origin"


def test_a_lost_clone_comes_back_from_its_backup(two, tmp_path):
    ann, _ = two
    ann.ok("send", "precious")
    kept = ann.ask("backup")["file"]
    assert kept.startswith(str(tmp_path / "home/data/git-thrum/backups/ann-"))
    assert ann.ask("backup")["file"] != kept
    shutil.rmtree(tmp_path / "ann")
    kit.git(tmp_path, "clone", "-q", str(tmp_path / "seed"), str(tmp_path / "ann"))
    ann.ok("init", "--local-only")
    assert "events came" in ann.ok("import", kept)
    assert ann.ask("search", "precious")["total"] == 1


def test_a_backup_says_where_it_is_and_how_to_bring_it_back(two, tmp_path):
    ann, _ = two
    (tmp_path / "it's here").mkdir()
    told = ann.ok("backup", "--dir", tmp_path / "it's here")
    command = told.splitlines()[1].partition(": ")[2]
    done = subprocess.run(
        ["sh", "-c", command.replace("git thrum", f"'{sys.executable}' -P -m thrum")],
        cwd=tmp_path / "ann",
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.endswith("nothing new\n")) == (0, True), done
    quiet = ann.ok("backup", "--quiet", "--dir", tmp_path / "it's here").strip()
    assert os.path.isfile(quiet)


def test_through_a_pipe(two, tmp_path):
    ann, bob = two
    ann.ok("send", "piped")
    command = f"'{sys.executable}' -P -m thrum export - | '{sys.executable}' -P -m thrum import - --repo ../bob"
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path / "ann", env=env, capture_output=True, text=True)
    assert (done.returncode, "events came" in done.stdout) == (0, True), done
    assert bob.ask("search", "piped")["total"] == 1
    assert ann("export", "-", "--json").code == 2


# What is refused


def damage(data):
    return data[:200] + bytes([data[200] ^ 1]) + data[201:]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: b"just some text\n",
        lambda data: b"# v2 git bundle\ngarbage\n\n",
        lambda data: data[:100],
        lambda data: data[:-30],
        lambda data: data[: len(data) // 2],
        damage,
        lambda data: data[:-5] + b"\0\0\0\0\0",
    ],
)
def test_a_damaged_file_changes_nothing(two, tmp_path, spoil):
    ann, bob = two
    ann.ok("send", "hello")
    ann.ok("export", tmp_path / "x")
    bob.ok("export", tmp_path / "y")
    (tmp_path / "x").write_bytes(spoil((tmp_path / "x").read_bytes()))
    before = state(tmp_path / "bob")
    ended = bob("import", tmp_path / "x")
    assert ended.code == 1 and ended.err.count("\n") == 2, ended
    assert str(tmp_path / "x") in ended.err
    assert state(tmp_path / "bob") == before


def test_files_that_are_none(two, tmp_path):
    _, bob = two
    assert "No such file" in bob("import", tmp_path / "nothing").err
    assert "directory" in bob("import", tmp_path).err


@pytest.mark.parametrize("begun_in_the_same_second", [False, True])
def test_another_projects_logs_are_refused_unless_it_is_said(two, tmp_path, begun_in_the_same_second):
    ann, bob = two
    hire(bob, "bob")
    ann.ok("send", "other project")
    begun = kit.git(tmp_path / "ann", "rev-list", "--max-parents=0", "a-sync").strip()
    if begun_in_the_same_second:
        kit.git(tmp_path / "bob", "fetch", "-q", str(tmp_path / "ann"), "a-sync")
        kit.git(tmp_path / "bob", "update-ref", "refs/heads/a-sync", begun)
    ann.ok("export", tmp_path / "x")
    before = state(tmp_path / "bob")
    ended = bob("import", tmp_path / "x")
    assert (ended.code, "nothing in common" in ended.err) == (1, True)
    assert state(tmp_path / "bob") == before
    bob.ok("import", tmp_path / "x", "--allow-unrelated")
    assert bob.ask("search", "other project")["total"] == 1
    bob.ok("import", tmp_path / "x")


def test_a_branch_of_that_name_that_holds_no_logs(two, tmp_path):
    _, bob = two
    other = kit.make_repository(tmp_path / "other")
    kit.git(other, "checkout", "-q", "-b", "a-sync")
    kit.git(other, "bundle", "create", "-q", str(tmp_path / "x"), "a-sync")
    kit.git(other, "bundle", "create", "-q", str(tmp_path / "y"), "main")
    before = state(tmp_path / "bob")
    assert "holds no logs of thrum" in bob("import", tmp_path / "x").err
    assert "does not hold one branch a-sync" in bob("import", tmp_path / "y").err
    assert state(tmp_path / "bob") == before


def test_only_the_newest_part_of_a_history_that_is_not_here(two, tmp_path):
    ann, bob = two
    ann.ok("export", tmp_path / "1")
    ann.ok("send", "more")
    ann.ok("export", tmp_path / "2")
    kit.git(tmp_path / "ann", "bundle", "create", "-q", str(tmp_path / "part"), "a-sync~1..a-sync")
    before = state(tmp_path / "bob")
    assert "commits that are not here" in bob("import", tmp_path / "part").err
    assert state(tmp_path / "bob") == before
    bob.ok("import", tmp_path / "1")
    bob.ok("import", tmp_path / "part")
    assert bob.ask("search", "more")["total"] == 1


def test_a_hostile_tree_is_taken_like_a_remotes(two, tmp_path):
    ann, bob = two
    ann.ok("send", "honest")
    ann.ok("export", tmp_path / "x")
    path = next((tmp_path / "ann/.git/thrum-sync/a-sync").rglob("*.jsonl"))
    tree = {
        str(path.relative_to(tmp_path / "ann/.git/thrum-sync/a-sync")): path.read_bytes(),
        "messages/eve.jsonl": ("120000", b"/etc/passwd"),
        ".gitattributes": b"* filter=evil\n",
    }
    evil = kit.make_repository(tmp_path / "evil")
    house.put(evil, tree)
    kit.git(evil, "bundle", "create", "-q", str(tmp_path / "evil.bundle"), "a-sync")
    bob.ok("import", tmp_path / "evil.bundle")
    root = tmp_path / "bob/.git/thrum-sync/a-sync"
    assert not os.path.lexists(root / "messages/eve.jsonl") and not os.path.lexists(root / ".gitattributes")
    assert bob.ask("search", "honest")["total"] == 1


def test_a_name_that_looks_like_an_option_or_an_address(two, tmp_path, monkeypatch):
    ann, bob = two
    for name in ("-x", "host:x"):
        ann.ok("export", "--", tmp_path / "ann" / name)
        bob.ok("import", "--", f"../ann/{name}")


def test_before_init_they_say_so(thrum, tmp_path):
    for words in (["export", "x"], ["import", "x"], ["backup"], ["verify"]):
        ended = thrum(*words, "--json")
        assert (ended.code, ended.json["error"]["kind"]) == (1, "NotInitialised")


def test_a_repository_of_another_object_format(two, tmp_path):
    ann, _ = two
    kit.git(tmp_path, "init", "-q", "--object-format=sha256", str(tmp_path / "other"))
    there = ann.at(tmp_path / "other")
    there.ok("init")
    for here, to, name in ((ann, there, "1"), (there, ann, "2")):
        here.ok("export", tmp_path / name)
        assert "git cannot mix them" in to("import", tmp_path / name).err
