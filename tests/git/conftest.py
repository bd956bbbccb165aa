from __future__ import annotations

import os
from pathlib import Path

import pytest

from .kit import git, make


@pytest.fixture(autouse=True)
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but ours: an empty home, no system file, a fixed identity for the user's own commits."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    for name in list(os.environ):
        if name.startswith(("GIT_", "XDG_", "SSH_", "THRUM_")):
            monkeypatch.delenv(name)
    (tmp_path / "run").mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test\n\temail = test@example.org\n[init]\n\tdefaultBranch = main\n"
        '[protocol "file"]\n\tallow = always\n[advice]\n\tdetachedHead = false\n'
    )


@pytest.fixture
def repo(tmp_path: Path) -> str:
    """A repository with one commit on main."""
    return make(str(tmp_path / "repo"))


@pytest.fixture
def linked(repo: str) -> str:
    """A linked worktree of `repo`, on branch feature."""
    path = os.path.join(os.path.dirname(repo), "linked")
    git(repo, "worktree", "add", "-q", "-b", "feature", path)
    return path


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """An empty bare repository, to be a remote."""
    path = str(tmp_path / "remote.git")
    git("/", "init", "-q", "--bare", path)
    return path
