"""What is true: every object, line and row; and what the remote has and lacks."""

import os
import sqlite3

import pytest

from tests import kit
from tests.sync import house


@pytest.fixture
def pair(thrum, clones):
    """@ann and @bob in two clones, who have met."""
    found = []
    for name, path in zip(("ann", "bob"), clones(2), strict=True):
        here = thrum.at(path)
        here.ok("init")
        here.ok("quickstart", "--role", "r", "--module", "m", "--name", name)
        here.ok("send", f"from {name}")
        here.ok("sync", "force")
        found.append((here, path))
    found[0][0].ok("sync", "force")
    return found


def log_of(path, owner):
    return next((path / ".git/thrum-sync/a-sync/messages" / owner).glob("*/0000/00.jsonl"))


def sentences(ended, part):
    assert ended.code == 1 and not ended.json["whole"]
    return [finding["sentence"] for finding in ended.json["findings"] if finding["part"] == part]


def test_a_whole_repository_in_numbers(pair):
    (ann, path), _ = pair
    told = ann.ask("verify")
    logs = [data for name, data in kit.files(path / ".git/thrum-sync/a-sync").items() if name.endswith(".jsonl")]
    counts = told["counts"]
    assert told["whole"] and told["findings"] == []
    assert counts["events"] == sum(data.count(b"\n") for data in logs)
    assert counts["bytes"] == sum(map(len, logs))
    assert (counts["agents"], counts["logs"]) == (2, 2)
    assert counts["objects"] == len(kit.git(path, "rev-list", "--objects", "a-sync").splitlines())
    assert counts["commits"] == int(kit.git(path, "rev-list", "--count", "a-sync"))
    assert ann.ok("verify").endswith("all of it is whole\n")


def test_nothing_is_changed_by_it(pair):
    (ann, path), _ = pair
    ann.ok("send", "not committed yet")
    before = kit.git(path, "for-each-ref"), kit.files(path / ".git/thrum-sync")
    assert ann.ask("verify")["counts"]["uncommitted"] == 1
    ann("verify", "--remote")
    assert (kit.git(path, "for-each-ref"), kit.files(path / ".git/thrum-sync")) == before


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_and_a_missing_object_are_found(pair, packed):
    (ann, path), _ = pair
    lost = kit.git(path, "rev-parse", "a-sync:messages/bob").strip()
    if packed:
        kit.git(path, "repack", "-qad")
        (pack,) = (path / ".git/objects/pack").glob("*.pack")
        os.chmod(pack, 0o600)
        with open(pack, "r+b") as file:
            file.seek(-60, os.SEEK_END)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 0xFF]))
    else:
        os.unlink(path / ".git/objects" / lost[:2] / lost[2:])
    found = sentences(ann("verify", "--json"), "objects")
    assert found and (packed or any(lost[:12] in sentence for sentence in found)), found


def test_an_object_under_the_name_of_another_is_found(pair):
    (ann, path), _ = pair
    blob = kit.git(path, "ls-tree", "-r", "a-sync").split()[2]
    other = kit.git(path, "rev-parse", "main:readme").strip()
    paths = [path / ".git/objects" / oid[:2] / oid[2:] for oid in (blob, other)]
    if not paths[1].exists():
        kit.git(path, "unpack-objects", "-q", check=False)
        pytest.skip("the clone came as a pack")
    os.unlink(paths[0])
    paths[0].write_bytes(paths[1].read_bytes())
    assert any("damaged" in sentence for sentence in sentences(ann("verify", "--json"), "objects"))


def test_every_bad_line_and_every_gap_is_named(pair):
    (ann, path), _ = pair
    log = log_of(path, "ann")
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([lines[0], *lines[2:], b"no json\n", kit.raw(kit.message("eve")) + b"\n"]))
    ended = ann("verify", "--json")
    found = sentences(ended, "lines")
    assert any("1 lines are missing before number 3" in sentence for sentence in found)
    assert any("not JSON" in sentence for sentence in found)
    assert any("claims to be eve's" in sentence for sentence in found)
    counts = ended.json["counts"]
    assert (counts["set_aside"], counts["gaps"]) == (2, 1)
    assert any("lacks 1 line that the branch has" in sentence for sentence in sentences(ended, "tree"))
    assert "4 things wrong" in ann("verify").out


def test_a_row_that_no_log_states_is_found(pair):
    (ann, path), _ = pair
    (database,) = (path / ".thrum/var").glob("thrum-*.db")
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO read_mark VALUES ('msg_x', 'ann')")
    connection.commit()
    connection.close()
    ended = ann("verify", "--json")
    assert any("read_mark" in sentence for sentence in sentences(ended, "rows"))
    assert ended.json["counts"]["differences"] == 1


def test_what_the_remote_lacks_and_what_we_lack(pair):
    (ann, _), (bob, _) = pair
    assert ann.ask("verify", "--remote")["remote"]["same"]
    bob.ok("send", "one")
    bob.ok("send", "two")
    bob.ok("sync", "force")
    ann.ok("send", "mine")
    ended = ann("verify", "--remote", "--json")
    remote = ended.json["remote"]
    assert (ended.code, ended.json["whole"], remote["same"]) == (1, True, False)
    assert (remote["lines_only_here"], remote["lines_only_there"]) == (1, 2)
    assert [name.split("/")[1] for name in remote["only_there"]] == ["bob"]
    shown = ann("verify", "--remote").out
    assert "lacks 1 line of ours and has 2 lines that we lack" in shown and "git thrum sync force" in shown
    ann.ok("sync", "force")
    assert ann.ask("verify", "--remote")["remote"]["same"]


def test_a_remote_that_was_rewound_lacks_what_it_lost(pair, bare_remote):
    (ann, _), _ = pair
    ann.ok("send", "later")
    ann.ok("sync", "force")
    house.move(bare_remote, kit.git(bare_remote, "rev-parse", "a-sync~1").strip())
    assert ann("verify", "--remote", "--json").json["remote"]["lines_only_here"] >= 1
    house.move(bare_remote, "")
    remote = ann("verify", "--remote", "--json").json["remote"]
    assert remote["lines_only_here"] == ann.ask("verify")["counts"]["events"]


def test_a_remote_that_does_not_answer_is_no_proof(pair):
    (ann, path), _ = pair
    kit.git(path, "remote", "set-url", "origin", "/nowhere")
    ended = ann("verify", "--remote", "--json")
    assert (ended.code, ended.json["whole"]) == (1, True)
    assert "/nowhere" in ended.json["remote"]["error"]
    kit.git(path, "remote", "remove", "origin")
    assert "no remote" in ann("verify", "--remote").out


def test_a_lost_branch_keeps_nothing_else_from_being_looked_at(pair):
    (ann, path), _ = pair
    kit.git(path, "update-ref", "-d", "refs/heads/a-sync")
    ended = ann("verify", "--json")
    assert sentences(ended, "objects") == ["there is no branch a-sync, or its commit is damaged"]
    assert ended.json["counts"]["events"] > 0


def test_something_else_in_the_place_of_the_read_model_keeps_nothing_from_being_looked_at(pair):
    (ann, path), _ = pair
    found = list((path / ".thrum/var").glob("thrum-*.db*"))
    for name in found:
        os.unlink(name)
    min(found).mkdir()
    told = ann.ask("verify")
    assert told["whole"] and told["counts"]["events"] > 0
