"""`migrate`: what old versions left behind becomes part of today's logs. Everything is united, nothing is overwritten."""

from __future__ import annotations

import os
import shutil
from typing import Any

from thrum.cli import oldlayouts
from thrum.cli.console import here, tell
from thrum.cli.founding import Founding
from thrum.cli.oldlayouts import Found
from thrum.cli.options import Options
from thrum.cli.plan import Local
from thrum.cli.setup import QUICKSTART, listed, stepwise
from thrum.cli.text import count, line, safe
from thrum.core import layout, union
from thrum.git.objects import Objects, open_objects
from thrum.git.place import Place, worktrees
from thrum.store import disk, identities
from thrum.sync import files

Json = dict[str, Any]
_UNTRACK = "git rm -r --cached --quiet -- :/.thrum"


def migrate() -> Local:
    """It may be run at any time, and again. A repository without thrum is set up first, as by `git thrum init`.

    Old files stay where they are; what git still tracks of them is named, and left to you.
    """
    return Local(_migrate)


def _migrate(options: Options) -> int:
    place = here(options)
    objects = open_objects(place.common_dir)
    try:
        found, was_v010 = oldlayouts.logs(place, objects), oldlayouts.has_v010_branch(place, objects)
        old = oldlayouts.old_worktree(place)
        names = [path for one in worktrees(place) for path in oldlayouts.tracked(one)]
        founding = Founding(place)
        sources: list[Json] = []
        if found or old or was_v010:
            _take_over(founding, objects, old, was_v010)
            sources = _unite(founding, found)
            _look_at_identities(founding)
    finally:
        objects.close()
    new = sum(source["new"] for source in sources)
    result = {"migrated": new > 0, "repository": place.main_worktree or place.common_dir, "sources": sources}
    text = _text(founding, new, sources, names)
    return tell(options, {**result, **listed(founding), "tracked": names}, text)


def _take_over(founding: Founding, objects: Objects, old: Place | None, was_v010: bool) -> None:
    """Makes a place for the logs: what `init` would do, if it was not done yet."""
    from thrum.cli.setup import lay

    place = founding.place
    if old is not None:
        _retire(founding, old)
    if place.is_initialised:
        founding.make_branch(None)
    else:
        with founding.whole_or_nothing():
            lay(founding)
    if was_v010:
        founding.note("kept", "the logs of thrum 0.1.0 on a-sync", "they are read as they are")


def _retire(founding: Founding, old: Place) -> None:
    """Lets git forget the old worktree of a-sync; its files stay until their lines are united, and after."""
    with disk.explained("retire the old worktree"):
        os.unlink(os.path.join(old.worktree or "", ".git"))
        shutil.rmtree(old.git_dir)
    founding.note("retired", f"the worktree {old.worktree}", "its files are kept; you may delete them")


def _unite(founding: Founding, found: list[Found]) -> list[Json]:
    """Brings every old line into its log, and tells how many were new, source by source."""
    told: dict[str, Json] = {}
    for one in oldlayouts.placed(found):
        lines, new = _hold(founding.place, one)
        source = told.setdefault(one.source, {"source": one.source, "files": [], "lines": 0, "new": 0})
        source["files"].append(one.path)
        source["lines"] += lines
        source["new"] += new
    for source in told.values():
        into = f"{count(source['lines'], 'line')}, {source['new'] or 'none'} new"
        founding.note("united", source["source"], into)
    return list(told.values())


def _hold(place: Place, one: Found) -> tuple[int, int]:
    target = layout.parse_path(one.path)
    if target is None:
        raise ValueError(f"{one.path} is no log")
    lines = set(union.split(one.data))
    before = set(union.split(disk.read(f"{place.log_root}/{one.path}")))
    files.hold(place.log_root, target, one.data)
    return len(lines), len(lines - before)


def _look_at_identities(founding: Founding) -> None:
    for place in worktrees(founding.place):
        folder = place.identities_dir or ""
        for identity in identities.present(folder):
            founding.note("kept", f"the identity {identity.agent_id}", f"of {place.name}")
        for name in identities.broken(folder):
            founding.note("skipped", os.path.join(folder, name), f"no identity we can use; {QUICKSTART}")


def _text(founding: Founding, new: int, sources: list[Json], names: list[str]) -> str:
    if not founding.steps:
        return "nothing to migrate: there is no old layout here\n" + _untracking(names)
    head = f"brought {count(new, 'line')} over" if new else "nothing was missing from today's logs"
    return f"{head}\n{stepwise(founding, everything=True)}\n{_untracking(names)}"


def _untracking(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"git still tracks {line(names[0])}{more}, which nothing needs any longer\nnext: {safe(_UNTRACK)}, and commit\n"
    )
