from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from thrum.config import Settings, runtime_dir, state_dir, without_local
from thrum.errors import GitError, StorageError, UsageError

from .kit import git


def load(repo: str, **env: str) -> Settings:
    return Settings.load(os.path.join(repo, ".git"), repo, {**os.environ, **env})


def test_defaults_hold_without_configuration(repo: str) -> None:
    assert load(repo) == Settings()
    assert Settings().interval == 60.0 and Settings().ws_port == 9999 and Settings().sync


def test_git_config_is_read_from_the_repository_and_the_user(repo: str) -> None:
    git(repo, "config", "--global", "thrum.interval", "5.5")
    git(repo, "config", "thrum.sync", "off")
    git(repo, "config", "thrum.remote", "team")
    git(repo, "config", "--add", "thrum.wsPort", "1")
    git(repo, "config", "--add", "thrum.wsPort", "0")
    git(repo, "config", "thrum.onlineWindow", "60")
    with open(f"{repo}/.git/config", "a") as file:
        file.write("[thrum]\n\tallowPublic\n")
    settings = load(repo)
    assert settings == Settings(
        interval=5.5, sync=False, remote="team", ws_port=0, online_window=60.0, allow_public=True
    )
    assert "team" in repr(settings) and len({settings, load(repo)}) == 1


def test_a_worktree_may_differ(repo: str, linked: str) -> None:
    git(repo, "config", "extensions.worktreeConfig", "true")
    git(linked, "config", "--worktree", "thrum.interval", "7")
    assert Settings.load(f"{repo}/.git", linked, os.environ).interval == 7.0
    assert load(repo).interval == 60.0


def test_the_environment_wins_for_the_port(repo: str) -> None:
    git(repo, "config", "thrum.wsPort", "1000")
    assert load(repo, THRUM_WS_PORT="2000").ws_port == 2000
    assert load(repo, THRUM_WS_PORT="").ws_port == 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("thrum.interval", "soon"),
        ("thrum.interval", "0"),
        ("thrum.interval", "nan"),
        ("thrum.sync", "maybe"),
        ("thrum.wsPort", "70000"),
        ("thrum.onlineWindow", "-1"),
        ("thrum.allowPublic", "2"),
    ],
)
def test_a_bad_value_names_its_key(repo: str, key: str, value: str) -> None:
    git(repo, "config", key, value)
    with pytest.raises(UsageError, match=key) as caught:
        load(repo)
    assert f"git config {key}" in caught.value.hint


def test_a_bad_port_in_the_environment_names_it(repo: str) -> None:
    with pytest.raises(UsageError, match="THRUM_WS_PORT"):
        load(repo, THRUM_WS_PORT="http")


def test_somebody_elses_git_environment_is_ignored(repo: str, tmp_path: Path) -> None:
    poison = {"GIT_DIR": str(tmp_path), "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "thrum.interval"}
    assert load(repo, **poison, GIT_CONFIG_VALUE_0="3").interval == 60.0
    assert not set(poison) & set(without_local(poison))


def test_a_damaged_config_is_a_git_error(repo: str) -> None:
    with open(f"{repo}/.git/config", "a") as file:
        file.write("[thrum\n")
    with pytest.raises(GitError):
        load(repo)


def test_own_directories_are_private(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state" / "deep"))
    os.makedirs(tmp_path / "run" / "git-thrum", mode=0o755)
    for folder in (runtime_dir(), state_dir()):
        assert folder.startswith(str(tmp_path))
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700


def test_a_link_in_place_of_the_runtime_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bait").mkdir(mode=0o755)
    os.symlink(tmp_path / "bait", tmp_path / "run" / "git-thrum")
    with pytest.raises(StorageError):
        runtime_dir()
    assert stat.S_IMODE(os.stat(tmp_path / "bait").st_mode) == 0o755


def test_another_users_runtime_directory_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    (tmp_path / "run" / "git-thrum").mkdir(mode=0o700)
    os.chown(tmp_path / "run" / "git-thrum", 12345, 12345)
    with pytest.raises(StorageError):
        runtime_dir()
