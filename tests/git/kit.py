"""What the tests of this room share: real git in a sealed environment, and fingerprints of files."""

from __future__ import annotations

import hashlib
import os
import subprocess

from thrum.git import branch, worktree
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place, find

ALL_HOOKS = """applypatch-msg commit-msg fsmonitor-watchman post-applypatch post-checkout post-commit post-index-change
post-merge post-rewrite pre-applypatch pre-auto-gc pre-commit pre-merge-commit pre-push pre-rebase prepare-commit-msg
proc-receive reference-transaction sendemail-validate push-to-checkout""".split()  # noqa: SIM905


def git(cwd: str, *args: str, given: bytes | None = None, check: bool = True, **env: str) -> str:
    """Run git as a user would; stdout, or the exit code and stderr in an AssertionError."""
    done = subprocess.run(
        ["git", *args], cwd=cwd, input=given, capture_output=True, env={**os.environ, **env}, timeout=60, check=False
    )
    assert not check or done.returncode == 0, (args, done.returncode, done.stderr)
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def write(path: str, content: str | bytes, mode: int | None = None) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
    if mode is not None:
        os.chmod(path, mode)
    return path


def script(path: str, body: str) -> str:
    """An executable sh script."""
    return write(path, "#!/bin/sh\n" + body, 0o755)


def make(path: str, *args: str, commit: bool = True) -> str:
    """A new repository, with one commit unless told otherwise; its path."""
    git("/", "init", "-q", *args, path)
    if commit:
        write(os.path.join(path, "readme"), "hello\n")
        git(path, "add", "readme")
        git(path, "commit", "-q", "-m", "first")
    return path


def fingerprint(*roots: str) -> dict[str, tuple[int, str]]:
    """Mode and content of every file below `roots`."""
    found = {}
    for root in roots:
        paths = [root] if not os.path.isdir(root) else [os.path.join(d, f) for d, _, fs in os.walk(root) for f in fs]
        for path in paths:
            if os.path.islink(path):
                found[path] = (0, os.readlink(path))
            elif os.path.exists(path):
                with open(path, "rb") as file:
                    found[path] = (os.stat(path).st_mode, hashlib.sha256(file.read()).hexdigest())
    return found


def outline(objects: Objects, tree: str) -> dict[str, str]:
    """Path to oid of every leaf."""
    return {path: entry.oid for path, entry in branch.walk(objects, tree)}


def settle(path: str) -> tuple[Place, Objects, str]:
    """Branch and worktree made in the repository at `path`: its place, its objects, the tip."""
    place = find(path)
    objects = open_objects(place.common_dir)
    tip = branch.ensure(objects, place, None)
    worktree.ensure(place)
    worktree.follow(place, objects, objects.tree_of(tip), None)
    return place, objects, tip


def record(place: Place, objects: Objects, files: dict[str, bytes]) -> str:
    """Write log files, commit them to a-sync, let the index follow; the new tree."""
    tip = objects.head(branch.REF)
    assert tip is not None
    for name, content in files.items():
        write(os.path.join(place.log_root, name), content)
    changed = {name: objects.write_blob(content) for name, content in files.items()}
    tree = branch.graft(objects, objects.tree_of(tip), changed)
    assert objects.move(branch.REF, objects.commit(tree, [tip], "x\n\n[skip ci]\n"), tip)
    worktree.follow(place, objects, tree, changed)
    return tree
