"""Running the git program: never with somebody else's environment, hooks or prompts, and never for ever."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from thrum.config import LOCAL_VARIABLES, without_local
from thrum.errors import GitError, RemoteError
from thrum.git.child import TookTooLongError, spawn

__all__ = ["LOCAL_VARIABLES", "Result", "clean", "clean_env", "redact", "run", "version"]

QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "LC_ALL": "C",
    "GIT_OPTIONAL_LOCKS": "0",
    "THRUM_HOOK": "1",
}
SAFE = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "core.askPass=",
    "protocol.ext.allow=never",
    "gc.auto=0",
    "maintenance.auto=false",
    "commit.gpgSign=false",
    "credential.interactive=false",
)
DURABLE = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync")
SSH = "ssh -oBatchMode=yes -oConnectTimeout=10"
NICE = ("nice", "-n", "19")
PROGRESS_FACTOR = 20  # a transfer that keeps moving may take this many times its timeout

_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[\[(][0-?]*[ -/]*[@-~]?|\x1b.?")
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]"
)
_USERINFO = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^\s/'\"<>]*)@")
_SECRET = re.compile(r"([?&](?:access_token|private_token|token|password|key|sig|signature)=)[^&\s'\"]+", re.IGNORECASE)


class Result(NamedTuple):
    """How a git command ended: its exit code, stdout as it came, stderr fit to be shown."""

    code: int
    out: bytes
    err: str


def clean_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """`env` (default: ours) without git's local variables, and with every prompt switched off."""
    return {**without_local(os.environ if env is None else env), **QUIET}


def run(
    args: Sequence[str],
    cwd: str,
    *,
    input: bytes | None = None,
    timeout: float = 60.0,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    network: bool = False,
    plain: bool = False,
    gently: bool = False,
) -> Result:
    """Run `git args` in `cwd`, at most `timeout` seconds (a network command: without a sign of progress).

    `env` adds to the cleaned environment. `plain` leaves the user's configuration as it is, to ask about it. `gently`: when
    nobody else wants the processor.
    Raises GitError (RemoteError for the network) when it took too long, could not start, or, with `check`, failed.
    """
    whole = {**clean_env(), **(env or {})}
    if network:
        whole.update(_ssh_batch(cwd, whole))
    safety = [] if plain else [word for setting in SAFE for word in ("-c", setting)]
    total = timeout * PROGRESS_FACTOR if network else timeout
    failure = RemoteError if network else GitError
    try:
        code, out, err = spawn([*(NICE if gently else ()), "git", *safety, *args], cwd, whole, input, timeout, total)
    except TookTooLongError as late:
        raise failure(
            f"git {_name(args)} took longer than {late.args[0]:.0f} s and was stopped",
            "try again, or check the network",
        ) from None
    except OSError as error:
        raise failure(f"git could not be started in {cwd}: {error.strerror}", _start_hint(cwd)) from error
    result = Result(code, out, redact(clean(err.decode("utf-8", "replace"))))
    if check and code:
        raise failure(f"git {_name(args)} failed: {_first_line(result.err) or f'exit code {code}'}", _hint(result.err))
    return result


def _hint(said: str) -> str:
    """What to do when git refuses: what git itself says, where it says it."""
    trust = re.search(r"git config --global --add safe\.directory \S+", said)
    return f"if you trust it: {trust.group()}" if trust else "see `git thrum doctor`"


def clean(text: str) -> str:
    """`text` without terminal escapes, control, direction and invisible characters; \\r begins a line."""
    return _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\r", "\n")))


def redact(text: str) -> str:
    """`text` with passwords and tokens in URLs replaced by ***."""
    return _SECRET.sub(r"\1***", _USERINFO.sub(_without_password, text))


def _without_password(match: re.Match[str]) -> str:
    scheme, who = match.groups()
    if scheme.endswith("ssh") and ":" not in who:
        return match.group()  # ssh://git@host: a user name is no secret, and is needed to understand the error
    return f"{scheme}://***@"


@functools.cache
def version() -> tuple[int, int, int]:
    """The git program's version, e.g. (2, 39, 5)."""
    text = run(["version"], os.path.sep, plain=True).out.decode("ascii", "replace")
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if numbers is None:
        raise GitError(f"git does not tell its version: {text.strip()!r}", "install git 2.30 or later")
    major, minor, patch = (int(part or 0) for part in numbers.groups())
    return major, minor, patch


def _ssh_batch(cwd: str, env: Mapping[str, str]) -> dict[str, str]:
    """ssh that never asks, unless the user has an ssh command of their own."""
    if env.get("GIT_SSH_COMMAND") or env.get("GIT_SSH"):
        return {}
    own = run(["config", "--get", "core.sshCommand"], cwd, check=False, plain=True, timeout=10)
    return {} if own.out.strip() else {"GIT_SSH_COMMAND": SSH}


def _name(args: Sequence[str]) -> str:
    """The subcommand, behind any `-c key=value`."""
    return next((word for word in args if not word.startswith("-") and "=" not in word), "")


def _start_hint(cwd: str) -> str:
    return "install git and put it on the PATH" if os.path.isdir(cwd) else "the directory is gone: cd somewhere else"


def _first_line(err: str) -> str:
    """The line that says why: git's own `fatal:` or `error:`, else the first."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("fatal: ", "error: ")):
            return line.split(": ", 1)[1]
    return lines[0] if lines else ""
