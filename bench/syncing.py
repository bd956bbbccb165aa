"""What exchanging one new message costs: one cycle by the length of the history, and the way to another clone's listener."""

from __future__ import annotations

import statistics
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import hearing, playground
from bench.ears import Waiting
from bench.goals import row
from bench.measure import Row, seconds
from bench.playground import Line
from bench.scale import Scale
from thrum.core import clock, codec, ids, layout
from thrum.git import branch
from thrum.store.log import line_hash
from thrum.sync.cycle import Cycle, Report

if TYPE_CHECKING:
    from bench.history import Curves, House

THEIRS = "0000000000bb"
"""The origin of the clone that is not there."""
_BEGIN = 1_770_724_800 * clock.SECOND


def measure(root: str, env: dict[str, str], houses: Sequence[House], scale: Scale, curves: Curves) -> Iterator[Row]:
    """One cycle with one new message of ours and one of theirs: fetch, unite, show, commit, push; the houses take turns."""
    others = [Other(house.path, env) for house in houses]
    for house in houses:
        _begin_sync(house, env)
    plain = _Plain(root, env)
    took: list[list[float]] = [[] for _ in (*houses, plain)]
    grown: list[list[float]] = [[] for _ in houses]
    for number in range(scale.slow + 1):
        spent = [_one(house, other, number) for house, other in zip(houses, others, strict=True)]
        plain.change(number)
        spent.append((seconds(plain.exchange), 0))
        if number:  # the first one of each does not count
            for mine, (time, _) in zip(took, spent, strict=True):
                mine.append(time * 1000)
            for mine, (_, growth) in zip(grown, spent, strict=False):
                mine.append(growth / 1000)
    middle = [statistics.median(mine) for mine in took]
    curves["sync"] = {house.events: spent for house, spent in zip(houses, middle, strict=False)}
    yield row("sync.large", middle[-2], middle[0], scale.slow, **scale.words)
    yield row("sync.git", middle[-2], middle[-1], scale.slow, **scale.words)
    yield row(
        "sync.growth", statistics.median(grown[-1]), statistics.median(grown[0]), scale.slow, **scale.words
    )  # fmt: skip


def clones(root: str, env: dict[str, str], scale: Scale) -> Iterator[Row]:
    """From the daemon of one clone to a blocked wait at the daemon of another."""
    here, there = playground.repository(root, "here", env), f"{root}/there"
    playground.run(root, env, "git", "clone", "-q", f"{here}.git", there)
    playground.run(there, env, "git", "thrum", "init")
    playground.hire(there, "rita", "reviewer")
    with playground.daemon(here, env), playground.daemon(there, env):
        sender, reader, ear = Line(here, "lead"), Line(there, "rita"), Waiting(there, "rita")
        late = []
        for _ in range(scale.slow + 1):
            late += hearing.hear_one(sender, [ear], [])
            reader("message.markRead", message_ids=[sender.hear()["message_id"]])
        for one in (sender, reader, ear):
            one.close()
    yield row("clones.heard", statistics.median(late[1:]) / 1000, runs=scale.slow)


def _begin_sync(house: House, env: dict[str, str]) -> None:
    """Brings the history to the remote without copying it: the remote borrows our objects."""
    own = house.engine
    Cycle(own.place, own.settings, own.origin, own.catch_up).settle()
    cheap = ("-c", "pack.window=0", "-c", "pack.compression=1")
    playground.run(house.path, env, "git", *cheap, "repack", "-adq")
    remote = Path(f"{house.path}.git")
    (remote / "objects/info/alternates").write_text(own.place.common_dir + "/objects\n")
    tip = playground.run(house.path, env, "git", "rev-parse", branch.REF).strip()
    playground.run(str(remote), env, "git", "update-ref", branch.REF, tip)
    _check(own.sync.run(), received=0, pushed=False)


def _one(house: House, other: Other, number: int) -> tuple[float, int]:
    """(seconds, bytes by which .git grew) of one cycle."""
    own, objects = house.engine, house.engine.place.common_dir + "/objects"
    own.call("message.send", {"content": f"one more {number}"}, playground.claim(house.path))
    other.speak()
    before, reports = playground.size(objects), list[Report]()
    spent = seconds(lambda: reports.append(own.sync.run()))
    _check(reports[0], received=1, pushed=True)
    return spent, playground.size(objects) - before


def _check(report: Report, received: int, pushed: bool) -> None:
    """Raises RuntimeError for a cycle that did not do its work: its time would mean nothing."""
    if not report.ok or report.received < received or report.pushed is not pushed:
        raise RuntimeError(report)


class Other:
    """An agent in a clone that is not there: what it says appears on the remote."""

    def __init__(self, path: str, env: dict[str, str]) -> None:
        self._remote, self._env = f"{path}.git", env
        self._lines: list[bytes] = []

    def speak(self) -> None:
        """Pushes one more message."""
        event_id = f"evt_{ids.encode_bits(_BEGIN // 1_000_000, 10)}{len(self._lines):016d}"
        event = {
            "type": "message.create", "agent_id": "zoe", "body": {"format": "markdown", "content": "from afar"},
            "everyone": True, "event_id": event_id, "message_id": ids.bound_id("msg", "zoe", event_id),
            "origin": THEIRS, "prev": line_hash(self._lines[-1]) if self._lines else "", "seq": len(self._lines) + 1,
            "timestamp": clock.text(_BEGIN + len(self._lines)), "v": 1,
        }  # fmt: skip
        self._lines.append(codec.encode(event))
        data = b"".join(line + b"\n" for line in self._lines)
        said = (
            f"commit {branch.REF}\ncommitter Z <z@example.com> {_BEGIN // clock.SECOND} +0000\ndata 1\nx\n"
            f"from {branch.REF}^0\nM 100644 inline {layout.segment_path('zoe', THEIRS, 0)}\ndata {len(data)}\n"
        )
        line = ("git", "fast-import", "--quiet")
        subprocess.run(line, cwd=self._remote, env=self._env, input=said.encode() + data, check=True)


class _Plain:
    """What git alone costs: one small file, committed and pushed."""

    def __init__(self, root: str, env: dict[str, str]) -> None:
        self._env, self._path = env, f"{root}/plain"
        playground.run(root, env, "git", "init", "-q", "--bare", f"{root}/plain.git")
        playground.run(root, env, "git", "clone", "-q", f"{root}/plain.git", self._path)
        self.change(-1)
        playground.run(self._path, env, "git", "add", ".")
        self.exchange()

    def change(self, number: int) -> None:
        """Another content of the file."""
        Path(self._path, "file").write_text(f"one more {number}\n")

    def exchange(self) -> None:
        """Commits and pushes it."""
        playground.run(self._path, self._env, "git", "commit", "-qam", "x")
        playground.run(self._path, self._env, "git", "push", "-q", "origin", "HEAD")
