"""Who else hooks in: hook managers and git-lfs, told by the files they leave, and where git looks for hooks."""

from __future__ import annotations

import os

from thrum.git import hookfiles
from thrum.git.command import run
from thrum.git.place import Place

_FILES = {
    "husky": (".husky",),
    "lefthook": tuple(f"{dot}lefthook.{suffix}" for dot in ("", ".") for suffix in ("yml", "yaml", "toml", "json")),
    "pre-commit": (".pre-commit-config.yaml",),
}
_WORDS = {"git-lfs": b"git lfs", "pre-commit": b"pre-commit", "lefthook": b"lefthook", "husky": b"husky"}
_HOOKS = ("pre-commit", "pre-push", "post-commit", "post-checkout", "post-merge", "commit-msg", "prepare-commit-msg")


def present(place: Place) -> list[str]:
    """Their names in words, and `core.hooksPath` with where it is set."""
    found = {name for name, paths in _FILES.items() if place.worktree and _any(place.worktree, paths)}
    found |= {name for content in _contents(place) for name, word in _WORDS.items() if word in content}
    return [*sorted(found), *_hooks_path(place)]


def _any(top: str, paths: tuple[str, ...]) -> bool:
    return any(os.path.lexists(os.path.join(top, path)) for path in paths)


def _contents(place: Place) -> list[bytes]:
    cwd = place.worktree or place.common_dir
    out = run(["rev-parse", "--git-path", "hooks"], cwd, plain=True).out
    folder = os.path.join(cwd, os.fsdecode(out.rstrip(b"\n")))
    names = [name + suffix for name in _HOOKS for suffix in ("", hookfiles.ORIGINAL)]
    found = (hookfiles.read(os.path.join(folder, name)) for name in names)
    return [content for content in found if content is not None]


def _hooks_path(place: Place) -> list[str]:
    args = ["config", "--show-scope", "--get", "core.hooksPath"]
    out = run(args, place.worktree or place.common_dir, plain=True, check=False).out
    scope, _, path = out.decode("utf-8", "replace").strip().partition("\t")
    return [f"core.hooksPath = {path} ({scope})"] if path else []
