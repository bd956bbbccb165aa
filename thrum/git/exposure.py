"""Whether anybody may read a remote: it is asked as a stranger would ask, with nothing in hand."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from thrum.errors import GitError, RemoteError
from thrum.git.child import TookTooLongError, spawn
from thrum.git.command import QUIET, clean, clean_env, redact, run
from thrum.git.place import Place

Answer = Literal["public", "private", "silent", "unknown"]
_GRAVITY: tuple[Answer, ...] = ("public", "unknown", "silent", "private")
TIMEOUT = 8.0
"""Seconds a server has to answer."""

_WEB = ("http", "https")
_SSH = ("ssh", "git+ssh", "ssh+git")
_SCP = re.compile(r"(?:[^@/:]+@)?(\[[^\]/]+\]|[^/:\[]+):(?!:)(.+)", re.DOTALL)
_FRONT_DOORS = ("ssh.", "altssh.")
"""How hosts call the machine that speaks ssh where only web ports are open."""
_KEPT = ("GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_NO_VERIFY", "GIT_PROXY_SSL_CAINFO")
_WAY_THERE = (
    "proxy",
    "proxyauthmethod",
    "proxysslcainfo",
    "sslcainfo",
    "sslcapath",
    "sslverify",
    "sslbackend",
    "version",
)
"""What of `http.*` leads to the server and says nothing of who we are."""
_SPOKE = re.compile(r"(?:git|ls-remote)<\s+(?:version \d|# service=git-upload-pack|0+ capabilities)")
"""A git server, heard in the trace of the packets: an empty repository lists nothing."""
_REFUSED = re.compile(
    r"error: 4(?!07|08|25|29)\d\d|could not read (?:username|password)|authentication failed|repository .*not found"
    r"|access denied|alert (?:certificate required|bad certificate|handshake failure)|tls fatal alert"
)
"""How a server says that it wants to know who asks; 407, 408, 425 and 429 say nothing of the kind."""


class Exposure(NamedTuple):
    """What strangers were told at the addresses we push to.

    `silent`: an ssh host whose web side did not answer. `unknown`: a web server that did not; `why`, in words.
    """

    answer: Answer
    addresses: tuple[str, ...]
    why: str = ""


def addresses(place: Place, remote: str) -> tuple[str, ...]:
    """Where a push to `remote` goes, as git resolves it, without user or password. Raises RemoteError."""
    args = ["remote", "get-url", "--push", "--all", "--", remote]
    result = run(args, place.main_worktree or place.common_dir, check=False)
    if result.code:
        raise RemoteError(f"there is no remote called {remote}", "see the remotes: git remote -v")
    return tuple(_anonymous(line) for line in result.out.decode("utf-8", "surrogateescape").splitlines())


def ask(place: Place, remote: str) -> Exposure:
    """Asks every address a push to `remote` goes to: `public` if one of them is, else the least sure answer.

    ssh hosts are asked at their web side, where only a git server's own answer counts; paths are nobody's but ours.
    """
    found = addresses(place, remote)
    told = [_ask(place, remote, address) for address in found]
    answer, why = min(told, key=lambda one: _GRAVITY.index(one[0]), default=("private", ""))
    return Exposure(answer, found, why)


def _ask(place: Place, remote: str, address: str) -> tuple[Answer, str]:
    scheme = _scheme(address)
    if scheme in (*_WEB, "git"):
        return _knock(place, remote, address)
    if scheme in _SSH or (not scheme and _SCP.fullmatch(address)):
        web = [_knock(place, remote, url)[0] for url in _web_sides(address)]
        return ("public" if "public" in web else "silent" if "unknown" in web else "private"), ""
    return "private", ""


def _knock(place: Place, remote: str, url: str) -> tuple[Answer, str]:
    """One question to one address."""
    settings = [*_way_there(place, remote, url), ("http.emptyAuth", "false"), ("credential.helper", "")]
    given = [word for name, value in settings for word in ("-c", f"{name}={value}")]
    asking = ["git", *given, "ls-remote", "--heads", "--", url]
    try:
        code, out, err = spawn(asking, os.path.sep, _stranger(), None, TIMEOUT, TIMEOUT)
    except TookTooLongError:
        return "unknown", f"no answer within {TIMEOUT:.0f} s"
    except OSError as error:
        raise GitError(f"git could not be started: {error.strerror}", "install git and put it on the PATH") from error
    said = err.decode("utf-8", "replace")
    if code == 0:
        return ("public", "") if out.strip() or _SPOKE.search(said) else ("unknown", "it is no git server")
    if _REFUSED.search(said.lower()):
        return "private", ""
    return "unknown", _reason(said)


def _stranger() -> dict[str, str]:
    """An environment of nobody: no home, no configuration, no repository, no key, no ticket; only the way to the network."""
    env = {
        name: value
        for name, value in clean_env().items()
        if name in _KEPT or not name.startswith(("GIT_", "SSH_", "XDG_", "KRB5", "GCM_"))
    }
    nowhere = dict.fromkeys(
        ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_DIR", "KRB5CCNAME", "KRB5_CLIENT_KTNAME"), os.devnull
    )
    only = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ALLOW_PROTOCOL": "http:https:git", "GIT_TRACE_PACKET": "2"}
    return {**env, **QUIET, **nowhere, **only}


def _way_there(place: Place, remote: str, url: str) -> Iterator[tuple[str, str]]:
    """The user's proxy and certificate authorities for `url`."""
    cwd = place.main_worktree or place.common_dir
    listed = run(["config", "--null", "--get-urlmatch", "http", url], cwd, plain=True, check=False)
    for item in listed.out.decode("utf-8", "surrogateescape").split("\0"):
        name, _, value = item.partition("\n")
        if name.removeprefix("http.") in _WAY_THERE:
            yield name, value
    proxy = run(["config", "--get", f"remote.{remote}.proxy"], cwd, plain=True, check=False)
    if not proxy.code:
        yield "http.proxy", proxy.out.decode("utf-8", "surrogateescape").rstrip("\n")


def _anonymous(address: str) -> str:
    """`address` without password or token, and without the user where the web does not need one."""
    if _scheme(address) in _SSH or not _scheme(address):
        return redact(address)
    parts = _parts(address)
    return redact(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))


def _web_sides(address: str) -> list[str]:
    """Where the repository of an ssh address would be on the web."""
    if _scheme(address):
        host, path = _parts(address).hostname or "", _parts(address).path
    else:
        match = _SCP.fullmatch(address)
        host, path = (match[1].strip("[]"), match[2]) if match else ("", "")
    if host.count(":") == 1:
        host = host.partition(":")[0]
    if not host or host.startswith("-"):
        return []
    real = _host_name(host)
    names = [real, *(real.removeprefix(door) for door in _FRONT_DOORS if real.startswith(door))]
    path = quote(path.lstrip("/"), safe="/%~:@")
    return [f"https://{f'[{name}]' if ':' in name else name}/{path}" for name in names]


def _parts(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise RemoteError(f"the address {redact(address)} makes no sense: {error}", "git remote -v") from None


def _host_name(host: str) -> str:
    """What the user's ssh configuration makes of a name: many a `github-work` is an alias."""
    try:
        code, out, _ = spawn(["ssh", "-G", host], os.path.sep, clean_env(), None, TIMEOUT, TIMEOUT)
    except (OSError, TookTooLongError):
        return host
    lines = out.decode("utf-8", "replace").splitlines() if code == 0 else []
    return next((line.split(" ", 1)[1] for line in lines if line.startswith("hostname ")), host)


def _scheme(address: str) -> str:
    scheme, mark, _ = address.partition("://")
    return scheme.lower() if mark and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) else ""


def _reason(said: str) -> str:
    lines = [line for line in redact(clean(said)).splitlines() if line.startswith(("fatal: ", "error: "))]
    return lines[-1].split(": ", 1)[1][:200] if lines else "git gave no reason"
