"""Laying the foundations in a repository, step by step; when one fails, what this run made is taken away again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from typing import NamedTuple

from thrum.config import Settings
from thrum.errors import Refused, RemoteError, StorageError
from thrum.git import branch, hooks, remote, worktree
from thrum.git.command import run
from thrum.git.objects import open_objects
from thrum.git.place import Place
from thrum.store import disk, origin
from thrum.sync import files, permission, state

EXCLUDED = b".thrum/"
_SAME = (b".thrum/", b".thrum", b"/.thrum/", b"/.thrum")
_FETCH = 20.0  # seconds of silence


class Step(NamedTuple):
    """Something that was done: `created`, `healed`, `kept`, `skipped`; what; and a note on it."""

    verb: str
    what: str
    note: str = ""


class Founding:
    """One run of `init` or `setup`."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.steps: list[Step] = []
        self._undo: list[Callable[[], object]] = []

    @contextlib.contextmanager
    def whole_or_nothing(self) -> Iterator[None]:
        """Whatever goes wrong inside, what was made by then is removed, and nothing else."""
        try:
            with disk.explained("set thrum up"):
                yield
        except BaseException:
            for undo in reversed(self._undo):
                with contextlib.suppress(OSError):
                    undo()
            raise

    def undo_with(self, undo: Callable[[], object]) -> None:
        """If this run fails, `undo` is called."""
        self._undo.append(undo)

    def note(self, verb: str, what: str, note: str = "") -> None:
        """Remembers what was done."""
        self.steps.append(Step(verb, what, note))

    def make_house(self) -> None:
        """thrum's own folders and its schema version."""
        place = self.place
        is_new = self._folder(place.thrum_dir)
        self._folder(place.var_dir)
        self._folder(place.sync_dir)
        if place.main_worktree is not None:
            self._folder(os.path.join(place.thrum_dir, "identities"))
        self._file(os.path.join(place.thrum_dir, "schema_version"), b"1\n")
        self.note("created" if is_new else "kept", self._short(place.thrum_dir) + "/", "private to this machine")
        self._exclude()

    def make_worktree_ready(self) -> None:
        """A worktree's own identities, and where its repository's thrum is."""
        place = self.place
        if place.identities_dir is None or place.worktree is None:
            return
        is_new = self._folder(place.identities_dir)
        if place.is_linked:
            content = os.fsencode(place.thrum_dir) + b"\n"
            path = os.path.join(place.worktree, ".thrum", "redirect")
            is_new = self._file(path, content, replace=True) or is_new
        if place.is_linked or is_new:
            verb = "created" if is_new else "kept"
            self.note(verb, os.path.join(place.worktree, ".thrum") + "/", "identities of this worktree")

    def make_origin(self) -> None:
        """The clone's own id."""
        place = self.place
        path = os.path.join(place.sync_dir, "origin")
        if not os.path.exists(path):
            self.undo_with(lambda: os.unlink(path))
        origin.ensure(place.sync_dir)

    def switch_sync_off(self) -> None:
        """`thrum.sync=false`, in this repository only."""
        directory = self.place.common_dir
        before = run(["config", "--local", "--get", "thrum.sync"], directory, plain=True, check=False)
        run(["config", "--local", "thrum.sync", "false"], directory, plain=True)
        if before.code:
            unset = ["config", "--local", "--unset", "thrum.sync"]
            self.undo_with(lambda: run(unset, directory, plain=True, check=False))
        self.note("set", "thrum.sync = false", "local only: nothing is fetched or pushed")

    def fetch(self, name: str) -> bool:
        """The remote's branch; False when the remote could not be asked."""
        try:
            remote.fetch(self.place, name, _FETCH)
        except RemoteError as error:
            self.note("skipped", f"asking {name}", f"{error}; the next sync tries again")
            return False
        return True

    def is_public(self, name: str, settings: Settings) -> bool:
        """Whether anybody may read the remote, and nobody allowed that: the sync will push nothing there."""
        known = state.load(self.place.sync_dir)
        try:
            public = permission.is_public(known, self.place, name, settings)
        except RemoteError:
            return False  # the sync asks again, and says so
        state.save(self.place.sync_dir, known)
        if public:
            self.note("skipped", f"pushing to {name}", f"anybody may read it; to allow that: {permission.ALLOW}")
        return public

    def make_branch(self, name: str | None) -> None:
        """The a-sync branch, its worktree, and the logs in it."""
        place = self.place
        objects = open_objects(place.common_dir)
        try:
            was = objects.head(branch.REF)
            theirs = objects.head(branch.tracking_ref(name)) if name else None
            tip = branch.ensure(objects, place, name)
            if was is None:
                drop = ["update-ref", "-d", branch.REF, tip]
                self.undo_with(lambda: run(drop, place.common_dir, check=False))
            self.note(*_branch_note(was, theirs, name))
            self._make_log_root()
            tree = objects.tree_of(tip)
            files.refill(place.log_root, objects, tree)
            worktree.follow(place, objects, tree, None)
        finally:
            objects.close()

    def install_hooks(self, *, shared: bool = False) -> None:
        """The git hooks; where they are refused, the reason is told and the rest goes on."""
        try:
            if all(state.how == "missing" for state in hooks.status(self.place)):
                self.undo_with(lambda: hooks.uninstall(self.place))
            states = hooks.install(self.place, shared=shared)
        except (Refused, StorageError) as error:
            self.note("skipped", "git hooks", f"{error}; {error.hint}" if error.hint else str(error))
            return
        odd = [f"{state.event}: {state.note}" for state in states if state.fix]
        self.note("installed", "git hooks", "; ".join(odd) or "they only leave a mark")

    def _make_log_root(self) -> None:
        place = self.place
        metadata = os.path.join(place.common_dir, "worktrees")
        had_worktrees, before = os.path.isdir(metadata), set(_names(metadata))
        is_new = not os.path.isdir(place.log_root)
        if is_new:
            self.undo_with(lambda: shutil.rmtree(place.log_root, ignore_errors=True))
        self.undo_with(lambda: _remove_new(metadata, before, had_worktrees))
        healed = worktree.ensure(place)
        what = self._short(place.log_root) + "/"
        told = "the logs, a worktree of a-sync" if is_new or not healed else "; ".join(healed)
        self.note("created" if is_new else "healed" if healed else "kept", what, told)

    def _exclude(self) -> None:
        """`.thrum/` into the common `info/exclude`, once; every other byte stays as it is."""
        if self.place.main_worktree is None and self.place.is_bare:
            return
        path = os.path.join(self.place.common_dir, "info", "exclude")
        self._folder(os.path.dirname(path), 0o777)
        there = _read(path)
        if there is not None and any(line.strip() in _SAME for line in there.split(b"\n")):
            return
        size = len(there or b"")
        with open(path, "ab") as file:
            file.write((b"" if not there or there.endswith(b"\n") else b"\n") + EXCLUDED + b"\n")
        self.undo_with(lambda: os.unlink(path) if there is None else os.truncate(path, size))
        self.note("updated", self._short(path), "git ignores .thrum/ in this clone")

    def _folder(self, path: str, mode: int = 0o700) -> bool:
        """Makes a folder; whether it was missing."""
        if os.path.isdir(path):
            return False
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.mkdir(path, mode)
        disk.sync_folder(os.path.dirname(path))
        self.undo_with(lambda: shutil.rmtree(path, ignore_errors=True) if mode == 0o700 else os.rmdir(path))
        return True

    def _file(self, path: str, content: bytes, *, replace: bool = False) -> bool:
        """Makes a file (0600); whether it had to be written."""
        there = _read(path)
        if there is not None and (not replace or there == content):
            return False
        disk.replace(path, content)
        self.undo_with(lambda: os.unlink(path) if there is None else disk.replace(path, there))
        return True

    def _short(self, path: str) -> str:
        top = self.place.main_worktree
        return os.path.relpath(path, top) if top and path.startswith(top + os.sep) else path


def _branch_note(was: str | None, theirs: str | None, name: str | None) -> tuple[str, str, str]:
    what = "the branch a-sync"
    if was is not None:
        return "kept", what, ""
    if theirs is not None:
        return "created", what, f"from {name}'s"
    return "created", what, f"{name} has none yet" if name else ""


def _names(folder: str) -> list[str]:
    return os.listdir(folder) if os.path.isdir(folder) else []


def _remove_new(metadata: str, before: set[str], had_worktrees: bool) -> None:
    for name in set(_names(metadata)) - before:
        if name.startswith(branch.BRANCH):
            shutil.rmtree(os.path.join(metadata, name), ignore_errors=True)
    if not had_worktrees:
        os.rmdir(metadata)


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None
