"""`init` and `setup`: from a repository, and from a worktree, to one that agents can work in."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from thrum.cli.console import directory, settings_of, tell
from thrum.cli.founding import Founding
from thrum.cli.options import Options
from thrum.cli.plan import Local
from thrum.cli.text import fields, safe
from thrum.errors import GitError, NotARepository, NotInitialised, Refused, RemoteError, UsageError
from thrum.git import branch as branches
from thrum.git import place as places
from thrum.git import remote
from thrum.git.command import run
from thrum.git.place import Place
from thrum.sync import state

Json = dict[str, Any]
NoHooks = Annotated[bool, typer.Option("--no-hooks", help="Install no git hooks.")]
QUICKSTART = "git thrum quickstart --role ROLE --module MODULE"


def init(
    force: Annotated[bool, typer.Option("--force", help="Heal what is there; all data is kept.")] = False,
    local_only: Annotated[
        bool, typer.Option("--local-only", help="Never fetch or push: sets thrum.sync to false.")
    ] = False,
    no_hooks: NoHooks = False,
) -> Local:
    """It works in a linked worktree and in a bare repository, too. Nothing is pushed by it."""
    return Local(lambda options: _init(options, force, local_only, no_hooks))


def setup(
    path: Annotated[str, typer.Argument(metavar="WORKTREE_PATH", help="Where the worktree is, or is to be.")] = ".",
    branch: Annotated[
        str, typer.Option("--branch", metavar="BRANCH", help="Its branch, made from HEAD if there is none.")
    ] = "",
    no_hooks: NoHooks = False,
) -> Local:
    """A new worktree gets a new branch, named after its folder unless --branch says otherwise.

    git thrum setup ../auth --branch feature/auth
    """
    return Local(lambda options: _setup(options, path, branch, no_hooks))


def _init(options: Options, force: bool, local_only: bool, no_hooks: bool) -> int:
    place = _place(directory(options))
    is_new = not place.is_initialised
    if not is_new and not force and not _is_unready(place):
        raise Refused(
            f"thrum is already set up here: {place.thrum_dir} already exists",
            "git thrum init --force heals what is missing and keeps all data",
        )
    founding = Founding(place)
    with founding.whole_or_nothing():
        name, url = lay(founding, local_only, no_hooks)
    top = place.main_worktree or place.common_dir
    head = f"{'set thrum up' if is_new else 'looked after thrum'} in {safe(top)}"
    result = {"repository": top, "thrum_dir": place.thrum_dir, "remote": name, "url": url or None}
    return tell(options, {**result, **listed(founding)}, _text(head, founding, _syncs(name, url, place), QUICKSTART))


def lay(founding: Founding, local_only: bool = False, no_hooks: bool = False) -> tuple[str | None, str]:
    """Everything `init` makes; the remote it will sync with, by name and by address for people."""
    founding.make_house()
    founding.make_worktree_ready()
    if local_only:
        founding.switch_sync_off()
    name, url = _remote(founding)
    founding.make_branch(name)
    if not no_hooks:
        founding.install_hooks()
    founding.make_origin()  # the last: whoever finds it finds the rest
    return name, url


def _setup(options: Options, path: str, branch: str, no_hooks: bool) -> int:
    home = _place(directory(options))
    if not home.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    target = os.path.realpath(os.path.join(os.getcwd(), path))
    there = _existing(home, target, branch)
    made = there is None
    place = there or _add(home, target, branch)
    founding = Founding(place)
    if made:
        founding.undo_with(lambda: run(["worktree", "remove", "--force", "--", target], home.common_dir, check=False))
        founding.note("created", f"worktree {target}", f"on branch {_branch_of(place)}")
    with founding.whole_or_nothing():
        founding.make_worktree_ready()
        if not no_hooks:
            founding.install_hooks()
    result = {"worktree": target, "branch": _branch_of(place), "created": made, **listed(founding)}
    next_step = f"cd {_quoted(target)} && {QUICKSTART}"
    return tell(options, result, _text(f"the worktree {safe(target)} is ready", founding, "", next_step))


def _place(directory: str) -> Place:
    """The place of a directory, even one whose redirect is broken: that is what is to be healed."""
    try:
        return places.find(directory)
    except NotARepository:
        raise
    except GitError:
        folder = os.path.realpath(directory)
        while (common := places.common_dir_at(folder)) is None:
            if folder == os.path.dirname(folder):
                raise
            folder = os.path.dirname(folder)
        return next(place for place in places.worktrees(places.find(common)) if place.worktree == folder)


def _is_unready(place: Place) -> bool:
    """A linked worktree that has not been set up."""
    return place.is_linked and not os.path.isdir(place.identities_dir or "")


def _remote(founding: Founding) -> tuple[str | None, str]:
    """The remote to sync with, asked for its branch; its address for people."""
    place = founding.place
    settings = settings_of(place)
    if not settings.sync:
        return None, ""
    try:
        name = remote.pick(place, settings.remote)
    except RemoteError as error:
        founding.note("skipped", "the remote", f"{error}; {error.hint}")
        return None, ""
    if name is None:
        return None, ""
    if founding.fetch(name):
        founding.is_public(name, settings)
    return name, remote.url(place, name)


def _syncs(name: str | None, url: str, place: Place) -> str:
    if name and state.load(place.sync_dir).get("exposure", {}).get("answer") == "public":
        return f"it will fetch from {safe(name)} ({safe(url)}) and push nothing: anybody may read it"
    if name:
        return f"it will sync with {safe(name)} ({safe(url)}); git config thrum.sync false turns that off"
    if not settings_of(place).sync:
        return "it stays on this machine: thrum.sync is false"
    return "there is no remote to sync with: choose one with git config thrum.remote NAME, or stay local"


def _existing(home: Place, target: str, branch: str) -> Place | None:
    """The worktree of this repository at `target`; None when there is nothing yet. Raises Refused for anything else."""
    for place in places.worktrees(home):
        if place.worktree == target:
            if branch and _branch_of(place) != branch:
                raise Refused(
                    f"{target} is on the branch {_branch_of(place)}, not {branch}", "drop --branch, or switch there"
                )
            return place
    if not os.path.lexists(target) or (os.path.isdir(target) and not os.listdir(target)):
        return None
    raise Refused(f"{target} is there, and is no worktree of this repository", "choose a path that does not exist yet")


def _add(home: Place, target: str, branch: str) -> Place:
    """A new worktree, by the user's own git. Raises GitError with what git said."""
    name = branch or os.path.basename(target)
    if name == branches.BRANCH:
        raise UsageError(f"the branch {name} carries thrum's logs", "choose another --branch")
    cwd = home.worktree or home.common_dir
    known = run(["show-ref", "--verify", "--quiet", f"refs/heads/{name}"], cwd, check=False).code == 0
    words = ["--", target, name] if known else ["-b", name, "--", target]
    try:
        run(["worktree", "add", *words], cwd, plain=True, timeout=600)
    except GitError:
        if not _made(home, target):  # a hook of the user's may fail after the work is done
            raise
    return _made(home, target)[0]


def _made(home: Place, target: str) -> list[Place]:
    return [place for place in places.worktrees(home) if place.worktree == target]


def _branch_of(place: Place) -> str:
    try:
        with open(os.path.join(place.git_dir, "HEAD"), "rb") as file:
            head = os.fsdecode(file.read(4096)).strip()
    except OSError:
        return ""
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref:") else head[:10]


def listed(founding: Founding) -> Json:
    """What was done, for programs."""
    return {"steps": [step._asdict() for step in founding.steps]}


def _text(head: str, founding: Founding, more: str, next_step: str) -> str:
    return "\n".join(filter(None, [head, stepwise(founding), more, f"next: {next_step}"])) + "\n"


def stepwise(founding: Founding, *, everything: bool = False) -> str:
    """What was done, for people: a line a step; what was only kept is left out unless `everything` is wanted."""
    done = [step for step in founding.steps if everything or step.verb != "kept"]
    told = fields((step.verb, f"{safe(step.what)}{f': {safe(step.note)}' if step.note else ''}") for step in done)
    return "\n".join(f"  {line}" for line in told.split("\n") if line)


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(safe(path))
