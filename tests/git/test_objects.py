from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.errors import GitError
from thrum.git.branch import REF
from thrum.git.libgit import LibgitObjects
from thrum.git.objects import (
    BLOB,
    TREE,
    Entry,
    NamedTwiceError,
    Objects,
    decode_tree,
    encode_tree,
    open_objects,
    split_tree,
)
from thrum.git.plumbing import PlumbingObjects

from .kit import git, make

KINDS = ("libgit", "plumbing", "sha256")
MISSING = "1" * 40


@pytest.fixture(params=KINDS)
def common(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The common directory of a repository of each kind."""
    args = ["--object-format=sha256"] if request.param == "sha256" else []
    make(str(tmp_path / f"{request.param}"), *args)
    return str(tmp_path / request.param / ".git")


@pytest.fixture
def objects(common: str) -> Iterator[Objects]:
    found: Objects = PlumbingObjects(common) if "plumbing" in common else open_objects(common)
    yield found
    found.close()


def missing(objects: Objects) -> str:
    return "1" * len(objects.empty_tree())


def chain(objects: Objects, *parents: str, text: bytes = b"x") -> str:
    tree = objects.write_tree({"f": Entry(BLOB, objects.write_blob(text))})
    return objects.commit(tree, list(parents), "thrum: test\n\n[skip ci]\n")


def test_blobs_come_back_as_written(objects: Objects, common: str) -> None:
    for data in (b"", b"hello\r\n", bytes(range(256)) * 1000):
        oid = objects.write_blob(data)
        assert objects.blob(oid) == data and objects.blob_size(oid) == len(data)
    assert git(common, "cat-file", "-s", oid) == "256000"


def test_trees_come_back_as_written(objects: Objects, common: str) -> None:
    blob = objects.write_blob(b"x")
    folder = objects.write_tree({"inner": Entry(BLOB, blob)})
    entries = {
        "a": Entry(TREE, folder),
        "a.b": Entry(BLOB, blob),
        "a-": Entry(0o100755, blob),
        'ü \n"x': Entry(BLOB, blob),
        "\udcff\udcfe": Entry(BLOB, blob),
        "link": Entry(0o120000, blob),
        "sub": Entry(0o160000, missing(objects)),
    }
    tree = objects.write_tree(entries)
    assert objects.entries(tree) == entries
    git(common, "fsck", "--strict", "--connectivity-only")
    assert git(common, "ls-tree", "--name-only", "-z", tree).split("\0")[:3] == ["a-", "a.b", "a"]


def test_names_other_tools_refuse_stay_in_the_tree(objects: Objects) -> None:
    blob = objects.write_blob(b"x")
    entries = {name: Entry(BLOB, blob) for name in (".git", "..", ".GIT", "git~1")}
    assert objects.entries(objects.write_tree(entries)) == entries
    for name in ("", "a/b", "a\0b"):
        with pytest.raises(GitError):
            objects.write_tree({name: Entry(BLOB, blob)})


def test_a_commit_is_ours_and_unsigned_whatever_the_user_configured(objects: Objects, common: str) -> None:
    git(common, "config", "--global", "--unset-all", "user.name")
    git(common, "config", "--global", "--unset-all", "user.email")
    git(common, "config", "commit.gpgSign", "true")
    git(common, "config", "gpg.program", "/bin/false")
    git(common, "config", "i18n.commitEncoding", "latin1")
    first = chain(objects)
    second = objects.commit(objects.tree_of(first), [first, git(common, "rev-parse", "HEAD")], "ünïcode\n\n[skip ci]\n")
    raw = git(common, "cat-file", "commit", second)
    assert raw.count("git thrum <thrum@localhost>") == 2 and "gpgsig" not in raw and "encoding" not in raw
    assert raw.endswith("ünïcode\n\n[skip ci]") and raw.count("\nparent ") == 2


def test_heads_move_by_compare_and_swap(objects: Objects, common: str) -> None:
    one, two, three = chain(objects), chain(objects, text=b"2"), chain(objects, text=b"3")
    assert objects.head(REF) is None
    assert not objects.move(REF, two, one)
    assert objects.move(REF, one, None)
    assert not objects.move(REF, two, None)
    assert not objects.move(REF, two, three)
    assert objects.move(REF, two, one)
    assert objects.head(REF) == two == git(common, "rev-parse", REF)
    git(common, "pack-refs", "--all")
    assert objects.head(REF) == two and objects.move(REF, three, two)


def test_missing_and_damaged_objects_are_git_errors(objects: Objects, common: str) -> None:
    blob, gone = objects.write_blob(b"x"), missing(objects)
    for question in (objects.entries, objects.blob, objects.blob_size, objects.tree_of):
        with pytest.raises(GitError):
            question(gone)
    for question in (objects.entries, objects.tree_of):
        with pytest.raises(GitError):
            question(blob)
    with pytest.raises(GitError):
        objects.blob(objects.empty_tree())
    assert objects.blob(blob) == b"x"
    for call in (objects.is_ancestor, objects.merge_base):
        with pytest.raises(GitError):
            call(gone, chain(objects))


def loose(common: str, oid: str) -> str:
    return f"{common}/objects/{oid[:2]}/{oid[2:]}"


@pytest.mark.parametrize("damage", ["commit gone", "commit empty", "tree gone", "ref empty", "ref zeros"])
def test_a_branch_a_power_cut_broke_counts_as_absent_and_can_be_made_again(
    objects: Objects, common: str, damage: str
) -> None:
    old = chain(objects, text=b"old")
    assert objects.move(REF, old, None)
    what, _, how = damage.partition(" ")
    path = {
        "commit": loose(common, old),
        "tree": loose(common, objects.tree_of(old)),
        "ref": f"{common}/{REF}",
    }[what]
    objects.close()
    os.unlink(path)
    if how != "gone":
        with open(path, "wb") as file:
            file.write(b"" if how == "empty" else bytes(41))
    fresh: Objects = PlumbingObjects(common) if "libgit" not in common else LibgitObjects(common)
    assert fresh.head(REF) is None
    new = chain(fresh, text=b"new")
    assert fresh.move(REF, new, None)
    assert fresh.head(REF) == new == git(common, "rev-parse", f"{REF}^{{commit}}")
    fresh.close()


def test_ancestors_and_merge_bases(objects: Objects) -> None:
    root = chain(objects)
    left, right, stranger = chain(objects, root, text=b"l"), chain(objects, root, text=b"r"), chain(objects, text=b"s")
    assert objects.is_ancestor(root, left) and objects.is_ancestor(left, left)
    assert not objects.is_ancestor(left, root) and not objects.is_ancestor(left, right)
    assert objects.merge_base(left, right) == root
    assert objects.merge_base(left, stranger) is None


def test_a_lock_of_a_killed_process_is_removed_after_a_minute(objects: Objects, common: str) -> None:
    one, two = chain(objects), chain(objects, text=b"2")
    assert objects.move(REF, one, None)
    lock = f"{common}/{REF}.lock"
    open(lock, "w").close()
    os.utime(lock, (time.time() - 61,) * 2)
    assert objects.move(REF, two, one)
    assert not os.path.exists(lock)


@pytest.mark.parametrize("is_held", [False, True], ids=["dead", "alive"])
def test_a_lock_of_our_own_killed_process_is_removed_at_once(objects: Objects, common: str, is_held: bool) -> None:
    one, two = chain(objects), chain(objects, text=b"2")
    assert objects.move(REF, one, None)
    lock, note = f"{common}/{REF}.lock", f"{common}/thrum-sync/moving"
    assert os.path.getsize(note) == 0
    Path(note).write_text(REF)
    open(lock, "w").close()
    if is_held:
        os.utime(note, (time.time() - 10,) * 2)  # killed long before git took this lock
        threading.Timer(0.4, os.unlink, [lock]).start()
    start = time.monotonic()
    assert objects.move(REF, two, one)
    assert (time.monotonic() - start > 0.3) is is_held
    assert not os.path.exists(lock) and os.path.getsize(note) == 0


def test_a_young_lock_is_waited_for_and_then_named(objects: Objects, common: str) -> None:
    one, two = chain(objects), chain(objects, text=b"2")
    assert objects.move(REF, one, None)
    lock = f"{common}/{REF}.lock"
    open(lock, "w").close()
    release = threading.Timer(0.4, os.unlink, [lock])
    release.start()
    assert objects.move(REF, two, one)
    release.join()
    open(lock, "w").close()
    start = time.monotonic()
    with pytest.raises(GitError) as caught:
        objects.move(REF, one, two)
    assert 1.5 < time.monotonic() - start < 6
    assert lock in caught.value.hint


def race(common: str, use_libgit: bool, rounds: int, barrier: threading.Barrier) -> None:
    objects: Objects = LibgitObjects(common) if use_libgit else PlumbingObjects(common)
    barrier.wait()
    for number in range(rounds):
        while True:
            tip = objects.head(REF)
            assert tip is not None
            if objects.move(REF, chain(objects, tip, text=b"%d %d" % (os.getpid(), number)), tip):
                break
    objects.close()


def test_no_update_is_lost_between_processes_of_both_kinds(repo: str) -> None:
    common = f"{repo}/.git"
    objects = LibgitObjects(common)
    root = chain(objects)
    assert objects.move(REF, root, None)
    forks = multiprocessing.get_context("spawn")
    barrier = forks.Barrier(4)
    crowd = [forks.Process(target=race, args=(common, kind, 8, barrier)) for kind in (True, True, False, True)]
    for process in crowd:
        process.start()
    for process in crowd:
        process.join()
        assert process.exitcode == 0
    assert git(repo, "rev-list", "--count", REF) == "33"
    git(repo, "fsck", "--strict")


def test_the_environment_of_a_hook_does_not_lead_astray(
    objects: Objects, common: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make(str(tmp_path / "other"))
    for name in git("/", "rev-parse", "--local-env-vars").split():
        monkeypatch.setenv(name, f"{other}/.git" if "DIR" in name else "x")
    assert objects.move(REF, chain(objects), None)
    for name in os.environ:
        if name.startswith("GIT_") and name not in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
            monkeypatch.delenv(name)
    assert git(common, "rev-parse", REF) == objects.head(REF)
    assert not os.path.exists(f"{other}/.git/{REF}")


def test_the_implementation_fits_the_repository(tmp_path: Path, repo: str) -> None:
    sha256 = make(str(tmp_path / "s"), "--object-format=sha256")
    partial = str(tmp_path / "partial")
    git("/", "clone", "-q", "--filter=blob:none", f"file://{repo}", partial)
    refusing = make(str(tmp_path / "refusing"))
    git(refusing, "config", "core.repositoryFormatVersion", "1")
    git(refusing, "config", "extensions.partialClone", "origin")
    assert isinstance(open_objects(f"{repo}/.git"), LibgitObjects)
    for path in (sha256, partial, refusing):
        found = open_objects(f"{path}/.git")
        assert isinstance(found, PlumbingObjects)
        assert found.move(REF, chain(found), None)
        found.close()


def test_a_missing_blob_of_a_partial_clone_is_not_fetched(tmp_path: Path, repo: str) -> None:
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    partial = str(tmp_path / "partial")
    git("/", "clone", "-q", "--no-checkout", "--filter=blob:none", f"file://{repo}", partial)
    objects = open_objects(f"{partial}/.git")
    blob = objects.entries(objects.tree_of(git(repo, "rev-parse", "HEAD")))["readme"].oid
    with pytest.raises(GitError):
        objects.blob_size(blob)
    objects.close()


def test_what_is_no_repository_is_a_git_error(tmp_path: Path) -> None:
    with pytest.raises(GitError):
        open_objects(str(tmp_path))
    with pytest.raises(GitError):
        LibgitObjects(str(tmp_path))


def test_helper_processes_are_started_again_when_they_died(common: str) -> None:
    objects = PlumbingObjects(common)
    blob = objects.write_blob(b"x")
    assert objects.blob(blob) == b"x"
    for helper in (objects._contents, objects._headers):
        assert helper._process is not None
        helper._process.kill()
        helper._process.wait()
    assert objects.blob(blob) == b"x"
    objects.close()
    assert objects.blob(blob) == b"x"
    objects.close()


def test_a_tree_that_was_read_and_is_gone_is_missing(common: str, objects: Objects) -> None:
    tree = objects.write_tree({"gone": Entry(BLOB, objects.write_blob(os.urandom(8)))})
    assert objects.entries(tree) and objects.rows(tree)
    os.unlink(f"{common}/objects/{tree[:2]}/{tree[2:]}")
    fresh = type(objects)(common)
    for read in (fresh.entries, fresh.rows):
        with pytest.raises(GitError):
            read(tree)
    fresh.close()


def test_damaged_trees_are_git_errors() -> None:
    good = encode_tree({"a": Entry(BLOB, MISSING)})
    assert decode_tree(good, 20) == {"a": Entry(BLOB, MISSING)}
    for bad in (good[:-1], b"100644 a", b"x a\0" + bytes(20), b"100644\0" + bytes(20), b" a\0" + bytes(20)):
        for read in (decode_tree, split_tree):
            with pytest.raises(GitError):
                read(bad, 20)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1),
        st.sampled_from([BLOB, TREE, 0o120000]),
    )
)
def test_the_rows_of_a_tree_are_its_entries(modes: dict[str, int]) -> None:
    data = encode_tree({name: Entry(mode, f"{number:040x}") for number, (name, mode) in enumerate(modes.items())})
    rows = split_tree(data, 20)
    assert len(rows) == len(modes) and all(row in data for row in rows)
    assert dict(item for row in rows for item in decode_tree(row, 20).items()) == decode_tree(data, 20)


def test_a_name_that_stands_twice_is_told() -> None:
    one, two = (encode_tree({"a": Entry(mode, MISSING)}) for mode in (BLOB, TREE))
    assert split_tree(one, 20) == {one} and split_tree(b"", 20) == frozenset()
    for twice in (one + two, one + one):
        with pytest.raises(NamedTwiceError):
            split_tree(twice, 20)
