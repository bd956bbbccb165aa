"""The remote's a-sync, through the git program: credentials, ssh, proxies are the user's own. Never by force."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import unquote

from thrum.errors import GitError, RemoteError
from thrum.git import evidence
from thrum.git.branch import REF, tracking_ref
from thrum.git.command import DURABLE, Result, redact, run
from thrum.git.evidence import CannotTellError, Evidence
from thrum.git.locks import remove_stale, transferring
from thrum.git.place import Place, common_dir_at

FETCH = [
    *DURABLE,  # by itself git leaves loose objects to the system: a power cut would make them empty files
    *("-c", "fetch.writeCommitGraph=false"),
    *("fetch", "--progress", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance"),
    *("--no-prune", "--no-filter", "--no-show-forced-updates"),
    "--refmap=",  # a mirror's own refspec would write over the branch itself
]
PUSH = [
    *("-c", "push.pushOption=", "-c", "push.followTags=false"),
    *("push", "--progress", "--porcelain", "--no-verify", "--no-signed", "--no-recurse-submodules", "--no-follow-tags"),
]
_BEHIND = (
    "fetch first",
    "non-fast-forward",
    "stale info",
    "but expected",
    "incorrect old value",
    "reference already exists",
    "failed to update ref",
    "needs force",
)


class _Trouble(NamedTuple):
    signs: tuple[str, ...]
    sentence: str
    hint: str


_TROUBLES = (
    _Trouble(
        ("repository corruption",),
        "the remote {name} has something in its a-sync that git cannot read",
        "there, `git fsck` names it; set a-sync back to its last good commit, and what is missing comes from the clones",
    ),
    _Trouble(
        ("unpacker error", "unable to migrate objects"),
        "the remote {name} could not store what we sent",
        "nothing is lost: thrum tries again by itself; there, see whether the disk is full, and what `git fsck` says",
    ),
    _Trouble(
        ("failed to write object",),
        "what the remote {name} has could not be written here: {why}",
        "nothing is lost: thrum tries again by itself; see whether the disk is full",
    ),
    _Trouble(
        (
            "authentication failed",
            "could not read username",
            "could not read password",
            "permission denied",
            "error: 403",
        ),
        "the remote {name} does not let us in",
        "log in once by hand, so that git remembers: git ls-remote {name}",
    ),
    _Trouble(
        ("host key verification failed",),
        "the host key of {name} is not known",
        "connect once by hand and accept it: git ls-remote {name}",
    ),
    _Trouble(
        ("branch is currently checked out",),
        "the remote {name} has a-sync checked out: thrum is set up in that repository itself",
        "sync through a bare repository in which nobody ran `git thrum init`",
    ),
    _Trouble(
        ("hook declined", "protected branch", "not allowed to push", "remote rejected", "denied by"),
        "the remote {name} refuses the branch a-sync: {why}",
        "ask its owner to allow pushes to a-sync",
    ),
    _Trouble(
        ("could not resolve host", "connection refused", "timed out", "unreachable", "unable to access", "reset by"),
        "the remote {name} cannot be reached: {why}",
        "nothing is lost: thrum tries again by itself",
    ),
    _Trouble(
        ("does not appear to be a git repository", "not found", "no such file", "does not exist", "not a git repo"),
        "the remote {name} is no git repository we can see: {why}",
        "check its address: git remote -v",
    ),
)


def pick(place: Place, wanted: str | None) -> str | None:
    """The remote to sync with: `wanted`, else origin, else the only one, else None.

    Raises RemoteError when `wanted` does not exist.
    """
    names = run(["remote"], _cwd(place)).out.decode("utf-8", "surrogateescape").split("\n")[:-1]
    if wanted:
        if wanted in names:
            return wanted
        raise RemoteError(f"there is no remote called {wanted}", "choose one: git config thrum.remote NAME")
    if "origin" in names:
        return "origin"
    return names[0] if len(names) == 1 else None


class Picked:
    """What `pick` says when no remote is chosen. git is asked again only when a file of its configuration may have changed."""

    def __init__(self, place: Place) -> None:
        """Asks nothing yet."""
        main = place.main_worktree
        self._place = Place(main, place.common_dir, place.common_dir, main)
        self._known: tuple[Evidence, str | None] | None = None

    def name(self) -> str | None:
        """The remote's name, None without one. Raises GitError."""
        known = self._known
        if known is not None and known[0].holds():
            return known[1]
        began, seen = evidence.now(), self._look()
        name = pick(self._place, None)
        is_sure = seen is not None and seen.is_settled(began) and seen.holds()
        self._known = (seen, name) if seen is not None and is_sure else None
        return name

    def _look(self) -> Evidence | None:
        try:
            return evidence.of_settings(self._place)[0]
        except CannotTellError:
            return None


def url(place: Place, remote: str) -> str:
    """Its address for people, without password or token. Raises RemoteError."""
    return redact(_address(place, remote))


def local_path(place: Place, remote: str) -> str | None:
    """The remote's git directory when its address is a path or file://, so that it can be watched; else None."""
    address = _address(place, remote)
    if address.startswith("file://"):
        path = unquote(address[len("file://") :])
    elif "://" in address or ":" in address.split("/", 1)[0]:
        return None
    else:
        path = os.path.join(_cwd(place), address)
    tries = (common_dir_at(path + suffix) for suffix in ("", ".git"))
    return next((found for found in tries if found is not None), None)


def tip(place: Place, remote: str, timeout: float = 30.0) -> str | None:
    """The commit of the remote's a-sync right now, None without one. Raises RemoteError."""
    result = _talk(place, remote, ["ls-remote", "--refs", "--", remote, REF], timeout)
    for line in result.out.decode("utf-8", "replace").splitlines():
        oid, _, name = line.partition("\t")
        if name == REF:
            return oid
    return None


def fetch(place: Place, remote: str, timeout: float = 60.0) -> None:
    """Bring the remote's a-sync to its tracking ref; without such a branch there, forget ours. Raises RemoteError."""
    args = [*FETCH, "--", remote, f"+{REF}:{tracking_ref(remote)}"]
    with transferring(place.common_dir, tracking_ref(remote)):
        result = _talk(place, remote, args, timeout, check=False)
    if result.code and "couldn't find remote ref" in result.err:
        run(["update-ref", "-d", tracking_ref(remote)], _cwd(place), check=False)
    elif result.code:
        raise _explain(remote, result.err)


def push(place: Place, remote: str, oid: str, timeout: float = 60.0, instead_of: str | None = None) -> bool:
    """Offer the commit `oid` as the remote's a-sync, fast-forward only: False when the remote has moved on.

    With `instead_of` it takes the place of that commit, if the remote still is there: for a purge, and nothing else.
    Raises RemoteError with one sentence for anything else: refused, unreachable, no credentials.
    """
    lease = [f"--force-with-lease={REF}:{instead_of}"] if instead_of else []
    options = [*_look_after(place, remote), *lease]
    args = ["-c", f"remote.{remote}.mirror=false", *PUSH, *options, "--", remote, f"{oid}:{REF}"]
    with transferring(place.common_dir, tracking_ref(remote)):  # git moves it after a push
        result = _talk(place, remote, args, timeout, check=False)
    if result.code == 0:
        return True
    said = [line for line in result.out.decode("utf-8", "replace").splitlines() if line.startswith("!")]
    reason = redact(said[0].split("\t")[-1]) if said else ""
    if reason and any(sign in reason for sign in _BEHIND):
        return False
    raise _explain(remote, reason + "\n" + result.err if reason else result.err)


def _look_after(place: Place, remote: str) -> list[str]:
    """For a remote on a disk here, after which nobody else looks: flush what it receives, and free what a dead push holds."""
    path = local_path(place, remote)
    if path is None:
        return []
    remove_stale(os.path.join(path, REF + ".lock"))
    return [f"--receive-pack=git {' '.join(DURABLE)} receive-pack"]


def _cwd(place: Place) -> str:
    """Where git resolves a relative address."""
    return place.main_worktree or place.common_dir


def _address(place: Place, remote: str) -> str:
    result = run(["remote", "get-url", "--", remote], _cwd(place), check=False)
    if result.code:
        raise RemoteError(f"there is no remote called {remote}", "see the remotes: git remote -v")
    return result.out.decode("utf-8", "surrogateescape").rstrip("\n")


def _talk(place: Place, remote: str, args: list[str], timeout: float, *, check: bool = True) -> Result:
    if not os.path.isdir(_cwd(place)):
        raise GitError(f"{_cwd(place)} is gone", "run `git thrum doctor`")
    result = run(args, _cwd(place), timeout=timeout, check=False, network=True)
    if check and result.code:
        raise _explain(remote, result.err)
    return result


def _explain(remote: str, err: str) -> RemoteError:
    """One sentence and a next step out of what git said."""
    why = _why(err)
    low = err.lower()
    for trouble in _TROUBLES:
        if any(sign in low for sign in trouble.signs):
            return RemoteError(trouble.sentence.format(name=remote, why=why) or why, trouble.hint.format(name=remote))
    return RemoteError(f"the remote {remote} failed: {why}", f"try by hand: git ls-remote {remote}")


def _why(err: str) -> str:
    """The line that carries the reason, at most 200 characters."""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    for prefix in ("[remote rejected]", "remote: error", "fatal: ", "error: ", "ssh: ", "remote: "):
        for line in lines:
            if line.startswith(prefix):
                return line.removeprefix("fatal: ").removeprefix("error: ")[:200]
    return (lines[-1] if lines else "git gave no reason")[:200]
