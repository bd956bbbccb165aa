"""Where a log lies on the branch, and what its path says: whose it is, and in which order its segments follow.

messages/<agent>/<origin>/<nnnn>/<nn>.jsonl     ours: one log per agent and clone, 64 KiB a segment, 256 a folder
events.jsonl, messages/<agent>.jsonl            v0.1.0's: read, united, never written by us
"""

from __future__ import annotations

import re
from typing import NamedTuple

SEGMENT_BYTES = 64 * 1024
SEGMENTS_PER_FOLDER = 256
REACH = 8
"""How far beyond a segment the log's next one may stand: a few may be lost, but nobody shall use up a writer's numbers.

A forger who wants them all used up has to push 2^24 / 8 files, more than a tree may have here.
"""
_OURS = re.compile(
    r"messages/([a-z0-9_][A-Za-z0-9_-]{0,79})/([0-9a-hjkmnp-tv-z]{8,32})/([0-9a-f]{4})/([0-9a-f]{2})\.jsonl\Z"
)
_LEGACY = re.compile(r"messages/([A-Za-z0-9_-]{1,120})\.jsonl\Z")


_PARTS = (
    re.compile(r"[a-z0-9_][A-Za-z0-9_-]{0,79}\Z"),
    re.compile(r"[0-9a-hjkmnp-tv-z]{8,32}\Z"),
    re.compile(r"[0-9a-f]{4}\Z"),
    re.compile(r"[0-9a-f]{2}\.jsonl\Z"),
)


def is_part(depth: int, name: str) -> bool:
    """Whether `name` may stand below `messages/` as owner (depth 0), origin (1), folder (2) or segment (3)."""
    return bool(_PARTS[depth].match(name))


class LogPath(NamedTuple):
    """A file of a log. `owner` is the file stem of the agent whose log it is, "" for `events.jsonl`."""

    path: str
    owner: str
    origin: str
    segment: int

    @property
    def is_legacy(self) -> bool:
        """Whether v0.1.0 wrote it."""
        return not self.origin

    @property
    def log(self) -> str:
        """The log's folder, or the file itself where a log is one file."""
        return self.path if self.is_legacy else f"messages/{self.owner}/{self.origin}"


def segment_path(owner: str, origin: str, segment: int) -> str:
    """The path of segment number `segment` of a log."""
    folder, place = divmod(segment, SEGMENTS_PER_FOLDER)
    return f"messages/{owner}/{origin}/{folder:04x}/{place:02x}.jsonl"


def parse_path(path: str) -> LogPath | None:
    """What `path` (relative to the branch's root) is, or None if it is no log of a kind we know."""
    match = _OURS.match(path)
    if match:
        return LogPath(path, match[1], match[2], int(match[3], 16) * SEGMENTS_PER_FOLDER + int(match[4], 16))
    if path == "events.jsonl":
        return LogPath(path, "", "", 0)
    match = _LEGACY.match(path)
    return LogPath(path, match[1], "", 0) if match else None


def ends_of_runs(names: list[str]) -> list[str]:
    """Of a folder's segments, those that no next one follows: the last, and what stands before a gap that somebody tore."""
    there = {int(name[:2], 16) for name in names}
    return [name for name in names if int(name[:2], 16) + 1 not in there]
