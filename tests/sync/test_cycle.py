"""The cycle: what it costs, what it heals, what it survives, and what it leaves alone."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from tests import kit
from tests.git.kit import ALL_HOOKS, fingerprint
from thrum.config import LOCAL_VARIABLES
from thrum.core import layout
from thrum.errors import StorageError
from thrum.git import branch, remote, wholeness, worktree
from thrum.git.libgit import LibgitObjects
from thrum.git.objects import open_objects
from thrum.store import disk
from thrum.sync import cycle, files, state, uniting

from .house import REF, Clone, agree, content, fsck, listing, loose, move, put, remote_tip, settle


def hash_of(path, rev):
    return kit.git(path, "rev-parse", rev).strip()


def remove_object(path, oid):
    os.unlink(path / ".git" / "objects" / oid[:2] / oid[2:])


# What it does


def test_a_cycle_reports_what_it_did(pair):
    ann, bob = pair
    ann.send()
    report = ann.works()
    assert report.pushed and report.remote == "origin" and report.received == 0
    assert report.as_json() == {"ok": True, "received": 0, "pushed": True, "remote": "origin"}
    assert bob.works().received == 1
    assert bob.works() == (True, "", "", 0, False, "origin")


def test_without_push_nothing_leaves(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    bob.works()
    tip = remote_tip(bare_remote)
    report = ann.cycle().run(push=False)
    assert report.ok and report.received and not report.pushed
    assert remote_tip(bare_remote) == tip and ann.status()["pending"] == 2
    agree(ann, bob, sent=sent, bare=bare_remote)


@pytest.mark.parametrize("why", ["switched off", "no remote"])
def test_local_only_commits_and_never_touches_the_network(pair, tmp_path, monkeypatch, why):
    ann, _ = pair
    if why == "no remote":
        kit.git(ann.path, "remote", "remove", "origin")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = shutil.which("git")
    wrapper.write_text(
        f'#!/bin/sh\nfor word; do case "$word" in fetch|push|ls-remote|pull|clone) echo "$*" >> {tmp_path}/talked;; esac\n'
        f'done\nexec {real} "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    for name in ("tip", "fetch", "push"):
        monkeypatch.setattr(remote, name, None)
    before = ann.tip
    ann.send()
    report = ann.works(sync=why != "switched off")
    assert not report.pushed and report.remote is None and ann.tip != before
    assert not (tmp_path / "talked").exists()
    assert ann.status()["sync_state"] == "no_remote" and not ann.status()["last_sync_at"]
    assert ann.status()["pending"] == 2
    before = ann.tip
    assert ann.works(sync=why != "switched off") and ann.tip == before
    assert ann.is_sound()


def noting(asked, method):
    """`method`, which notes the object ids it is asked for."""

    def noted(self, oid):
        asked.append(oid)
        return method(self, oid)

    return noted


def test_a_cycle_writes_and_reads_only_what_is_new(pair, monkeypatch):
    ann, bob = pair
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 600)
    monkeypatch.setattr(uniting, "_COARSE", 0)  # or all that was written just now is compared once more
    for number in range(302):
        ann.engine.journal.append("ann", kit.message("ann", f"{number} " + "x" * 300))
    settle(ann, bob)
    sealed = {entry[1] for path, entry in listing(ann.path).items()}
    assert len(sealed) > 300
    for sender, receiver in ((ann, bob), (bob, ann)):
        sender.send("one more")
        reading, headers = [], []
        with monkeypatch.context() as patch:
            patch.setattr(LibgitObjects, "blob", noting(reading, LibgitObjects.blob))
            patch.setattr(LibgitObjects, "blob_size", noting(headers, LibgitObjects.blob_size))
            before = loose(sender.path)
            sender.works()
            assert loose(sender.path) - before <= 8
            assert len(set(reading)) <= 1 and len(headers) < 30, (len(reading), len(headers))
            reading.clear()
            assert receiver.works().received == 1
            assert len(set(reading)) <= 3
            reading.clear()
            before = loose(sender.path), sender.tip
            sender.works()
            assert (loose(sender.path), sender.tip) == before and not reading
    agree(ann, bob)


def test_a_read_model_that_cannot_be_written_is_told_and_caught_up_later(pair, bare_remote):
    ann, bob = pair
    sent = [bob.send()]
    bob.works()

    def fail():
        raise StorageError("the read model cannot be written", "check the disk")

    report = cycle.Cycle(ann.place, ann.cycle().settings, ann.origin, fail).run()
    assert not report.ok and "read model" in report.error
    agree(ann, bob, sent=sent, bare=bare_remote)


# What it heals


def no_worktree(clone):
    shutil.rmtree(clone.root)


def no_own_log(clone):
    os.unlink(f"{clone.root}/{clone.log}")


def no_sealed_segment(clone):
    first = next(path for path in sorted(clone.fragments()) if path.endswith("00.jsonl") and clone.origin not in path)
    os.unlink(f"{clone.root}/{first}")


def no_logs_at_all(clone):
    shutil.rmtree(f"{clone.root}/messages")


def last_segment(clone):
    return f"{clone.root}/{max(path for path in clone.fragments() if clone.origin in path)}"


def a_cut_log(clone):
    path = last_segment(clone)
    os.truncate(path, os.path.getsize(path) // 2)


def an_empty_log(clone):
    os.truncate(last_segment(clone), 0)


def no_pointer(clone):
    os.unlink(f"{clone.root}/.git")


def no_metadata(clone):
    shutil.rmtree(f"{clone.place.common_dir}/worktrees")


def no_branch(clone):
    kit.git(clone.path, "update-ref", "-d", REF)


def no_branch_at_all(clone):
    no_branch(clone)
    kit.git(clone.path, "update-ref", "-d", "refs/remotes/origin/a-sync")


def no_commit(clone):
    clone.send("so that the tip is only here")
    clone.cycle().run(push=False)
    remove_object(clone.path, clone.tip)
    clone.is_damaged = True


def no_subtree(clone):
    clone.send("so that the tree is only here")
    clone.cycle().run(push=False)
    remove_object(clone.path, hash_of(clone.path, f"{REF}:messages"))
    clone.is_damaged = True


def a_hole_in_the_past(clone):
    for _ in range(2):
        clone.send("so that the commits are only here")
        clone.cycle().run(push=False)
    remove_object(clone.path, hash_of(clone.path, f"{REF}~1:{clone.log}"))
    clone.is_damaged = True


def a_log_of_the_branch_that_names_what_is_gone(clone):
    tip = clone.tip
    no_subtree(clone)
    kit.git(clone.path, "update-ref", REF, tip)
    kit.git(clone.path, "update-ref", "-d", "refs/remotes/origin/a-sync")
    state.save(clone.place.sync_dir, {**clone.state, "suspect": True})


def no_commit_that_was_fetched(clone):
    clone.send("so that the commit is only here")
    clone.cycle().run(push=False)
    kit.git(clone.path, "update-ref", "refs/remotes/origin/a-sync", clone.tip)
    kit.git(clone.path, "update-ref", REF, f"{REF}~1")
    remove_object(clone.path, hash_of(clone.path, "refs/remotes/origin/a-sync"))
    clone.is_damaged = True


def an_unreadable_branch(clone):
    no_branch(clone)
    with open(f"{clone.place.common_dir}/{REF}", "wb") as file:
        file.write(bytes(41))


def no_index(clone):
    os.unlink(kit.git(clone.root, "rev-parse", "--git-path", "index").strip())


def a_stale_index(clone):
    kit.git(clone.root, "read-tree", "--empty")


def an_index_somebody_worked_in(clone):
    kit.git(clone.root, "rm", "-q", "--cached", clone.log)


def no_state(clone):
    os.unlink(clone.place.sync_dir + "/state.json")


def a_senseless_state(clone):
    with open(clone.place.sync_dir + "/state.json", "w") as file:
        file.write(
            '{"checked": 1, "index": "x", "reached": null, "index_tree": [], "last_attempt": {}, "reached_head": 7}'
        )


def an_older_state(clone):
    old = state.load(clone.place.sync_dir)
    clone.send()
    clone.works()
    state.save(clone.place.sync_dir, old)


def an_older_branch(clone):
    kit.git(clone.path, "update-ref", REF, f"{REF}~1")


def no_packed_objects(clone):
    kit.git(clone.path, "gc", "-q", "--prune=now")


def leftovers(clone):
    old = time.time() - 3600
    for name in (f"{REF}.lock", "worktrees/a-sync/index.lock", "worktrees/a-sync/HEAD.lock"):
        path = f"{clone.place.common_dir}/{name}"
        with open(path, "w"):
            pass
        os.utime(path, (old, old))


HARMS = [
    no_worktree, no_own_log, no_sealed_segment, no_logs_at_all, a_cut_log, an_empty_log, no_pointer, no_metadata,
    no_branch, no_branch_at_all, no_commit, no_subtree, no_commit_that_was_fetched, a_hole_in_the_past,
    a_log_of_the_branch_that_names_what_is_gone, an_unreadable_branch, no_index, a_stale_index,
    an_index_somebody_worked_in, no_state, a_senseless_state, an_older_state, an_older_branch, no_packed_objects, leftovers,
]  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("moment", ["at rest", "and somebody spoke"])
def test_the_next_cycle_heals(pair, bare_remote, monkeypatch, harm, moment):
    ann, bob = pair
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1500)
    sent = [clone.send(f"{number}" + "x" * 400) for number in range(4) for clone in (ann, bob)]
    settle(ann, bob)
    before = ann.fragments()
    harm(ann)
    if moment != "at rest":
        sent += [ann.send("after the harm"), bob.send("meanwhile")]
        bob.works()
    ann.works()
    after = ann.fragments()
    for path, data in before.items():
        assert set(data.split(b"\n")) <= set(after.get(path, b"").split(b"\n")), path
    assert kit.git(ann.root, "status", "--porcelain") == ""
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_what_a_gc_took_while_we_wrote_is_no_hole_for_ever(pair, bare_remote):
    """It looked before the branch named the commit, and removed a part of it after the remote had all of it."""
    ann, bob = pair
    sent = [ann.send()]
    lock = f"{ann.place.common_dir}/gc.pid"
    with open(lock, "w") as file:
        file.write("1 elsewhere\n")
    ann.works()
    sent.append(ann.send("goes on"))
    ann.works()
    remove_object(ann.path, hash_of(ann.path, f"{REF}~1:{ann.log}"))
    assert ann.tip == remote_tip(bare_remote)
    assert not wholeness.is_whole(ann.place, open_objects(ann.place.common_dir))
    os.unlink(lock)
    ann.works()
    ann.is_damaged = True
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_a_disk_that_lost_lines_takes_none_from_the_branch(pair, bare_remote):
    ann, bob = pair
    sent = [ann.send(str(number)) for number in range(5)]
    settle(ann, bob)
    before = content(bare_remote, ann.log)
    a_cut_log(ann)
    sent.append(ann.send("goes on from the cut"))
    report = ann.works()
    assert report.ok
    assert set(before.split(b"\n")) < set(content(bare_remote, ann.log).split(b"\n"))
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_the_repository_may_be_moved(team, tmp_path, bare_remote):
    ann, bob = team("ann", "bob")
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    ann.close()
    moved = tmp_path / "moved" / "deep"
    moved.parent.mkdir()
    ann.path.rename(moved)
    there = Clone(moved)
    there.caller, there.name = kit.Caller(there.engine, moved, "ann"), "ann"
    assert there.origin == ann.origin
    sent.append(there.send())
    agree(there, bob, sent=sent, bare=bare_remote)
    there.close()


# What it survives


def child(clone, work):
    """Runs `work(clone)` in a forked process that has an engine of its own; the process id."""
    clone.engine.close()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        mine = Clone(clone.path)
        work(mine)
        code = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def ended(clone, pid):
    """How the child ended; the clone has its engine back."""
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    clone.engine = kit.open_engine(clone.path)
    clone.caller.engine = clone.engine
    return code


def dies(clone, where, name, when, nth=1):
    """One cycle in a process that dies before or after the nth call of `where.name`; whether it came to that."""

    def work(mine):
        real, calls = getattr(where, name), []

        def deadly(*arguments, **named):
            calls.append(1)
            if len(calls) == nth and when == "before":
                os._exit(77)
            found = real(*arguments, **named)
            if len(calls) == nth:
                os._exit(77)
            return found

        setattr(where, name, deadly)
        mine.sync()

    return ended(clone, child(clone, work)) == 77


STEPS = {
    "files": [(files, "hold", 1), (files, "hold", 2), (disk, "append", 1), (disk, "replace", 1), (state, "save", 1)],
    "objects": [
        (LibgitObjects, "write_blob", 1), (LibgitObjects, "write_tree", 1), (LibgitObjects, "commit", 1),
        (LibgitObjects, "move", 1), (LibgitObjects, "move", 2), (branch, "graft", 2),
    ],
    "remote": [(remote, "tip", 1), (remote, "fetch", 1), (remote, "push", 1), (remote, "tip", 2)],
    "ends": [(worktree, "ensure", 1), (worktree, "follow", 1), (Clone, "sync", 1), (state, "save", 2)],
}  # fmt: skip


@pytest.mark.parametrize("kind", STEPS)
def test_a_process_killed_at_any_step_costs_nothing(pair, bare_remote, monkeypatch, kind):
    ann, bob = pair
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1500)
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    reached = 0
    for where, name, nth in STEPS[kind]:
        for when in ("before", "after"):
            sent += [bob.send("b" * 300), ann.send("a" * 300)]
            bob.works()
            held = ann.fragments()
            reached += dies(ann, where, name, when, nth)
            fsck(ann.path)
            assert all(data in ann.fragments()[path] for path, data in held.items())
            ann.works()
            assert set(sent) <= set(ann.messages()), (name, when)
            assert remote_tip(bare_remote) == ann.tip
            assert ann.status()["pending"] == 0 and kit.git(ann.root, "status", "--porcelain") == ""
    assert reached >= 2 * len(STEPS[kind]) - 2
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_kills_at_random_moments_cost_nothing(pair, bare_remote):
    ann, bob = pair
    chance = random.Random(7)
    sent = [ann.send(), bob.send()]
    settle(ann, bob)

    def for_ever(mine):
        mine.caller, mine.name = kit.Caller(mine.engine, mine.path, "ann"), "ann"
        while True:
            mine.send("again")
            mine.sync()

    for _ in range(8):
        pid = child(ann, for_ever)
        sent.append(bob.send())
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(pid, signal.SIGKILL)
        assert ended(ann, pid) == -signal.SIGKILL
        bob.works()
        fsck(ann.path)
    told = {line for data in ann.fragments().values() for line in data.split(b"\n")[:-1]}
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert told <= {line for data in bob.fragments().values() for line in data.split(b"\n")}


def test_lines_a_crash_left_in_a_sealed_segment_still_reach_the_branch(pair, bare_remote, monkeypatch):
    ann, bob = pair
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1500)
    sent = [bob.send(f"{number}" + "x" * 400) for number in range(8)]
    settle(ann, bob)
    before = remote_tip(bare_remote)
    extra = kit.message("bob", "inserted by somebody with bob's origin")
    path = bob.log
    put(bare_remote, {path: content(bare_remote, path) + kit.chained([extra], bob.origin, 900)[0] + b"\n"}, [before])
    assert dies(ann, branch, "graft", "before")
    move(bare_remote, before)
    held = ann.fragments()[path]
    assert extra["event_id"].encode() in held
    ann.works()
    assert content(bare_remote, path) == held
    agree(ann, bob, sent=sent, bare=bare_remote)


# What it leaves alone


def test_the_users_house_is_as_it_was(pair, bare_remote, tmp_path, monkeypatch):
    ann, bob = pair
    path = ann.path
    sentinel = tmp_path / "ran"
    hooks = tmp_path / "hooks"
    for folder in (hooks, path / ".git" / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in ALL_HOOKS:
            (folder / name).write_text(f"#!/bin/sh\necho {name} >> {sentinel}\nexit 1\n")
            (folder / name).chmod(0o755)
    for key, value in {
        "commit.gpgSign": "true", "user.signingKey": "nobody", "push.gpgSign": "true", "tag.gpgSign": "true",
        "core.autocrlf": "true", "push.default": "nothing", "push.followTags": "true", "fetch.prune": "true",
        "core.fsmonitor": str(hooks / "pre-commit"), "submodule.recurse": "true", "gc.auto": "1",
    }.items():  # fmt: skip
        kit.git(path, "config", key, value)
    run = [
        "git",
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "commit.gpgSign=false",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "tag.gpgSign=false",
    ]
    (path / "staged").write_text("staged\n")
    (path / "readme").write_text("changed\n")
    for words in (["stash", "-q"], ["tag", "v1"], ["branch", "side"]):
        subprocess.run([*run, *words], cwd=path, check=True)
    (path / "staged").write_text("staged\n")
    subprocess.run([*run, "add", "staged"], cwd=path, check=True)
    (path / "readme").write_text("dirty\n")
    sentinel.unlink(missing_ok=True)

    def house():
        refs = kit.git(path, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        watched = [path / ".git" / name for name in ("HEAD", "index", "config", "logs", "hooks", "info", "packed-refs")]
        return (
            [ref for ref in refs if "a-sync" not in ref],
            {name: value for name, value in fingerprint(*map(str, watched)).items() if "a-sync" not in name},
            {name: value for name, value in fingerprint(str(path)).items() if f"{path}/.git/" not in name
             and f"{path}/.thrum/" not in name},
            sorted(name for name in os.listdir(path / ".git") if name not in ("thrum-sync", "worktrees")),
        )  # fmt: skip

    before = house()
    kit.git(bare_remote, "update-ref", "refs/heads/someone-elses", "main")
    kit.git(bare_remote, "tag", "v2", "main")
    for name in LOCAL_VARIABLES - {"GIT_CONFIG", "GIT_DEFAULT_HASH"}:
        monkeypatch.setenv(name, str(tmp_path / "poison"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(hooks))
    sent = []
    for number in range(3):
        sent += [ann.send(f"{number}"), bob.send(f"{number}")]
        ann.works()
        bob.works()
    for name in (*LOCAL_VARIABLES, "GIT_CONFIG_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert not sentinel.exists(), sentinel.read_text()
    assert house() == before
    assert not (tmp_path / "poison").exists()
    for name in ALL_HOOKS:
        (path / ".git" / "hooks" / name).unlink()
    kit.git(path, "config", "--unset", "core.fsmonitor")
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_commits_are_ours_and_name_nobody(pair):
    ann, bob = pair
    ann.send()
    settle(ann, bob)
    said = set(kit.git(ann.path, "log", "--format=%an <%ae> %cn <%ce> %G?", REF).splitlines())
    assert said == {"git thrum <thrum@localhost> git thrum <thrum@localhost> N"}
    assert all("[skip ci]" in body for body in kit.git(ann.path, "log", "-z", "--format=%B", REF).split("\0") if body)


# The half without a network


def test_settling_commits_what_is_on_disk_and_forgets_nothing_of_the_remote(pair, monkeypatch):
    ann, _ = pair
    ann.works()
    ann.send()
    before = ann.state
    monkeypatch.setattr(cycle, "remote", None)
    assert ann.cycle().settle() == 0
    assert content(ann.path, ann.log) == (ann.fragments()[ann.log])
    kept = ("remote", "url", "reached", "reached_head", "last_success", "error")
    assert {name: ann.state.get(name) for name in kept} == {name: before.get(name) for name in kept}
    assert ann.status()["pending"] == 1 and ann.is_sound()


def test_settling_looks_at_files_that_count_as_sealed(pair, monkeypatch):
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 1000)
    ann, _ = pair
    for _ in range(6):
        ann.send("x" * 300)
    ann.works()
    first = f"{ann.root}/{ann.log}"
    whole = disk.read(first)
    os.truncate(first, whole.index(b"\n") + 1)
    ann.cycle().settle()
    assert disk.read(first) == whole


def test_settling_takes_in_a_commit_as_a_fetch_does(pair):
    ann, bob = pair
    bob.send("from bob")
    bob.works()
    kit.git(ann.path, "fetch", "-q", str(bob.path), REF)
    theirs = hash_of(ann.path, "FETCH_HEAD")
    assert ann.cycle().settle(theirs) == 1
    assert len(ann.messages()) == 1 and ann.is_sound()
