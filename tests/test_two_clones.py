"""Two clones and more, over every kind of remote: whatever the order, nothing is lost, nothing doubled, all agree."""

import contextlib
import itertools
import os
import random
import shutil

import pytest

from tests import kit
from tests.sync import conftest, house, servers
from tests.sync.house import Clone, agree, at_once, content, fsck, put, remote_tip, settle

team, pair = conftest.team, conftest.pair


@pytest.fixture(params=["path", "file", "ssh", "http", "http-password"])
def address(request, bare_remote, tmp_path, monkeypatch):
    """The bare remote's address for each transport."""
    if request.param == "path":
        yield str(bare_remote)
    elif request.param == "file":
        yield f"file://{bare_remote}"
    elif request.param == "ssh":
        try:
            with servers.sshd(tmp_path / "sshd") as (port, command, _):
                monkeypatch.setenv("GIT_SSH_COMMAND", command)
                yield f"ssh://127.0.0.1:{port}{bare_remote}"
        except servers.NoSshd as reason:
            pytest.skip(str(reason))
    else:
        wanted = f"thrum:{servers.PASSWORD}" if "password" in request.param else ""
        kit.git(bare_remote, "config", "http.receivepack", "true")
        with servers.web(bare_remote.parent, wanted) as server:
            login = "thrum:let%20me%20in@" if wanted else ""
            yield f"http://{login}127.0.0.1:{server.port}/{bare_remote.name}"


def told(clone):
    """What is known of the sync, but for when the files were last looked at."""
    return {name: value for name, value in clone.state.items() if name != "looked_at"}


def test_two_that_both_began_meet_over_any_transport(team, bare_remote, address):
    ann, bob = team("ann", "bob")
    for clone in (ann, bob):
        kit.git(clone.path, "remote", "set-url", "origin", address)
        kit.git(clone.path, "config", "thrum.allowPublic", "true")
    roots = {kit.git(clone.path, "rev-list", "--max-parents=0", house.REF).strip() for clone in (ann, bob)}
    sent = [ann.send("from ann"), bob.send("from bob")]

    first, second = ann.works(), bob.works()
    assert first.pushed and second.pushed and second.received
    assert ann.works().received
    agree(ann, bob, sent=sent, bare=bare_remote)

    for number in range(3):
        sent.append((ann, bob)[number % 2].send(f"number {number}"))
        ann.works()
        bob.works()
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert len(set(kit.git(bare_remote, "rev-list", "--max-parents=0", house.REF).split())) == len(roots)

    settle(ann, bob)  # `git status` has just written its own index
    before = ann.tip, remote_tip(bare_remote), told(ann)
    for clone in (ann, bob):
        for _ in range(2):
            report = clone.works()
            assert not report.pushed and not report.received
    assert (ann.tip, remote_tip(bare_remote), told(ann)) == before
    assert "let me in" not in repr(ann.state) + repr(ann.status()) and "let%20me" not in repr(ann.state)
    assert ann.status()["sync_state"] == "synced" and ann.status()["pending"] == 0


@pytest.mark.parametrize(("count", "messages"), [(2, 12), (5, 6)])
def test_many_write_at_once_and_nothing_is_lost_or_doubled(team, bare_remote, count, messages):
    crew = team(*[f"agent{number}" for number in range(count)])
    kit.git(bare_remote, "config", "receive.denyNonFastForwards", "true")
    kit.git(bare_remote, "config", "core.logAllRefUpdates", "true")
    sent = []

    def work(clone):
        def run():
            mine = Clone(clone.path)
            mine.caller = kit.Caller(mine.engine, clone.path, clone.name)
            try:
                for number in range(messages):
                    sent.append(mine.send(f"{clone.name} {number}"))
                    mine.sync()
            finally:
                mine.close()

        return run

    at_once(*map(work, crew))
    assert len(sent) == count * messages
    agree(*crew, sent=sent, bare=bare_remote)
    for clone in crew:
        assert clone.messages() == sorted(sent)
    tips = [line.split()[1] for line in (bare_remote / "logs" / house.REF).read_text().splitlines()]
    for before, after in itertools.pairwise(tips):
        kit.git(bare_remote, "merge-base", "--is-ancestor", before, after)


def test_several_processes_of_one_clone_sync_at_once(team, bare_remote):
    ann, bob = team("ann", "bob")
    sent = []

    def work(clone, number):
        def run():
            mine = Clone(clone.path)
            mine.caller = kit.Caller(mine.engine, clone.path, clone.name)
            try:
                for turn in range(4):
                    sent.append(mine.send(f"{number} {turn}"))
                    assert mine.sync().ok
            finally:
                mine.close()

        return run

    at_once(*[work(clone, number) for clone in (ann, bob) for number in range(2)])
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert ann.messages() == sorted(sent)


def test_a_forked_origin_loses_nothing(team, bare_remote, tmp_path):
    ann, bob = team("ann", "bob")
    sent = [ann.send("before the fork"), bob.send()]
    settle(ann, bob)
    twin_path = tmp_path / "twin"
    kit.git(tmp_path, "clone", "-q", str(bare_remote), str(twin_path))
    shutil.rmtree(twin_path / ".git")
    shutil.copytree(ann.path / ".git", twin_path / ".git", symlinks=True)
    shutil.copytree(ann.path / ".thrum" / "identities", twin_path / ".thrum" / "identities", dirs_exist_ok=True)
    sync_dir = twin_path / ".git" / "thrum-sync"
    record = {"origin": ann.origin, "path": str(sync_dir), "inode": os.stat(sync_dir).st_ino}
    (sync_dir / "origin").write_text(kit.json.dumps(record))
    twin = Clone(twin_path)
    twin.caller = kit.Caller(twin.engine, twin_path, "ann")
    assert twin.origin == ann.origin
    try:
        text = "x" * 9000
        for number in range(20):
            sent.append(ann.send(f"ann {number} {text}"))
            sent.append(twin.send(f"twin {number} {text}"))
            if number % 3 == 1:
                ann.works()
            if number % 4 == 2:
                twin.works()
            bob.messages()
            if number % 5 == 3:
                bob.works()
        agree(ann, twin, bob, sent=sent, bare=bare_remote)
        for clone in (ann, twin, bob):
            assert clone.messages() == sorted(sent)
            assert clone.status()["pending"] == 0
    finally:
        twin.close()


def _legacy(owner, *events, shard=True):
    path = f"messages/{owner}.jsonl" if shard else "events.jsonl"
    return {path: b"".join(kit.raw(event) + b"\n" for event in events)}


def test_the_files_of_v010_from_two_sides_are_united(team, bare_remote):
    ann, bob = team("ann", "bob")
    registered = kit.register("furiosa", at=1)
    events = [kit.message("furiosa", f"number {number}", at=10 + number) for number in range(6)]
    theirs = {
        **_legacy("furiosa", events[0], events[2], events[4]),
        **_legacy("", registered, shard=False),
    }
    ours = {
        **_legacy("furiosa", events[1], events[2], events[5]),
        **_legacy("", registered, kit.register("max", at=2), shard=False),
    }
    put(bare_remote, theirs)
    for name, data in ours.items():
        with open(os.path.join(bob.root, name), "wb") as file:
            file.write(data)
    mine = bob.send("in the new way")
    agree(ann, bob, sent=[*(event["message_id"] for event in events if event is not events[3]), mine], bare=bare_remote)
    united = b"".join(kit.raw(event) + b"\n" for number, event in enumerate(events) if number != 3)
    assert content(bare_remote, "messages/furiosa.jsonl") == united
    assert content(bare_remote, "events.jsonl").count(b"\n") == 2
    names = {row[0] for row in ann.engine.projection.connection.execute("SELECT agent_id FROM agent")}
    assert {"furiosa", "max", "ann", "bob"} <= names


def test_a_v010_program_that_goes_on_writing_here_is_carried(pair, bare_remote):
    ann, bob = pair
    sent = []
    for number in range(3):
        message = kit.message("furiosa", f"late {number}", at=100 - number)  # each older than the one before
        with open(f"{ann.root}/messages/furiosa.jsonl", "ab") as file:
            file.write(kit.raw(message) + b"\n")
        before = kit.files(ann.root)["messages/furiosa.jsonl"]
        sent.append(message["message_id"])
        ann.works()
        bob.works()
        assert kit.files(ann.root)["messages/furiosa.jsonl"] == before, "v0.1.0's own file was written by us"
        assert sorted(sent) == bob.messages()
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_a_repository_of_another_hash_syncs_alike(tmp_path):
    bare = tmp_path / "bare.git"
    kit.git(tmp_path, "init", "-q", "--bare", "--object-format=sha256", str(bare))
    crew = []
    for name in ("ann", "bob"):
        path = tmp_path / name
        path.mkdir()
        kit.git(path, "init", "-q", "--object-format=sha256")
        kit.git(path, "remote", "add", "origin", str(bare))
        crew.append(Clone(path, name))
    sent = [clone.send() for clone in crew]
    with contextlib.ExitStack() as stack:
        for clone in crew:
            stack.callback(clone.close)
        agree(*crew, sent=sent, bare=bare)


def test_history_with_all_its_segments_comes_to_a_new_clone(team, bare_remote):
    ann, bob = team("ann", "bob")
    sent = [ann.send("y" * 30_000 + str(number)) for number in range(9)]
    ann.works()
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert len([name for name in bob.fragments() if ann.origin in name]) == 9 // 2 + 1


SEEDS = [random.Random(seed).getrandbits(16) for seed in range(2)]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_order_of_sends_and_syncs_ends_in_the_same_place(team, bare_remote, seed):
    chance = random.Random(seed)
    crew = team("ann", "bob", "cat")
    sent = []
    for _ in range(40):
        clone = chance.choice(crew)
        if chance.random() < 0.6:
            sent.append(clone.send("z" * chance.choice([1, 10, 9000])))
        else:
            clone.works()
    agree(*crew, sent=sent, bare=bare_remote)
    fsck(bare_remote)


def test_what_a_session_is_for_is_what_was_said_last_in_whatever_clone(team):
    ann, twin = team("ann", "ann")
    ann.caller("session.start")
    for number in range(5):
        ann.caller("session.setIntent", intent=f"intent {number}")
        ann.caller("session.heartbeat", add_scopes=[{"type": "file", "value": "a.py"}])
    settle(ann, twin)
    twin.caller("session.setIntent", intent="said elsewhere")
    assert twin.caller("session.list")["sessions"][0]["intent"] == "said elsewhere"
    assert twin.caller("session.heartbeat", remove_scopes=[{"type": "file", "value": "a.py"}])["scopes"] == []
    agree(ann, twin)
    assert ann.caller("session.list")["sessions"][0]["intent"] == "said elsewhere"
