"""A remote whose trees were made to hurt: nothing outside the logs is touched, everybody's real logs still arrive."""

import os
import subprocess

import pytest

from tests import kit
from tests.git.kit import fingerprint
from thrum.core import codec
from thrum.git.libgit import LibgitObjects
from thrum.sync import files

from .house import REF, agree, content, listing, put, raw_tree, remote_tip, settle

EVE = "messages/eve/0000000000ee/0000/00.jsonl"
HONEST = kit.message("eve", "an honest word")
HONEST_LOG = b"".join(line + b"\n" for line in kit.chained([HONEST], "0000000000ee"))


@pytest.fixture
def met(pair):
    """Ann and Bob have met and said something; both have something new to say."""
    ann, bob = pair
    sent = [ann.send(), bob.send()]
    settle(ann, bob)
    return ann, bob, [*sent, ann.send("new"), bob.send("new")]


def attack(bare, tree, *, rewrite=False):
    """Eve pushes `tree` on top of the remote's (or in its place, history and all), with an honest log of hers."""
    tip = remote_tip(bare)
    return put(bare, {**tree, EVE: HONEST_LOG}, [] if rewrite else [tip])


def survive(met, bare, outside=None):
    """Both sync; real logs arrive on both sides and stay whole; nothing outside was touched."""
    ann, bob, sent = met
    watched = [str(ann.path), str(outside)] if outside else [str(ann.path)]
    before = {
        path: seen for path, seen in fingerprint(*watched).items() if "/.git/" not in path and "/.thrum/" not in path
    }
    agree(ann, bob, sent=[*sent, HONEST["message_id"]], bare=bare)
    after = {
        path: seen for path, seen in fingerprint(*watched).items() if "/.git/" not in path and "/.thrum/" not in path
    }
    assert after == before
    for clone in (ann, bob):
        assert not [
            path for path, _, names in os.walk(clone.root) for name in names if os.path.islink(f"{path}/{name}")
        ]
        for path, data in clone.fragments().items():
            assert content(bare, path) == data, path
    told = listing(bare)
    for clone in (ann, bob):
        assert told[clone.log][0] == "100644"
    return told


@pytest.mark.parametrize("mode", ["120000", "100755", "160000"])
@pytest.mark.parametrize("whose", ["new", "known", "legacy"])
def test_links_programs_and_modules_at_our_paths(met, bare_remote, tmp_path, mode, whose):
    ann, _, _ = met
    target = tmp_path / "outside.jsonl"
    target.write_text("precious\n")
    path = {"new": "messages/mallory/0000000000ff/0000/00.jsonl", "known": ann.log, "legacy": "events.jsonl"}[whose]
    leaf = "1" * 40 if mode == "160000" else str(target).encode()
    attack(bare_remote, {path: (mode, leaf)})
    told = survive(met, bare_remote, tmp_path / "outside.jsonl")
    assert target.read_text() == "precious\n"
    if whose != "known":
        assert told[path][0] == mode, "what we do not understand stays as it is"
        assert path not in ann.fragments()


def test_a_link_in_the_place_of_a_sealed_segment(met, bare_remote, monkeypatch):
    ann, bob, sent = met
    from thrum.core import layout

    monkeypatch.setattr(layout, "SEGMENT_BYTES", 600)
    sent += [ann.send(str(number) + "x" * 300) for number in range(4)]
    settle(ann, bob)
    sealed = ann.log
    attack(bare_remote, {sealed: ("120000", b"/etc/passwd"), ann.log.replace("00.jsonl", "01.jsonl"): b""})
    told = survive(met, bare_remote)
    assert told[sealed][0] == "100644" and content(bare_remote, sealed) == ann.fragments()[sealed]


UNKNOWN = {
    "README.md": b"# not ours\r\n",
    ".gitattributes": b"* text eol=crlf\n*.jsonl export-ignore filter=evil\n",
    ".gitignore": b"*\n",
    "messages/notes.txt": b"\xff\xfe no log",
    "messages/ann/notes.jsonl": b"{}\n",
    "messages/UPPER/x": b"x",
    "deep/a/b/c/d/e": b"e",
    "events.jsonl.bak": b"old\n",
    "name with spaces and \u00fcml\u00e4uts": b"",
    "format_version": b"9\n",
}


def test_what_we_do_not_know_stays_byte_for_byte_through_merges(met, bare_remote):
    ann, bob, sent = met
    attack(bare_remote, UNKNOWN)
    ann.works()
    mine = {"from-another-branch.bin": bytes(range(256)), "README.md": b"# another\n"}
    put(bob.path, {**mine}, [bob.tip])
    survive(met, bare_remote)
    for _number in range(2):
        sent += [ann.send(), bob.send()]
        settle(ann, bob)
    told = listing(bare_remote)
    for path, data in {**UNKNOWN, **mine}.items():
        assert path in told
        if path != "README.md":
            assert content(bare_remote, path) == data
    assert content(bare_remote, "README.md") in (mine["README.md"], UNKNOWN["README.md"])
    assert not set(UNKNOWN) & set(ann.fragments())


def test_names_no_honest_tool_writes(met, bare_remote, tmp_path):
    ann, bob, sent = met
    blob = kit.git(bare_remote, "hash-object", "-w", "-t", "blob", "--stdin", check=True).strip()
    log = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=bare_remote, input=HONEST_LOG, capture_output=True, check=True
    ).stdout.decode()  # fmt: skip
    put(bare_remote, {EVE: HONEST_LOG}, [remote_tip(bare_remote)])
    tree = dict(listing(bare_remote).items())
    assert tree[EVE][1] == log.strip()
    below = raw_tree(bare_remote, ("100644", b"00.jsonl", log.strip()))
    evil = raw_tree(bare_remote, ("40000", b"..", below), ("100644", b"...", blob), ("100644", b".git", blob))
    top = kit.git(bare_remote, "ls-tree", REF).splitlines()
    entries = [("100644", b"\xff\xfe", blob), ("40000", b"..", evil), ("40000", b".git", evil)]
    for row in top:
        head, name = row.split("\t")
        mode, _, oid = head.split()
        entries.append((mode.lstrip("0"), name.encode(), oid))
    entries.sort(key=lambda entry: entry[1] + (b"/" if entry[0] == "40000" else b""))
    commit = kit.git(bare_remote, "commit-tree", raw_tree(bare_remote, *entries), "-p", REF, "-m", "evil").strip()
    kit.git(bare_remote, "update-ref", REF, commit)
    outside = {path.name for path in tmp_path.iterdir()}
    settle(ann, bob)
    assert {path.name for path in tmp_path.iterdir()} == outside
    assert ann.tip == bob.tip == remote_tip(bare_remote) and {*sent, HONEST["message_id"]} <= set(ann.messages())
    names = subprocess.run(["git", "ls-tree", "-z", REF], cwd=bare_remote, capture_output=True).stdout
    assert b"\t..\0" in names and b"\t.git\0" in names and b"\t\xff\xfe\0" in names
    for clone in (ann, bob):
        assert os.listdir(os.path.dirname(clone.root)).count("a-sync") == 1
        assert set(os.listdir(clone.root)) == {".git", "messages"}
        assert kit.git(clone.root, "rev-parse", "--abbrev-ref", "HEAD").strip() == "a-sync"


@pytest.mark.parametrize("rewrite", [False, True])
@pytest.mark.parametrize("where", ["messages", "messages/{0}", "messages/{0}/{1}", "messages/{0}/{1}/0000", "events.jsonl/x",
                                   "messages/{0}/{1}/0000/00.jsonl/x", "messages/{0}.jsonl/deep/x"])  # fmt: skip
def test_files_where_folders_belong_and_the_other_way_round(met, bare_remote, where, rewrite):
    ann, bob, sent = met
    path = where.format(ann.name, ann.origin)
    tree = {path: b"in the way\n"}
    if not where.startswith("messages") or rewrite or where.count("/") > 1:
        attack(bare_remote, tree, rewrite=rewrite and where != "messages")
        if where != "messages":
            survive(met, bare_remote)
            return
    put(bare_remote, tree, [remote_tip(bare_remote)])
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert content(bare_remote, ann.log) == ann.fragments()[ann.log]


def test_a_folder_of_theirs_in_the_way_of_a_log_not_yet_pushed(met, bare_remote):
    ann, _, _ = met
    attack(bare_remote, {f"{ann.log}/x/y": b"?", f"{ann.log}/z": b"?"}, rewrite=True)
    survive(met, bare_remote)


def test_garbage_in_somebodys_log_is_set_aside_and_stays(met, bare_remote):
    ann, bob, sent = met
    good = kit.message("mallory", "between the garbage")
    lines = [b"no json", b"\xff\xfe\x00", b"[1]", b"{}", b'{"type":', b"[" * 10_000, b'{"x":1e999}', codec.encode(good), b"",
             b'{"type":"message.create","seq":-5}', b"x" * 70_000, '{"a":"\u2028"}'.encode(), b"a\rb"]  # fmt: skip
    path = "messages/mallory/0000000000ff/0000/00.jsonl"
    attack(bare_remote, {path: b"\n".join(lines), "messages/mallory.jsonl": b"\0" * 5000})
    told = survive(met, bare_remote)
    assert good["message_id"] in bob.messages()
    assert path in told and set(filter(None, lines)) <= set(content(bare_remote, path).split(b"\n"))
    bad = ann.engine.projection.connection.execute("SELECT count(*) FROM bad_line WHERE path = ?", (path,)).fetchone()[
        0
    ]
    assert bad >= 9
    sent += [ann.send(), bob.send()]
    agree(ann, bob, sent=sent, bare=bare_remote)


def test_a_huge_blob_is_never_loaded(met, bare_remote, monkeypatch):
    ann, _bob, _sent = met
    monkeypatch.setattr(files, "LARGEST_SEGMENT", 200_000)
    monkeypatch.setattr(files, "LARGEST_LEGACY", 300_000)
    huge = bytes(400_000)
    paths = ["messages/mallory/0000000000ff/0000/00.jsonl", "messages/mallory.jsonl", ann.log, "events.jsonl"]
    attack(bare_remote, dict.fromkeys(paths, huge))
    oid = listing(bare_remote)[paths[0]][1]
    real = LibgitObjects.blob

    def blob(self, wanted):
        assert wanted != oid, "loaded"
        return real(self, wanted)

    monkeypatch.setattr(LibgitObjects, "blob", blob)
    survive(met, bare_remote)
    told = listing(bare_remote)
    assert [told[path][1] == oid for path in paths] == [True, True, False, True]
    assert not {paths[0], paths[1], paths[3]} & set(ann.fragments())


@pytest.mark.parametrize("rewrite", [False, True])
def test_our_own_log_extended_cut_and_rewritten(met, bare_remote, rewrite):
    ann, bob, sent = met
    whole = content(bare_remote, ann.log)
    forged = kit.message("ann", "i never said that")
    first = whole[: whole.index(b"\n") + 1]
    for data in (
        whole + kit.chained([forged], ann.origin, 77)[0] + b"\n",
        first,
        b"",
        kit.chained([kit.message("ann", "instead")], ann.origin)[0] + b"\n",
    ):
        attack(bare_remote, {ann.log: data}, rewrite=rewrite)
        told = survive((ann, bob, sent), bare_remote)
        assert ann.log in told and set(whole.split(b"\n")) <= set(content(bare_remote, ann.log).split(b"\n"))
        sent += [ann.send("goes on")]
    assert ann.sync().ok and ann.status()["pending"] == 0


def test_sealed_segments_rewritten(met, bare_remote, monkeypatch):
    from thrum.core import layout

    ann, bob, sent = met
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 600)
    sent += [ann.send(str(number) + "x" * 300) for number in range(4)]
    settle(ann, bob)
    sealed = content(bare_remote, ann.log)
    attack(bare_remote, {ann.log: b"rewritten\n", ann.log.replace("00.jsonl", "02.jsonl"): b"\n\n"})
    survive(met, bare_remote)
    assert set(sealed.split(b"\n")) <= set(content(bare_remote, ann.log).split(b"\n"))


@pytest.mark.parametrize("segment", ["05", "f0"], ids=["near", "far"])
def test_our_own_log_continued_beyond_a_gap(met, bare_remote, monkeypatch, segment):
    """Near, it may be what is left after a loss, and we go on behind it; far, it waits on the branch for ever."""
    from thrum.core import layout

    ann, bob, sent = met
    monkeypatch.setattr(layout, "SEGMENT_BYTES", 600)
    sent += [ann.send(str(number) + "x" * 300) for number in range(4)]
    forged = ann.log.replace("00.jsonl", f"{segment}.jsonl")
    attack(bare_remote, {forged: kit.chained([kit.message("ann", "not me")], ann.origin, 9000)[0] + b"\n"})
    bob.works()
    sent += [ann.send(str(number) + "y" * 300) for number in range(2)]
    ann.works()
    assert ann.status()["pending"] == 0
    sent += [ann.send("z" * 300), ann.send("z" * 300)]
    assert ann.status()["pending"] == 2
    assert (forged in ann.fragments()) is (segment == "05")
    mine = [name for name in ann.fragments() if ann.origin in name]
    assert (max(mine) > forged) is (segment == "05")
    survive((ann, bob, sent), bare_remote)
    assert ann.status()["pending"] == bob.status()["pending"] == 0
    assert forged in listing(bare_remote)


def test_what_was_written_before_a_gap_while_it_arrived(met, bare_remote, monkeypatch):
    """Ann's log grows in its last segment of old between the look at her disk and the arrival of one beyond a gap."""
    from thrum.sync.uniting import Uniting

    ann, bob, sent = met
    forged = ann.log.replace("00.jsonl", "05.jsonl")
    attack(bare_remote, {forged: kit.chained([kit.message("ann", "not me")], ann.origin, 9000)[0] + b"\n"})
    take_in = Uniting._take_in

    def interrupted(work, *trees):
        if work.origin == ann.origin and len(sent) < 5:
            sent.append(ann.send("just before"))
        return take_in(work, *trees)

    monkeypatch.setattr(Uniting, "_take_in", interrupted)
    ann.works()
    assert len(sent) == 5
    survive((ann, bob, sent), bare_remote)


def test_too_deep_is_told_and_local_work_goes_on(met, bare_remote):
    ann, _, sent = met
    tip = remote_tip(bare_remote)
    put(bare_remote, {"/".join("abcdefghijklmnop"): b"x"}, [tip])
    report = ann.sync()
    assert not report.ok and "deep" in report.error
    sent.append(ann.send("still works"))
    before = ann.tip
    ann.sync()
    assert set(sent[:1]) <= set(ann.messages())
    assert kit.git(ann.path, "rev-list", "--max-parents=0", REF) == kit.git(
        ann.path, "rev-list", "--max-parents=0", before
    )
