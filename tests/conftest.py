"""Every test runs in a house of its own: no configuration, no environment, no repository of the developer's is seen."""

import os
import shutil
import signal
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, settings

from tests import kit

_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile("default", deadline=None, max_examples=50, suppress_health_check=_QUIET)
settings.register_profile("ci", deadline=None, max_examples=30, derandomize=True, suppress_health_check=_QUIET)
settings.register_profile("thorough", deadline=None, max_examples=5000, suppress_health_check=_QUIET)
settings.load_profile("ci" if os.environ.get("CI") else "default")

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # children inherit it, and a suite in the background ignores it

_MEMORY = "/dev/shm"
_ROOM = 2 << 30
"""Bytes; a whole run takes a fraction of that, as what a test leaves goes when it has passed."""


def pytest_configure(config):
    """What tests write is kept in memory where there is room: on a disk, a third of the time goes by flushing it."""
    if config.option.basetemp is None and not hasattr(config, "workerinput") and _has_room():
        folder = config.option.basetemp = tempfile.mkdtemp(prefix="thrum-tests-", dir=_MEMORY)
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def pytest_collection_modifyitems(items):
    """What takes longest begins first, so that nobody works on it alone in the end."""
    items.sort(key=lambda item: item.path.name not in _LONG)


_LONG = ("test_ten_at_once.py", "test_two_clones.py")


def _has_room():
    try:
        found = os.statvfs(_MEMORY)
    except OSError:
        return False
    return os.access(_MEMORY, os.W_OK) and found.f_bavail * found.f_frsize > _ROOM


_FORGOTTEN = ("THRUM_", "GIT_", "XDG_", "SSH_", "LC_")
_PRECISE = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "LANG", "LANGUAGE", "EDITOR", "VISUAL", "PAGER")


@pytest.fixture(autouse=True)
def seal(tmp_path, monkeypatch):
    """Nothing of the developer's machine gets in: an empty home, git's configuration ours, UTC, UTF-8, umask 022."""
    for name in list(os.environ):
        if name.startswith(_FORGOTTEN) or name in _PRECISE:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    for folder in (home, home / "run"):
        folder.mkdir(mode=0o700, exist_ok=True)
    (home / ".gitconfig").write_text(kit.GITCONFIG)
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def repository(tmp_path):
    """The path of a git repository with one commit on `main`."""
    return kit.make_repository(tmp_path / "shop")


@pytest.fixture
def bare_remote(tmp_path):
    """The path of an empty bare repository, to push to."""
    path = tmp_path / "origin.git"
    kit.git(tmp_path, "init", "-q", "--bare", str(path))
    return path


@pytest.fixture
def clones(tmp_path, bare_remote):
    """`clones(n)`: paths of n clones of one remote that has one commit on `main`."""

    def make(count):
        if not (tmp_path / "seed").exists():
            seed = kit.make_repository(tmp_path / "seed")
            kit.git(seed, "push", "-q", str(bare_remote), "main")
        paths = [tmp_path / f"clone{number}" for number in range(count)]
        for path in paths:
            kit.git(tmp_path, "clone", "-q", str(bare_remote), str(path))
        return paths

    return make


@pytest.fixture
def engine(repository):
    """An engine on `repository`, set up for thrum, with nobody registered."""
    opened = kit.set_up(repository)
    yield opened
    opened.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def loops(request, monkeypatch):
    """The event loop is uvloop's, or Python's own as where there is no uvloop."""
    if request.param == "asyncio":
        monkeypatch.setitem(sys.modules, "uvloop", None)
    return str(request.param)
