"""Who spoke of what is another's. Such a statement has no effect; here it is found, so that somebody can be told."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from thrum.core import events, layout
from thrum.core.codec import BadLine
from thrum.core.layout import LogPath
from thrum.store import disk, stated
from thrum.store.fold_messages import claim
from thrum.store.stated import Stated

_MEDDLED = """
SELECT c.message_id, c.owner, c.rank, m.owner, m.path FROM {table} c JOIN message m USING (message_id)
WHERE c.owner <> m.owner AND c.owner <> '' ORDER BY c.message_id, c.rank LIMIT {most}
"""
_VERBS = {"revision": "edits", "deletion": "deletes"}
_CREATES = re.compile(rb'^.*"type":"message\.create".*$', re.MULTILINE)
_MESSAGE_ID = re.compile(rb'"message_id":"([^"\\]+)"')
MOST = 100
"""Findings of one kind."""


class Finding(NamedTuple):
    """A line without effect: in which log file below the branch's worktree, at which byte, and what it tried."""

    path: str
    offset: int
    sentence: str


def meddling(connection: sqlite3.Connection, root: str) -> list[Finding]:
    """Edits and deletions of messages by others than their authors, as far as the read model knows the messages."""
    found = []
    for table, verb in _VERBS.items():
        for message_id, owner, rank, author, _ in connection.execute(_MEDDLED.format(table=table, most=MOST)):
            path, offset = _find(root, owner, rank.split(" ")[2])
            found.append(Finding(path, offset, f"{owner} {verb} {message_id}, which is {author}'s"))
    return found


def rivals(root: str) -> list[Finding]:
    """Messages that claim the id of another one, which arrived or came first."""
    claims: dict[bytes, list[tuple[LogPath, int]]] = {}
    for source in _files(root):
        for match in _CREATES.finditer(disk.read(f"{root}/{source.path}")):
            for message_id in set(_MESSAGE_ID.findall(match.group())):
                claims.setdefault(message_id, []).append((source, match.start()))
    found: list[Finding] = []
    for message_id, places in claims.items():
        if len(places) > 1:
            found += _losers(root, message_id.decode(errors="replace"), places)
    return found[:MOST]


def shared_names(root: str) -> dict[str, list[str]]:
    """Agents that speak from more than one clone, with the clones' origins."""
    found = {}
    for owner in _children(f"{root}/messages"):
        origins = [name for name in _children(f"{root}/messages/{owner}") if layout.is_part(1, name)]
        if len(origins) > 1:
            found[owner] = origins
    return found


def _losers(root: str, message_id: str, places: list[tuple[LogPath, int]]) -> Iterator[Finding]:
    claims = [stated for stated in _read(root, places) if stated.event["message_id"] == message_id]
    if len({stated.line for stated in claims}) < 2:
        return
    winner = min(claims, key=claim)
    for loser in claims:
        if loser.line != winner.line:
            sentence = f"{loser.owner} claims {message_id}, which is {winner.owner}'s"
            yield Finding(loser.source.path, loser.ends - len(loser.line) - 1, sentence)


def _read(root: str, places: list[tuple[LogPath, int]]) -> Iterator[Stated]:
    for source, offset in places:
        line = disk.read(f"{root}/{source.path}", offset).partition(b"\n")[0]
        try:
            found = stated.read(source, offset + len(line) + 1, line)
        except BadLine:
            continue  # it was set aside, and is told of there
        if found.type == events.MESSAGE_CREATE:
            yield found


def _find(root: str, owner: str, event_id: str) -> tuple[str, int]:
    """Where the owner states the event: file and byte; ("", 0) when it is not there any more."""
    wanted = b'"event_id":"%b"' % event_id.encode()
    for source in _files(root):
        if source.owner == owner:
            at = (data := disk.read(f"{root}/{source.path}")).find(wanted)
            if at >= 0:
                return source.path, data.rfind(b"\n", 0, at) + 1
    return "", 0


def _files(root: str) -> Iterator[LogPath]:
    """Every log file, by path."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            source = layout.parse_path(os.path.relpath(os.path.join(folder, name), root))
            if source is not None:
                yield source


def _children(path: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
