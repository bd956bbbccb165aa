from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pygit2.enums import ObjectType

from thrum.errors import GitError
from thrum.git import branch
from thrum.git.branch import BEGIN, REF, changes, ensure, graft, lookup, walk
from thrum.git.libgit import LibgitObjects
from thrum.git.objects import BLOB, COMMIT, TREE, Entry, Objects, encode_tree, open_objects
from thrum.git.place import find

from .kit import git, make, outline


@pytest.fixture(params=["sha1", "sha256"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    path = make(str(tmp_path / "objects"), f"--object-format={request.param}")
    return open_objects(f"{path}/.git")


class Counting:
    """Objects that count how many trees are read and written."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.reads = self.writes = 0

    def entries(self, tree: str) -> dict[str, Entry]:
        self.reads += 1
        return self.objects.entries(tree)

    def rows(self, tree: str) -> frozenset[bytes]:
        self.reads += 1
        return self.objects.rows(tree)

    def write_tree(self, entries: dict[str, Entry]) -> str:
        self.writes += 1
        return self.objects.write_tree(entries)

    def __getattr__(self, name: str) -> object:
        return getattr(self.objects, name)


def plant(objects: Objects, files: dict[str, bytes]) -> str:
    return graft(objects, objects.empty_tree(), {path: objects.write_blob(data) for path, data in files.items()})


def test_the_first_commit_is_an_orphan_with_an_empty_tree(repo: str) -> None:
    objects, place = open_objects(f"{repo}/.git"), find(repo)
    tip = ensure(objects, place, None)
    assert git(repo, "rev-parse", REF) == tip and git(repo, "log", "--format=%B%P", REF).strip() == BEGIN.strip()
    assert objects.tree_of(tip) == objects.empty_tree()
    assert ensure(objects, place, None) == tip


def test_a_clone_attaches_to_the_remotes_branch(repo: str, tmp_path: Path) -> None:
    objects = open_objects(f"{repo}/.git")
    tip = ensure(objects, find(repo), None)
    clone = str(tmp_path / "clone")
    git("/", "clone", "-q", repo, clone)
    mine = open_objects(f"{clone}/.git")
    assert ensure(mine, find(clone), "origin") == tip == mine.head(REF)
    assert git(clone, "config", "--get-regexp", r"branch\.a-sync", check=False) == ""


def test_a_fetch_that_was_cut_off_may_have_left_out_the_empty_tree(repo: str, tmp_path: Path) -> None:
    """git takes it for granted, never fetches it again, and `git fsck` misses it."""
    objects = open_objects(f"{repo}/.git")
    ensure(objects, find(repo), None)
    clone = str(tmp_path / "clone")
    git("/", "clone", "-q", repo, clone)
    empty = objects.empty_tree()
    os.unlink(f"{clone}/.git/objects/{empty[:2]}/{empty[2:]}")
    ensure(open_objects(f"{clone}/.git"), find(clone), "origin")
    git(clone, "fsck", "--strict")


def test_a_remote_without_the_branch_means_a_new_root(repo: str) -> None:
    assert ensure(open_objects(f"{repo}/.git"), find(repo), "origin")


def test_a_lost_commit_means_a_new_root(repo: str) -> None:
    objects = open_objects(f"{repo}/.git")
    tip = ensure(objects, find(repo), None)
    os.unlink(f"{repo}/.git/objects/{tip[:2]}/{tip[2:]}")
    fresh = open_objects(f"{repo}/.git")
    assert fresh.head(REF) is None
    assert fresh.head(REF) is None and ensure(fresh, find(repo), None) == fresh.head(REF)


def test_an_unborn_and_a_bare_repository_get_the_branch_too(tmp_path: Path, bare: str) -> None:
    for path in (make(str(tmp_path / "unborn"), commit=False), bare):
        place = find(path)
        objects = open_objects(place.common_dir)
        assert ensure(objects, place, None) == objects.head(REF)
    assert git(str(tmp_path / "unborn"), "symbolic-ref", "HEAD") == "refs/heads/main"


def test_changes_name_what_differs_and_nothing_else(objects: Objects) -> None:
    old = plant(objects, {"a/b/1": b"1", "a/b/2": b"2", "a/c": b"c", "z": b"z"})
    new = plant(objects, {"a/b/1": b"1", "a/b/2": b"two", "a/d": b"d", "z": b"z"})
    found = changes(objects, old, new)
    assert set(found) == {"a/b/2", "a/c", "a/d"}
    assert found["a/c"] == (lookup(objects, old, "a/c"), None)
    assert found["a/d"] == (None, lookup(objects, new, "a/d"))
    assert changes(objects, old, old) == {}
    assert set(changes(objects, objects.empty_tree(), old)) == set(outline(objects, old))


def test_a_file_in_a_folders_place_is_both_changes(objects: Objects) -> None:
    old, new = plant(objects, {"a": b"file"}), plant(objects, {"a/b": b"x"})
    assert set(changes(objects, old, new)) == set(changes(objects, new, old)) == {"a", "a/b"}
    assert changes(objects, old, new)["a"] == (lookup(objects, old, "a"), None)


def test_work_is_proportional_to_the_difference(objects: Objects) -> None:
    files = {f"messages/agent{agent}/o/0000/{part:02}.jsonl": b"x" for agent in range(30) for part in range(4)}
    old = plant(objects, files)
    counting = Counting(objects)
    new = graft(counting, old, {"messages/agent7/o/0000/03.jsonl": objects.write_blob(b"xy")})  # type: ignore[arg-type]
    assert counting.writes == 5 and counting.reads == 5
    counting.reads = 0
    assert set(changes(counting, old, new)) == {"messages/agent7/o/0000/03.jsonl"}  # type: ignore[arg-type]
    assert counting.reads == 10


def test_a_bomb_is_refused(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = objects.write_tree({"x": Entry(BLOB, objects.write_blob(b"x"))})
    for _ in range(1000):
        deep = objects.write_tree({"d": Entry(TREE, deep)})
    with pytest.raises(GitError, match="deep"):
        changes(objects, objects.empty_tree(), deep)
    with pytest.raises(GitError, match="deep"):
        list(walk(objects, deep))
    monkeypatch.setattr(branch, "LIMIT", 10)
    wide = plant(objects, {str(number): b"x" for number in range(11)})
    with pytest.raises(GitError, match="wide"):
        changes(objects, objects.empty_tree(), wide)


def test_graft_leaves_strangers_alone(objects: Objects) -> None:
    blob = objects.write_blob(b"x")
    strange = objects.write_tree(
        {
            ".git": Entry(BLOB, blob),
            "link": Entry(0o120000, blob),
            "run": Entry(0o100755, blob),
            "\udcff": Entry(BLOB, blob),
        }
    )
    after = graft(objects, strange, {"messages/a": blob})
    assert objects.entries(strange).items() <= objects.entries(after).items()
    assert graft(objects, after, {"messages/a": None}) == strange


def test_graft_replaces_what_is_in_the_way_and_drops_empty_folders(objects: Objects) -> None:
    blob = objects.write_blob(b"x")
    tree = plant(objects, {"a": b"file", "b/c/d": b"x"})
    assert set(outline(objects, graft(objects, tree, {"a/b": blob}))) == {"a/b", "b/c/d"}
    assert set(outline(objects, graft(objects, tree, {"b": blob}))) == {"a", "b"}
    assert graft(objects, tree, {"a": None, "b/c/d": None}) == objects.empty_tree()
    assert graft(objects, tree, {"a/nothing": None, "no/such": None, "none": None}) == tree
    assert graft(objects, tree, {}) == tree


def test_lookup_finds_files_and_folders(objects: Objects) -> None:
    tree = plant(objects, {"a/b/c": b"x"})
    found = lookup(objects, tree, "a/b/c")
    assert found is not None and objects.blob(found.oid) == b"x"
    folder = lookup(objects, tree, "a/b")
    assert folder is not None and folder.is_tree
    for path in ("a/x", "x/y", "a/b/c/d", ""):
        assert lookup(objects, tree, path) is None


paths = st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join)
forests = st.dictionaries(paths, st.sampled_from([b"1", b"2", b"3"]), max_size=6).filter(
    lambda files: not any(one != two and two.startswith(one + "/") for one in files for two in files)
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    path = str(tmp_path_factory.mktemp("shared") / "r.git")
    git("/", "init", "-q", "--bare", path)
    return open_objects(path)


Row = tuple[str, int, int]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "a.b", "ü", "\udcff", ".gitmodules"]),
        st.sampled_from([BLOB, 0o100755, 0o120000, COMMIT, TREE]),
        st.sampled_from([0, 1, 2]),
    ),
    max_size=4,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(old=ROWS, new=ROWS)
def test_of_rows_of_one_name_the_last_one_counts(shared: LibgitObjects, old: list[Row], new: list[Row]) -> None:
    """Such trees cannot be made with git, but they can be pushed by somebody who does not use it."""
    leaves = [shared.write_blob(b"%d" % number) for number in range(3)]
    folders = [plant(shared, {f"f{number}": b"x"}) for number in range(3)]

    def build(rows: list[Row], zeros: int) -> str:
        entries = [(name, Entry(mode, (folders if mode == TREE else leaves)[of])) for name, mode, of in rows]
        data = b"".join(encode_tree({name: entry}) for name, entry in entries)
        return str(shared.repository.odb.write(ObjectType.TREE, b"0" * zeros + data))

    before, after = build(old, 0), build(new, 1 if new else 0)  # a mode may be written in two ways
    was, now = dict(walk(shared, before)), dict(walk(shared, after))
    wanted = {path: (was.get(path), now.get(path)) for path in was.keys() | now.keys()}
    assert changes(shared, before, after) == {path: both for path, both in wanted.items() if both[0] != both[1]}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(old=forests, new=forests)
def test_changes_grafted_onto_the_old_tree_make_the_new_one(
    shared: Objects, old: dict[str, bytes], new: dict[str, bytes]
) -> None:
    before, after = plant(shared, old), plant(shared, new)
    found = changes(shared, before, after)
    gone = {path: None for path, (_, entry) in found.items() if entry is None}
    here = {path: entry for path, (_, entry) in found.items() if entry is not None}
    assert graft(shared, graft(shared, before, gone), here) == after
    assert outline(shared, after).keys() == new.keys()
