"""What is known of a large worktree: kept up by what the system tells of its files, instead of by looking at them all.

Only plain cases are worked out here: edits of tracked files, and commits of them. In every doubt CannotTellError is raised, and
git is asked, which looks at every file.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable

from thrum.git import branch as branches
from thrum.git import context, evidence
from thrum.git.context import Commit, Context
from thrum.git.evidence import RULES, CannotTellError, Evidence
from thrum.git.glance import Index
from thrum.git.libgit import LibgitObjects, accepts
from thrum.git.objects import COMMIT
from thrum.git.place import Place
from thrum.vigil import Vigil

MOST = 64
"""Files looked at one by one; when more may have changed, git looks."""
_BRANCH = "refs/heads/"
_TICK = 0.02
"""Seconds, longer than the clock of any file system that can be watched needs to go on."""
_TRIES = 5
"""Times git is asked, as somebody may be committing one thing after the other: watching the folders has cost more than that."""
_ODD = ("diff.orderfile", "core.sparsecheckout", "core.splitindex")


class Watched:
    """A worktree under watch. Any number of threads."""

    def __init__(self, place: Place) -> None:
        """Looks at everything, which takes a while. Raises CannotTellError, LostSightError, GitError."""
        began, top = evidence.now(), place.worktree
        if top is None or not accepts(place.common_dir):
            raise CannotTellError("no worktree, or a repository of a kind of its own")
        self._place, self._top, self._lock = place, top, threading.Lock()
        self._vigil = Vigil(top)
        try:
            self._learn(began)
        except BaseException:
            self._vigil.close()
            raise

    def _learn(self, began: int) -> None:
        place = self._place
        self._rules, values = evidence.of_rules(place)
        self._branch = _branch(place)
        self._others = _others(place, values, self._branch)
        self._is_plain = self._watch_all(values)
        if not (self._rules.is_settled(began) and self._others.is_settled(began)):
            raise CannotTellError("a setting or a reference changed just now")
        if not any(self._ask_git() for _ in range(_TRIES)) or not (self._rules.holds() and self._others.holds()):
            raise CannotTellError("something happened meanwhile")

    def _ask_git(self) -> bool:
        """Takes in what git says; whether it did so without somebody committing or staging meanwhile."""
        place = self._place
        self._pointers = self._look_at_pointers()
        time.sleep(_TICK)  # what replaces them from now on bears another time
        self._context = context.read(place)
        self._base = context.base_of(place, self._branch)
        self._tree, self._is_ahead = self._find_tree()
        return self._pointers.holds()

    def close(self) -> None:
        """Watches no more."""
        self._vigil.close()

    def recall(self) -> Context:
        """What `context.read` would give now. Raises CannotTellError, LostSightError, GitError."""
        with self._lock:
            touched = self._stirred()
            if touched is not None:
                self._renew(touched)
            return self._context

    def glance(self) -> Context | None:
        """The same, if nothing has stirred; else None. Raises CannotTellError, LostSightError."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._context if self._stirred() is None else None
        finally:
            self._lock.release()

    def _stirred(self) -> frozenset[str] | None:
        """The files that were touched, when they or HEAD and the index have to be looked at; None when all is as it was."""
        touched, began = self._vigil.touched(), evidence.now()
        if not (self._rules.holds() and self._others.holds()):
            raise CannotTellError("a setting or a reference changed")
        return touched if touched or not (self._pointers.is_settled(began) and self._pointers.holds()) else None

    def _renew(self, touched: frozenset[str]) -> None:
        """Works out what is so now."""
        pointers = self._look_at_pointers()
        objects = LibgitObjects(self._place.common_dir)
        try:
            head = objects.head(_BRANCH + self._branch)
            if head is None or self._tree is None:
                raise CannotTellError("something is staged")
            tree = objects.tree_of(head)
            moved = _moved(objects, self._tree, tree)
            self._check_watched(moved)
            uncommitted = self._judge(tree, touched, moved)
            commits, changed = self._history(objects, head, tree, moved)
        finally:
            objects.close()
        if not pointers.holds():
            raise CannotTellError("something happened meanwhile")
        self._context = Context(
            branch=self._branch, head=head, unmerged_commits=commits, changed_files=changed,
            uncommitted_files=uncommitted,
        )  # fmt: skip
        self._pointers, self._tree = pointers, tree
        self._vigil.forget(touched)

    def _check_watched(self, moved: dict[str, bool]) -> None:
        """Raises CannotTellError when a file is tracked now in a folder that was ignored, and so is not watched."""
        if not all(self._vigil.watches(path.rpartition("/")[0]) for path, is_there in moved.items() if is_there):
            raise CannotTellError("a folder that was ignored holds tracked files now")

    def _judge(self, tree: str, touched: frozenset[str], moved: dict[str, bool]) -> list[str]:
        """The uncommitted files: of those known before, those touched, and those that a commit changed."""
        known = self._context["uncommitted_files"]
        asked = {*touched, *moved, *known}
        if len(asked) > MOST or any(os.path.basename(path) in RULES for path in touched):
            raise CannotTellError("much changed, or a rule")
        index = Index(os.path.join(self._place.git_dir, "index"))
        try:
            if index.tree() != tree:
                raise CannotTellError("something is staged")
            rows = {path: index.row(path) for path in asked}
            dirty = [
                path
                for path, row in rows.items()
                if row and not index.is_unchanged(self._top, path, row, is_plain=self._is_plain)
            ]
        finally:
            index.close()
        loose = [path for path in known if rows[path] is None]
        self._check_loose(loose, touched, moved, {path for path, row in rows.items() if row is None})
        remaining = [path for path in loose if os.path.lexists(os.path.join(self._top, path))]
        return [*context.visible(sorted(dirty, key=os.fsencode)), *remaining]

    def _check_loose(
        self, loose: list[str], touched: frozenset[str], moved: dict[str, bool], unknown: set[str]
    ) -> None:
        """Raises CannotTellError when files that git does not know may be told otherwise than before."""
        if loose and not all(moved.values()):
            raise CannotTellError("a folder may have lost its last tracked file")
        if any(path.startswith(folder) for folder in loose if folder.endswith("/") for path in touched | moved.keys()):
            raise CannotTellError("an untracked folder may be told otherwise now")
        for path in ((touched | moved.keys()) & unknown) - set(loose):
            if os.path.lexists(os.path.join(self._top, path)):
                raise CannotTellError(f"{path} is new, or ignored")

    def _history(
        self, objects: LibgitObjects, head: str, tree: str, moved: dict[str, bool]
    ) -> tuple[list[Commit], list[str]]:
        before, base = self._context, self._base
        if head == before["head"]:
            return before["unmerged_commits"], before["changed_files"]
        if base in (None, head):
            return [], []
        subject = _plain_subject(objects, head, before["head"])
        if subject is None or base is None or not self._is_ahead:
            self._is_ahead = False
            commits, changed = context.history(
                self._place, base or "", head, context.LIMIT_FILES, context.LIMIT_COMMITS
            )
            return [Commit(sha=c[0], message=c[1], files=list(c[2])) for c in commits], list(changed)
        newest = Commit(sha=head, message=subject, files=_told(moved))
        others = before["unmerged_commits"][: context.LIMIT_COMMITS - 1]
        return [newest, *others], _told(_moved(objects, objects.tree_of(base), tree))

    def _watch_all(self, values: dict[str, str]) -> bool:
        """Whether contents in the worktree are what git keeps of them."""
        tracked = evidence.tracked_files(self._top)
        rules = {os.path.basename(path) for path in tracked} & set(RULES)

        def see(path: str) -> None:
            name = os.path.basename(path)
            if name in RULES:
                rules.add(name)
            else:
                self._vigil.watch(path)

        evidence.see_folders(self._top, tracked, see)
        if any(_has_other_names(os.path.join(self._top, path)) for path in tracked):
            raise CannotTellError("a file that may be changed under another name")
        if any(values.get(name) for name in _ODD) or values.get("core.ignorecase", "false") != "false":
            raise CannotTellError("unusual settings")
        usual = (values.get("core.autocrlf", "false"), values.get("core.filemode"), values.get("core.symlinks", "true"))
        return ".gitattributes" not in rules and usual == ("false", "true", "true") and not self._has_attributes()

    def _has_attributes(self) -> bool:
        info = os.path.join(self._place.common_dir, "info", "attributes")
        return any(map(os.path.lexists, (info, *evidence.system_attributes())))

    def _find_tree(self) -> tuple[str | None, bool]:
        """HEAD's tree, when nothing is staged and the uncommitted files are all known; whether HEAD has all of the base."""
        head, base = self._context["head"], self._base
        objects, index = LibgitObjects(self._place.common_dir), Index(os.path.join(self._place.git_dir, "index"))
        try:
            tree = objects.tree_of(head) if head else None
            is_whole = len(self._context["uncommitted_files"]) < context.LIMIT_FILES
            is_ahead = bool(head and base and objects.is_ancestor(base, head))
            return (tree, is_ahead) if is_whole and index.tree() == tree else (None, False)
        except CannotTellError:
            return None, False
        finally:
            index.close()
            objects.close()

    def _look_at_pointers(self) -> Evidence:
        seen = Evidence()
        seen.see(os.path.join(self._place.git_dir, "index"))
        seen.see(os.path.join(self._place.common_dir, _BRANCH + self._branch))
        return seen


def _branch(place: Place) -> str:
    named = evidence.symbolic(os.path.join(place.git_dir, "HEAD"))
    if not named.startswith(_BRANCH):
        raise CannotTellError("no branch")
    if evidence.symbolic(os.path.join(place.common_dir, named)):
        raise CannotTellError("a branch that is another's name")
    return named.removeprefix(_BRANCH)


def _others(place: Place, values: dict[str, str], branch: str) -> Evidence:
    """The references that say what work is measured against, and what makes history look different than it is."""
    common = place.common_dir
    own = os.path.join(common, _BRANCH + branch)
    replaced, grafts = os.path.join(common, "refs", "replace"), os.path.join(common, "info", "grafts")
    if (
        os.path.lexists(grafts)
        or (os.path.isdir(replaced) and os.listdir(replaced))
        or _has_packed_replacements(common)
    ):
        raise CannotTellError("a history that was replaced")
    seen = Evidence()
    seen.see(replaced, grafts, *(path for path in evidence.references(place, values) if path != own))
    return seen


def _has_packed_replacements(common_dir: str) -> bool:
    try:
        with open(os.path.join(common_dir, "packed-refs"), "rb") as file:
            return b" refs/replace/" in file.read()
    except OSError:
        return False


def _has_other_names(path: str) -> bool:
    try:
        return os.lstat(path).st_nlink > 1
    except OSError:
        return False


def _moved(objects: LibgitObjects, old: str, new: str) -> dict[str, bool]:
    """The paths that differ between two trees, and whether they are in the new one. Raises CannotTellError, GitError."""
    changes = branches.changes(objects, old, new) if old != new else {}
    if any(entry is not None and entry.mode == COMMIT for change in changes.values() for entry in change):
        raise CannotTellError("a submodule")
    return {path: after is not None for path, (_, after) in changes.items()}


def _told(paths: Iterable[str]) -> list[str]:
    return context.visible(sorted(paths, key=os.fsencode))[: context.LIMIT_FILES]


def _plain_subject(objects: LibgitObjects, commit: str, parent: str) -> str | None:
    """A commit's subject, when it has that one parent and a message of which nothing has to be worked out."""
    headers, _, message = objects.commit_data(commit).partition(b"\n\n")
    lines = headers.split(b"\n")
    parents = [line for line in lines if line.startswith(b"parent ")]
    if parents != [b"parent " + parent.encode()] or any(line.startswith(b"encoding ") for line in lines):
        return None
    first, _, rest = message.partition(b"\n")
    try:
        subject = first.decode()
    except UnicodeDecodeError:
        return None
    is_plain = subject and subject == subject.strip() and subject.isprintable() and not rest.partition(b"\n")[0].strip()
    return subject if is_plain else None
