"""Every setting: git config `thrum.*`, a few environment variables, and the user's own directories."""

from __future__ import annotations

import os

from thrum.errors import GitError, StorageError, UsageError

TYPE_CHECKING = False  # type checkers know the name by itself, and `typing` costs start-up time
if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL_VARIABLES = frozenset(
    [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_ATTR_SOURCE",
        "GIT_CEILING_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DEFAULT_HASH",
        "GIT_DIFF_OPTS",
        "GIT_DIR",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
        "GIT_EXTERNAL_DIFF",
        "GIT_GLOB_PATHSPECS",
        "GIT_GRAFT_FILE",
        "GIT_ICASE_PATHSPECS",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_NOGLOB_PATHSPECS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_PUSH_OPTION_COUNT",
        "GIT_QUARANTINE_PATH",
        "GIT_REF_PARANOIA",
        "GIT_REFLOG_ACTION",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_SPLIT_INDEX",
        "GIT_WORK_TREE",
    ]
)
"""What git sets for its hooks and children (`git rev-parse --local-env-vars`) and what else bends a git command."""


_SPELLING = {name.lower(): name for name in ("thrum.wsPort", "thrum.allowPublic", "thrum.onlineWindow")}


def without_local(env: Mapping[str, str]) -> dict[str, str]:
    """`env` without everything that ties a git command to somebody else's repository, index or command."""
    return {
        key: value
        for key, value in env.items()
        if key not in LOCAL_VARIABLES and not key.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))
    }


def runtime_dir() -> str:
    """The user's directory for sockets, made 0700. Raises StorageError when it is not safely ours."""
    import warnings

    import platformdirs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns when XDG_RUNTIME_DIR is missing or not safe, and falls back
        path = platformdirs.user_runtime_dir("git-thrum", appauthor=False)
    return _private(path)


def short_runtime_dir() -> str:
    """A directory for sockets whose path is short whatever the user's settings, made 0700. Raises StorageError."""
    return _private(f"/tmp/git-thrum-{os.geteuid()}")  # noqa: S108 (whose it is, and its mode, are checked)


def state_dir() -> str:
    """The user's directory for what outlives a repository, made 0700. Raises StorageError."""
    import platformdirs

    return _private(platformdirs.user_state_dir("git-thrum", appauthor=False))


def data_dir() -> str:
    """The user's directory for what is worth keeping, made 0700. Raises StorageError."""
    import platformdirs

    return _private(platformdirs.user_data_dir("git-thrum", appauthor=False))


def _private(path: str) -> str:
    """`path` as a directory of this user's that nobody else may enter."""
    import contextlib

    try:
        parent = os.path.dirname(path)
        os.makedirs(os.path.dirname(parent), exist_ok=True)
        for folder in (parent, path):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder, 0o700)
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or found.st_mode & 0o170000 != 0o040000:
            raise StorageError(
                f"{path} is not a directory of yours", "remove it, or set XDG_RUNTIME_DIR to one that is"
            )
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror}", "check who owns it and its parents") from error
    return path


class Settings:
    """What the repository, the user and the environment chose; defaults otherwise."""

    __slots__ = ("allow_public", "interval", "online_window", "remote", "sync", "ws_port")

    def __init__(
        self,
        *,
        interval: float = 60.0,
        sync: bool = True,
        remote: str | None = None,
        allow_public: bool = False,
        ws_port: int = 9999,
        online_window: float = 1800.0,
    ) -> None:
        self.interval = interval
        """Seconds between two cycles when nothing is urgent (`thrum.interval`)."""
        self.sync = sync
        """Whether the remote is spoken to at all (`thrum.sync`)."""
        self.remote = remote
        """The remote to sync with, by name (`thrum.remote`)."""
        self.allow_public = allow_public
        """Whether a remote that anybody may read is accepted (`thrum.allowPublic`)."""
        self.ws_port = ws_port
        """Where the WebSocket looks for a free port of the loopback; 0 switches it off (`THRUM_WS_PORT`, `thrum.wsPort`)."""
        self.online_window = online_window
        """Seconds after a sign of life during which an agent counts as online (`thrum.onlineWindow`)."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Settings) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return "Settings" + repr(dict(zip(self.__slots__, self._values(), strict=True)))

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    @classmethod
    def load(cls, common_dir: str, worktree: str | None, env: Mapping[str, str]) -> Settings:
        """Read git config (one process) and `env`. Raises UsageError naming the key whose value makes no sense."""
        raw = _read_config(worktree or common_dir, env)
        port = _port(raw, "thrum.wsPort", 9999)
        return cls(
            interval=_seconds(raw, "thrum.interval", 60.0),
            sync=_boolean(raw, "thrum.sync", True),
            remote=raw.get("thrum.remote") or None,
            allow_public=_boolean(raw, "thrum.allowPublic", False),
            ws_port=_port(env, "THRUM_WS_PORT", port) if env.get("THRUM_WS_PORT") else port,
            online_window=_seconds(raw, "thrum.onlineWindow", 1800.0),
        )


def _read_config(cwd: str, env: Mapping[str, str]) -> dict[str, str]:
    """`thrum.*` by key; the last value wins, a key without a value means true, as in git."""
    import subprocess

    command = ["git", "config", "--null", "--get-regexp", r"^thrum\."]
    clean = {**without_local(env), "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, cwd=cwd, env=clean, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git config could not be read in {cwd}: {error}", "check that `git` is on the PATH") from error
    if done.returncode not in (0, 1):  # 1: no such key
        text = os.fsdecode(done.stderr).strip()
        raise GitError(f"git config could not be read: {text}", "repair the file that git names")
    found = {}
    for item in os.fsdecode(done.stdout).split("\0"):
        key, has_value, value = item.partition("\n")
        found[_SPELLING.get(key, key)] = value if has_value else "true"
    return found


def _seconds(raw: Mapping[str, str], key: str, default: float) -> float:
    try:
        value = float(raw.get(key, default))
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise _bad(key, raw[key], "a number of seconds above 0")
    return value


def _port(raw: Mapping[str, str], key: str, default: int) -> int:
    try:
        value = int(raw.get(key, default))
    except ValueError:
        value = -1
    if not 0 <= value <= 65535:
        raise _bad(key, raw[key], "a port from 0 to 65535")
    return value


def _boolean(raw: Mapping[str, str], key: str, default: bool) -> bool:
    word = raw.get(key, str(default)).strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0", ""):
        return False
    raise _bad(key, raw[key], "true or false")


def _bad(key: str, value: str, wanted: str) -> UsageError:
    how = f"export {key}=VALUE" if key.isupper() else f"git config {key} VALUE"
    return UsageError(f"{key} is {value!r} and must be {wanted}", f"set it anew: {how}")
