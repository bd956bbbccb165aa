"""The clone and what it keeps: repository, branch, worktree, logs, read model."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from thrum.cli.checks.patient import FIX, UNSEEN, Finding, Patient, aside, bad, curable, moved_away, some, well
from thrum.cli.text import count
from thrum.core import layout
from thrum.core.purging import Purged
from thrum.git import branch, wholeness, worktree
from thrum.git.command import version
from thrum.store import chains, disk, history, origin, proof, quarantine
from thrum.store.history import UNFINISHED, Line
from thrum.store.projection import Projection
from thrum.sync import files
from thrum.sync.audit import Audit
from thrum.sync.cycle import Cycle

OLDEST_GIT = (2, 30, 0)
_NO_LOGS = f"{UNSEEN}: the logs are not where they should be"


def repository(patient: Patient) -> Finding:
    """git itself, the clone's own id, and whether anything can be written."""
    place, numbers = patient.place, version()
    told = f"{place.main_worktree or place.common_dir}, git {'.'.join(map(str, numbers))}"
    if numbers < OLDEST_GIT:
        return bad(f"{told}: git 2.30 or later is needed")
    if not os.access(place.common_dir, os.W_OK):
        return bad(f"{place.common_dir} cannot be written: nothing can be sent from here")
    if not place.is_initialised:
        return _without_origin(patient)
    return well(f"{told}, origin {patient.origin}")


def _without_origin(patient: Patient) -> Finding:
    sync_dir = patient.place.sync_dir
    path = os.path.join(sync_dir, "origin")
    if os.path.lexists(path):
        return bad(f"{path} is no file that can be read", f"{moved_away(path)} && {FIX}")
    if not os.path.isdir(patient.place.log_root):
        return bad("thrum is not set up in this repository", "git thrum init")
    heals = "gives this clone a new id; its logs so far are kept and read as another clone's"
    return curable(
        "the clone's own id is gone", heals, lambda: [f"this clone's id is {origin.ensure(sync_dir)} now"], FIX
    )


def branch_(patient: Patient) -> Finding:
    """The branch a-sync is there, and its commit can be read; what somebody put into it that is no log."""
    tip = patient.objects.head(branch.REF)
    if tip is None:
        heals = "begins the branch a-sync anew, and commits the logs on disk to it"
        detail = "there is no branch a-sync, or its commit is damaged"
        return curable(detail, heals, lambda: _settled(patient, "began the branch a-sync anew, with every log on disk"))
    if not wholeness.is_whole(patient.place, patient.objects):
        heals = "begins the branch a-sync anew where objects are missing, and commits the logs on disk to it"
        detail = f"a-sync is at {tip[:10]}, and objects of it are missing"
        return curable(detail, heals, lambda: _settled(patient, "began the branch a-sync anew, with every log on disk"))
    foreign = list(files.refused(patient.objects, patient.objects.tree_of(tip)))
    beside = f"; in it, and never read or written: {some(foreign)}" if foreign else ""
    return well(f"a-sync is at {tip[:10]}{beside}")


def worktree_(patient: Patient) -> Finding:
    """The logs' folder is a worktree that git knows."""
    root = patient.place.log_root
    if os.path.lexists(root) and not os.path.isdir(root):
        return bad(f"{root} is no folder", f"{moved_away(root)} && {FIX}")
    metadata = _line(os.path.join(root, ".git")).removeprefix("gitdir: ")
    head = _line(os.path.join(metadata, "HEAD")) if metadata else ""
    back = _line(os.path.join(metadata, "gitdir")) if metadata else ""
    if not os.path.isdir(root):
        heals = "makes the folder of the logs, and brings back what the branch has of them"
        return curable(f"{root} is missing", heals, lambda: _reunited(patient))
    if head != worktree.HEAD.strip() or back != os.path.join(root, ".git"):
        heals = "writes git's pointers to it and back anew"
        return curable(f"{root} and git have lost each other", heals, lambda: _reunited(patient))
    return well(root)


def logs(patient: Patient) -> Finding:
    """Lines set aside, gaps in a log, logs the branch has and the disk has not, ends that were cut off."""
    place = patient.place
    if not os.path.isdir(place.log_root):
        return well(_NO_LOGS)
    closed = _closed(f"{place.log_root}/messages", patient.origin)
    if closed:
        path = shlex.quote(closed[0])
        return bad(f"{some(closed)} cannot be written", f"chmod u+w {path} || chattr -i {path}")
    behind = _behind(patient)
    wrong = [*behind, *quarantine.misplaced(place.log_root), *_odd(place.log_root, patient.purged)]
    kept = history.quarantined(place.sync_dir)
    note = (
        f"{count(len(kept), 'unfinished or damaged line')} kept in {place.sync_dir}/{history.QUARANTINE}"
        if kept
        else ""
    )
    if behind:
        heals = "brings back the lines that the branch has"
        return curable(
            "; ".join(filter(None, [some(wrong), note])), heals, lambda: _settled(patient, "brought them back")
        )
    if wrong:
        return bad(
            "; ".join(filter(None, [some(wrong), "nothing else is affected", note])), "git thrum log --set-aside"
        )
    return well(f"{note}: never acknowledged, or whole elsewhere" if note else "whole")


def _closed(messages: str, own: str) -> list[str]:
    """What of this clone's logs cannot be written: where one ends, and the folders in which it goes on."""
    found = [messages]
    for owner in disk.names(messages):
        log = f"{messages}/{owner}/{own}"
        folder = f"{log}/{max(disk.names(log), default='')}"
        found += [f"{messages}/{owner}", log, folder, f"{folder}/{max(disk.names(folder), default='')}"]
    there = dict.fromkeys(os.path.normpath(path) for path in found if os.path.lexists(path))
    return [path for path in there if not os.access(path, os.W_OK)]


def _odd(root: str, purged: Purged) -> list[str]:
    """A sentence for each line that counts for nothing, and for each break of a log."""
    found, was_purged = [], chains.purged_by(purged)
    wanted = history.logs(root)
    parse = history.parser(root, wanted)
    for log in wanted:
        faults: list[str] = []
        lines = _noting(history.read(root, log, parse), faults)
        breaks = [broken.sentence for broken in chains.breaks(lines, was_purged)]
        found += [*faults, *breaks]
    return found


def _noting(lines: Iterator[Line], faults: list[str]) -> Iterator[Line]:
    for line in lines:
        if line.said is None and line.reason != UNFINISHED:
            faults.append(f"{line.source.path} at byte {line.offset}: {line.reason}")
        yield line


def _behind(patient: Patient) -> list[str]:
    tip = patient.objects.head(branch.REF)
    if tip is None or not branch.is_readable(patient.objects, tip):
        return []
    audit = Audit(patient.place.log_root, patient.place.common_dir, patient.objects, patient.purged)
    return list(audit.at_tree())


def projection(patient: Patient) -> Finding:
    """The read model says what the logs say."""
    path = patient.database
    for folder in (patient.place.thrum_dir, patient.place.var_dir):
        if os.path.lexists(folder) and not os.path.isdir(folder):
            return bad(f"{folder} is no folder", f"{moved_away(folder)} && git thrum init --force")
    if not os.path.isdir(patient.place.log_root):
        return well(_NO_LOGS)
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        heals = f"moves what is at {path} aside, and builds the read model anew"
        return curable(f"{path} is no file", heals, lambda: _rebuilt(patient, is_in_the_way=True))
    disk.make_folder(os.path.dirname(path))
    differences = proof.check(patient.place.log_root, path, patient.origin)
    if differences:
        return curable(
            some(differences),
            "builds the read model anew from the logs",
            lambda: _rebuilt(patient),
            "git thrum rebuild",
        )
    return well("says what the logs say")


def _rebuilt(patient: Patient, *, is_in_the_way: bool = False) -> list[str]:
    path, done = patient.database, []
    if is_in_the_way:
        away = aside(path)
        os.rename(path, away)
        done.append(f"moved what was at {path} to {away}")
    built = Projection(patient.place.log_root, path, patient.origin)
    try:
        built.rebuild()
    finally:
        built.database.close()
    return [*done, "built the read model anew"]


def _reunited(patient: Patient) -> list[str]:
    return [*worktree.ensure(patient.place), *_settled(patient, "")]


def _settled(patient: Patient, sentence: str) -> list[str]:
    """Disk and branch made to hold the same lines; what was done, `sentence` first."""
    done, lines = [sentence] if sentence else [], _bring_back(patient)
    patient.close()
    Cycle(patient.place, patient.settings, patient.origin, lambda: None).settle()
    return [*done, f"brought back {count(lines, 'line')} that the branch had"] if lines else done


def _bring_back(patient: Patient) -> int:
    """Puts every line that only the branch has on disk; how many there were."""
    tip, root = patient.objects.head(branch.REF), patient.place.log_root
    if tip is None or not branch.is_readable(patient.objects, tip):
        return 0
    tree = patient.objects.tree_of(tip)
    lacking = Audit(root, patient.place.common_dir, patient.objects, patient.purged).compare(tree).only_there
    for path in lacking:
        entry, source = branch.lookup(patient.objects, tree, path), layout.parse_path(path)
        if entry is not None and source is not None:
            files.hold(root, source, patient.objects.blob(entry.oid), gone=patient.purged.of(path))
    return sum(lacking.values())


def _line(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return os.fsdecode(file.read(1 << 16)).strip()
    except OSError:
        return ""
