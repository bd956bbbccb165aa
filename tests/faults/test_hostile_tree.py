"""More of what somebody may push: sizes, names and settings that hurt whoever writes them to a disk. We never do."""

import os
import resource
import subprocess

import pytest

from tests import kit
from tests.sync.house import REF, agree, content, listing, move, put, raw_tree, remote_tip, settle
from thrum.git.objects import open_objects
from thrum.store import quarantine
from thrum.sync import files

EVE = "messages/eve/0000000000ee/0000/00.jsonl"
WORD = kit.message("eve", "an honest word")
HONEST = b"".join(line + b"\n" for line in kit.chained([WORD], "0000000000ee"))
MEGABYTE = 1024 * 1024


@pytest.fixture
def met(pair):
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    return ann, bob, [*sent, ann.send("new"), bob.send("new")]


def blob(bare, data=b"x"):
    return store(bare, ["hash-object", "-w", "--stdin"], data)


def store(bare, command, data):
    return (
        subprocess.run(["git", *command], cwd=bare, input=data, capture_output=True, check=True).stdout.decode().strip()
    )


def push_beside(bare, *entries):
    """Puts entries (mode, name, oid) into the top of the remote's tree, beside an honest log, whatever git thinks of them."""
    put(bare, {EVE: HONEST}, [remote_tip(bare)])
    rows = [row.split("\t") for row in kit.git(bare, "ls-tree", REF).splitlines()]
    there = [(head.split()[0].lstrip("0"), name.encode(), head.split()[2]) for head, name in rows]
    every = sorted([*there, *entries], key=lambda entry: entry[1] + (b"/" if entry[0] == "40000" else b""))
    commit = kit.git(bare, "commit-tree", raw_tree(bare, *every), "-p", REF, "-m", "evil").strip()
    kit.git(bare, "update-ref", REF, commit)


def arrives(met, ledger, names=frozenset((".git", "messages"))):
    """Both clones sync, hold every honest message, and have nothing on disk that is not a log."""
    ann, bob, sent = met
    settle(ann, bob)
    ledger.acknowledge(*sent, WORD["message_id"])
    ledger.find(*(m for m in ann.messages() if m in ledger.acknowledged and m in bob.messages()))
    ledger.balance()
    for clone in (ann, bob):
        assert set(os.listdir(clone.root)) <= names
        assert list(quarantine.misplaced(clone.root)) == []


NAMES = [
    b"n" * 300, b"p" * 4096, b"new\nline", b"-rf", b"con", b"a\tb", b".gitmodules", b"hooks", b"GIT~1", b".GIT", b".git",
    b"git~1", b"..", b".", b"a/b", b"/etc", b"messages/ann.jsonl", "caf\u00e9".encode(), "cafe\u0301".encode(), b"\xff",
    b"Messages",
]  # fmt: skip


def test_names_that_no_disk_should_see(met, bare_remote, ledger):
    below = raw_tree(bare_remote, ("100644", b"00.jsonl", blob(bare_remote, HONEST)))
    folders = [("40000", name, below) for name in (b"dir\nname", b"d" * 300, b"..x", b"MESSAGES")]
    push_beside(bare_remote, *(("100644", name, blob(bare_remote)) for name in NAMES), *folders)
    ledger.fault(len(NAMES) + len(folders))
    arrives(met, ledger)


@pytest.mark.parametrize("where", ["messages", "messages/eve"])
def test_agents_that_differ_in_case_or_in_how_an_accent_is_written(met, bare_remote, ledger, where):
    """Where a file system folds names, two logs would be one file: only names in small ASCII letters are logs."""
    ann, bob, sent = met
    other = [f"{where}/{name}" for name in ("Alice", "alice", "ALICE", "caf\u00e9", "cafe\u0301", "a" * 200, "ab ")]
    put(bare_remote, {EVE: HONEST, **{f"{path}/x.jsonl": b"{}\n" for path in other}}, [remote_tip(bare_remote)])
    put(
        bare_remote,
        {EVE: HONEST, **{f"{path}/0000000000ff/0000/00.jsonl": b"{}\n" for path in other}},
        [remote_tip(bare_remote)],
    )
    ledger.fault(len(other))
    arrives(met, ledger)
    names = os.listdir(ann.root + "/messages") + os.listdir(ann.root + "/messages/eve")
    assert all(name == name.lower() and name.isascii() for name in names)
    agree(ann, bob, sent=sent, bare=bare_remote)


SETTINGS = {
    ".gitattributes": b"* filter=evil eol=crlf text export-ignore export-subst ident working-tree-encoding=UTF-16\n",
    "messages/.gitattributes": b"*.jsonl filter=evil merge=evil diff=evil\n",
    ".gitmodules": b'[submodule "x"]\n\tpath = messages/sub\n\turl = ext::touch %s\n\tupdate = !touch %s\n',
    "hooks/post-checkout": b"#!/bin/sh\ntouch %s\n",
    ".git-hooks/post-merge": b"#!/bin/sh\ntouch %s\n",
}


def test_settings_in_the_tree_run_nothing_and_change_no_byte(met, bare_remote, tmp_path, ledger):
    ann, bob, sent = met
    marker = tmp_path / "ran"
    for clone in (ann, bob):
        for key in (
            "filter.evil.clean",
            "filter.evil.smudge",
            "filter.evil.process",
            "merge.evil.driver",
            "diff.evil.command",
        ):
            kit.git(clone.path, "config", key, f"touch {marker}")
    leaves = {path: ("100755", data.replace(b"%s", os.fsencode(marker))) for path, data in SETTINGS.items()}
    put(bare_remote, {**leaves, EVE: HONEST, "messages/sub": ("160000", "1" * 40)}, [remote_tip(bare_remote)])
    ledger.fault(len(leaves))
    arrives(met, ledger)
    assert not marker.exists()
    for clone in (ann, bob):  # what follows asks git itself, which obeys some of it and calls the rest an error
        clone.is_damaged = True
        for section in ("filter.evil", "merge.evil", "diff.evil"):
            kit.git(clone.path, "config", "--remove-section", section)
    agree(ann, bob, sent=sent)
    assert listing(bare_remote) == listing(ann.path)
    assert ann.fragments()[EVE] == HONEST == content(bare_remote, EVE)
    assert set(leaves) <= set(listing(bare_remote))


def test_a_thousand_folders_deep_stops_the_sync_and_nothing_else(met, bare_remote, ledger):
    ann, _, sent = met
    tree = raw_tree(bare_remote, ("100644", b"x", blob(bare_remote)))
    for _ in range(1000):
        tree = raw_tree(bare_remote, ("40000", b"d", tree))
    push_beside(bare_remote, ("40000", b"deep", tree))
    ledger.fault()
    report = ann.sync()
    assert not report.ok and "deep" in report.error and report.hint
    sent.append(ann.send("still works"))
    assert set(sent[:1] + sent[-1:]) <= set(ann.messages())
    assert ann.status()["sync_state"] == "error"


UNREADABLE = {
    "an empty name": b"100644 \0%s",
    "no mode": b" a\0%s",
    "a mode of letters": b"xyz a\0%s",
    "half an id": b"100644 a\0%.3s",
}


@pytest.mark.parametrize("entry", UNREADABLE.values(), ids=UNREADABLE)
def test_a_tree_that_git_cannot_read_stops_the_sync_until_the_branch_is_mended(met, bare_remote, ledger, entry):
    """The remote's own git dies of it, so that no clone ever holds it."""
    ann, bob, sent = met
    healthy = remote_tip(bare_remote)
    command = ["hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    inside = store(bare_remote, command, entry % bytes.fromhex(blob(bare_remote)))
    push_beside(bare_remote, ("40000", b"odd", inside))
    ledger.fault()
    for clone in (ann, bob):
        report = clone.sync()
        assert not report.ok and "git cannot read" in report.error and "git fsck" in report.hint
        sent.append(clone.send("meanwhile"))
        assert sent[-1] in clone.messages()
        kit.git(clone.path, "gc", "-q", "--prune=now")
    move(bare_remote, healthy)
    kit.git(bare_remote, "gc", "-q", "--prune=now")
    settle(ann, bob)
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_very_many_entries_are_looked_at_and_left_alone(met, bare_remote, ledger, effort):
    ann, bob, _ = met
    oid, count = blob(bare_remote), effort(20_000, 100_000)
    wide = raw_tree(bare_remote, *(("100644", b"%06d.jsonl" % number, oid) for number in range(count)))
    push_beside(bare_remote, ("40000", b"wide", wide))
    ledger.fault(count)
    arrives(met, ledger)
    assert "wide" in kit.git(bare_remote, "ls-tree", "--name-only", REF).split()
    assert ann.tip == bob.tip


def test_six_hundred_megabytes_of_nothing_are_never_held(met, bare_remote, ledger, effort):
    """Stored in 2.6 MB; our memory knows nothing of it, and the branch's report names it."""
    ann, bob, _ = met
    size = effort(300, 600) * MEGABYTE
    command = f"head -c {size} /dev/zero | git -c core.compression=1 hash-object -w --stdin --no-filters"
    done = subprocess.run(command, shell=True, cwd=bare_remote, capture_output=True, check=True)
    oid = done.stdout.decode().strip()
    inside = raw_tree(bare_remote, ("100644", b"00.jsonl", oid))
    for name in (b"0000", b"0000000000ff", b"zed"):
        inside = raw_tree(bare_remote, ("40000", name, inside))
    push_beside(bare_remote, ("100644", b"events.jsonl", oid), ("40000", b"zzz", inside))
    ledger.fault()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    arrives(met, ledger)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000
    objects = open_objects(ann.place.common_dir)
    told = list(files.refused(objects, ann.tree))
    objects.close()
    assert [sentence for sentence in told if sentence.startswith("events.jsonl") and str(size) in sentence]
    assert ann.tip == bob.tip


def test_what_is_refused_in_the_tree_is_named(met, bare_remote):
    ann, _, _ = met
    leaves = {
        EVE: HONEST,
        "messages/l.jsonl": ("120000", b"/etc/passwd"),
        "messages/x.jsonl": ("100755", b"{}\n"),
        "messages/m.jsonl": ("160000", "1" * 40),
        "messages/f.jsonl/inside": b"x",
        "messages/Upper/0000000000ff/0000/00.jsonl": b"{}\n",
    }
    put(bare_remote, leaves, [remote_tip(bare_remote)])
    ann.works()
    objects = open_objects(ann.place.common_dir)
    told = dict(sentence.split(" ", 1) for sentence in files.refused(objects, ann.tree))
    objects.close()
    assert set(told) == set(leaves) - {EVE}
    assert told["messages/l.jsonl"] == "is a link" and told["messages/x.jsonl"] == "is a program"
    assert told["messages/m.jsonl"] == "is a submodule"
