"""Whether every object of our history is there, and what to do where one is not.

Whoever prunes takes what nobody refers to when they look: also the objects of a commit that is being made just then. What the
logs say is on disk and on the remote, so a history with a hole is let go: a-sync begins anew, and is fetched again. Left as it
is, nobody could push it, and every later `git gc` of the user's would stop at the hole. So it would at an old entry of a
reflog, which nothing of ours reads.
"""

from __future__ import annotations

import contextlib
import os
import time

from thrum.errors import GitError
from thrum.git.branch import BEGIN, REF, is_readable, references
from thrum.git.command import run
from thrum.git.objects import Objects
from thrum.git.place import Place
from thrum.git.plumbing import LOCAL

_GC_LASTS = 3600.0  # seconds
_TIMEOUT = 600.0
_FATAL = 128  # git's exit code for what it cannot read
_NO_LOG = ["reflog", "expire", "--expire=all", "--expire-unreachable=all"]


def gc_is_running(place: Place) -> bool:
    """Whether somebody's `git gc` is at work, as far as its own lock tells."""
    with contextlib.suppress(OSError):
        return time.time() - os.stat(os.path.join(place.common_dir, "gc.pid")).st_mtime <= _GC_LASTS
    return False


def is_whole(place: Place, objects: Objects) -> bool:
    """Whether everything is there that a-sync, the remotes' a-sync and their reflogs reach. Reads all of their history.

    Looks at the header of each file in a-sync's tip, too. Raises GitError when git was kept from looking.
    """
    refs, tip = references(place), objects.head(REF)
    if not refs:
        return True
    if tip is not None and not is_readable(objects, tip):
        return False
    past = [commit for ref in refs for commit in _logged(place, ref)]
    return _is_there(place, *refs.values(), *past)


def is_offered_whole(place: Place, head: str, tip: str | None) -> bool:
    """Whether everything of the commit `head` is there that a remote at `tip` does not have."""
    return _is_there(place, head, *([f"^{tip}"] if tip else []))


def mend(place: Place, objects: Objects) -> bool:
    """Lets go of the references and reflogs that reach what is not there; a-sync begins anew then. False: all is whole."""
    if is_whole(place, objects):
        return False
    for ref, oid in references(place).items():
        if _is_there(place, oid) and (ref != REF or is_readable(objects, oid)):
            continue
        if ref == REF:
            objects.move(REF, objects.commit(objects.empty_tree(), [], BEGIN), objects.head(REF))
        else:
            run(["update-ref", "-d", ref, oid], place.common_dir, check=False)
    run([*_NO_LOG, *references(place)], place.common_dir, check=False, timeout=_TIMEOUT)
    return True


def _logged(place: Place, ref: str) -> list[str]:
    """The commits that a reference's log names and git still has; those that are gone harm nobody."""
    return run(["rev-list", "-g", ref, "--"], place.common_dir, check=False).out.decode("ascii").split()


def _is_there(place: Place, *commits: str) -> bool:
    given = "".join(f"{commit}\n" for commit in commits).encode("ascii")
    listing = ["rev-list", "--objects", "--quiet", "--stdin"]
    done = run(listing, place.common_dir, input=given, check=False, timeout=_TIMEOUT, env=LOCAL, gently=True)
    if done.code not in (0, _FATAL) or "out of memory" in done.err.lower():  # that says nothing of the history
        raise GitError(f"git could not look through the history of a-sync: {done.err.strip()[:200]}", "try again")
    return done.code == 0
