"""The a-sync branch as data: its first commit, what changed between two of its trees, and the next tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from thrum.errors import GitError
from thrum.git.command import run
from thrum.git.objects import BLOB, TREE, Entry, NamedTwiceError, Objects, decode_tree
from thrum.git.place import Place

BRANCH = "a-sync"
REF = "refs/heads/a-sync"
BEGIN = "thrum: begin\n\n[skip ci]\n"
BEGIN_ANEW = "thrum: begin anew, without what was purged\n\n[skip ci]\n"
DEPTH = 8
LIMIT = 500_000  # entries looked at in one walk

Change = tuple[Entry | None, Entry | None]


def tracking_ref(remote: str) -> str:
    """Where `remote`'s a-sync is kept here after a fetch."""
    return f"refs/remotes/{remote}/{BRANCH}"


def references(place: Place) -> dict[str, str]:
    """{reference: id} of our branch and of the remotes' as it was fetched, whether or not their commits are there."""
    remotes = run(["remote"], place.common_dir).out.decode("utf-8", "surrogateescape").split("\n")[:-1]
    asked = ["for-each-ref", "--format=%(objectname) %(refname)", REF, *map(tracking_ref, remotes)]
    lines = run(asked, place.common_dir).out.decode("utf-8", "surrogateescape").split("\n")[:-1]
    return {ref: oid for oid, _, ref in (line.partition(" ") for line in lines)}


def ensure(objects: Objects, place: Place, remote: str | None) -> str:
    """The branch's tip; attached to the remote's when there is none here, else begun with an empty root commit.

    A branch whose commit a power cut took away counts as none. Raises GitError when the reference cannot be written.
    """
    for _ in range(5):
        tip = objects.head(REF)
        if tip is not None:
            return tip
        root = objects.empty_tree()  # git takes it for granted: a fetch that was cut off may have left it out for ever
        new = objects.head(tracking_ref(remote)) if remote else None
        new = new or objects.commit(root, [], BEGIN)
        if objects.move(REF, new, None):
            return new
    raise GitError(f"{BRANCH} could not be created in {place.common_dir}", "run `git thrum doctor`")


def roots(place: Place, commit: str, beyond: str | None = None) -> set[str]:
    """The first commits of a history; of those that `beyond` has too, none. Raises GitError."""
    without = [f"^{beyond}"] if beyond else []
    result = run(["rev-list", "--max-parents=0", commit, *without, "--"], place.common_dir)
    return set(result.out.decode("ascii").split())


def changes(objects: Objects, old_tree: str, new_tree: str) -> dict[str, Change]:
    """Every path whose leaf differs: {path: (before, after)}, None for absent. Work follows the difference.

    Raises GitError beyond 8 levels or half a million entries.
    """
    return _Comparison(objects).between(old_tree, new_tree)


def walk(objects: Objects, tree: str) -> Iterator[tuple[str, Entry]]:
    """Every leaf of the tree with its path, in git's order of folders. Same bounds as `changes`."""
    counter = _Counter()
    yield from _walk(objects, tree, "", 0, counter)


def is_readable(objects: Objects, commit: str) -> bool:
    """Whether every tree and every plain file of a commit is there; its history is not looked at."""
    try:
        for _, entry in walk(objects, objects.tree_of(commit)):
            if entry.mode == BLOB:
                objects.blob_size(entry.oid)
    except GitError:
        return False
    return True


def lookup(objects: Objects, tree: str, path: str) -> Entry | None:
    """The entry at `path`, a folder too; None when there is none."""
    *folders, name = path.split("/")
    for folder in folders:
        entry = objects.entries(tree).get(folder)
        if entry is None or not entry.is_tree:
            return None
        tree = entry.oid
    return objects.entries(tree).get(name)


def graft(objects: Objects, tree: str, leaves: Mapping[str, str | Entry | None]) -> str:
    """A tree like `tree` with `leaves` put in (an oid: a plain file) or, for None, taken out; empty folders go.

    Only folders on the way to a leaf are written. What stands in a path's way is replaced.
    """
    return _graft(objects, tree, {path: _entry(leaf) for path, leaf in leaves.items()}) or objects.empty_tree()


def _entry(leaf: str | Entry | None) -> Entry | None:
    return Entry(BLOB, leaf) if isinstance(leaf, str) else leaf


def _graft(objects: Objects, tree: str | None, leaves: Mapping[str, Entry | None]) -> str | None:
    """The new folder's tree, or None when nothing is left in it."""
    before = objects.entries(tree) if tree else {}
    after = dict(before)
    below: dict[str, dict[str, Entry | None]] = {}
    for path, leaf in leaves.items():
        name, deeper, rest = path.partition("/")
        if deeper:
            below.setdefault(name, {})[rest] = leaf
        elif leaf is None:
            after.pop(name, None)
        else:
            after[name] = leaf
    for name, deeper_leaves in below.items():
        _graft_folder(objects, after, name, deeper_leaves)
    if tree and after == before:
        return tree
    return objects.write_tree(after) if after else None


def _graft_folder(objects: Objects, after: dict[str, Entry], name: str, leaves: Mapping[str, Entry | None]) -> None:
    there = after.get(name)
    is_folder = there is not None and there.is_tree
    if not is_folder and all(leaf is None for leaf in leaves.values()):
        return  # nothing to take out
    folder = _graft(objects, there.oid if there is not None and is_folder else None, leaves)
    if folder is None:
        after.pop(name, None)
    else:
        after[name] = Entry(TREE, folder)


class _Counter:
    """Raises GitError when a walk becomes too wide or too deep."""

    def __init__(self) -> None:
        self.left = LIMIT

    def take(self, entries: int, depth: int) -> None:
        self.left -= entries
        if depth > DEPTH or self.left < 0:
            raise GitError(
                f"the {BRANCH} branch is more than {DEPTH} folders deep or {LIMIT} entries wide",
                f"find who pushed it: git log {BRANCH}",
            )


class _Comparison:
    """One comparison of two trees."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.counter = _Counter()
        self.found: dict[str, Change] = {}

    def between(self, old_tree: str, new_tree: str) -> dict[str, Change]:
        self._trees(old_tree, new_tree, "", 0)
        return self.found

    def _trees(self, old: str | None, new: str | None, prefix: str, depth: int) -> None:
        if old == new:
            return
        self.counter.take(0, depth)
        before, after = self._differing(old, new, depth)
        for name in sorted(before.keys() | after.keys()):
            self._entries(before.get(name), after.get(name), prefix + name, depth)

    def _differing(self, old: str | None, new: str | None, depth: int) -> tuple[dict[str, Entry], dict[str, Entry]]:
        """The entries of either tree that are not in the other: only rows that differ are taken apart."""
        try:
            before, after = (self.objects.rows(tree) if tree else frozenset[bytes]() for tree in (old, new))
        except NamedTwiceError:
            return self._differing_entries(old, new, depth)
        self.counter.take(len(before) + len(after), depth)
        oid_size = len(old or new or "") // 2
        gone, come = (decode_tree(b"".join(rows), oid_size) for rows in (before - after, after - before))
        return _without(gone, come), _without(come, gone)

    def _differing_entries(
        self, old: str | None, new: str | None, depth: int
    ) -> tuple[dict[str, Entry], dict[str, Entry]]:
        before, after = (self.objects.entries(tree) if tree else {} for tree in (old, new))
        self.counter.take(len(before) + len(after), depth)
        return _without(before, after), _without(after, before)

    def _entries(self, before: Entry | None, after: Entry | None, path: str, depth: int) -> None:
        old_leaf = None if before is None or before.is_tree else before
        new_leaf = None if after is None or after.is_tree else after
        if old_leaf or new_leaf:
            self.found[path] = (old_leaf, new_leaf)
        old_tree = before.oid if before and before.is_tree else None
        new_tree = after.oid if after and after.is_tree else None
        self._trees(old_tree, new_tree, path + "/", depth + 1)


def _without(some: dict[str, Entry], others: dict[str, Entry]) -> dict[str, Entry]:
    return {name: entry for name, entry in some.items() if others.get(name) != entry}


def _walk(objects: Objects, tree: str, prefix: str, depth: int, counter: _Counter) -> Iterator[tuple[str, Entry]]:
    counter.take(0, depth)
    entries = objects.entries(tree)
    counter.take(len(entries), depth)
    for name, entry in entries.items():
        if entry.is_tree:
            yield from _walk(objects, entry.oid, f"{prefix}{name}/", depth + 1, counter)
        else:
            yield prefix + name, entry
