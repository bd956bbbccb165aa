"""Who may come in over TCP: whoever can read this user's 0600 file, and the users that registered here before."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
from hashlib import sha256
from typing import Any, NamedTuple

from thrum.git.place import Place
from thrum.store import disk, records

Json = dict[str, Any]
PER_USER = 16
"""Tokens kept for one user: the latest ones."""
MOST = 256
"""Tokens kept for all."""


class Known(NamedTuple):
    """A token that was handed out: its SHA-256 and whose it is. The token itself is kept nowhere."""

    digest: str
    user_id: str


class Tokens:
    """The daemon's own token, new for every life of it, and the users' tokens, which outlive it."""

    def __init__(self, place: Place) -> None:
        """Makes the daemon's token and writes it down. Raises OSError."""
        self.path = token_path(place)
        self._users_path = os.path.join(place.sync_dir, "tokens.json")
        self._lock = threading.Lock()
        self._own = secrets.token_urlsafe(32)
        self._known = _load(self._users_path)
        self.write()

    def write(self) -> None:
        """Writes the daemon's token (0600), also after somebody removed it. Raises OSError."""
        disk.replace(self.path, self._own.encode() + b"\n")

    def forget(self) -> None:
        """Removes the file of the daemon's token, if it is still ours."""
        with contextlib.suppress(OSError):
            if disk.read(self.path).strip() == self._own.encode():
                os.unlink(self.path)

    def bearer(self, said: str) -> str | None:
        """Who comes with that token: a user's id, "" for whoever can read the file, None for a stranger."""
        if secrets.compare_digest(_bytes(said), _bytes(self._own)):
            return ""
        digest = _digest(said)
        return next((known.user_id for known in self._known if known.digest == digest), None)

    def issue(self, user_id: str) -> str:
        """A token for `user_id`, durable when this returns. On any thread. Raises StorageError."""
        token = "tok_" + secrets.token_urlsafe(32)
        with self._lock, disk.explained(f"write {self._users_path}"):
            fresh = _trim([*self._known, Known(_digest(token), user_id)])
            disk.replace(self._users_path, json.dumps({"tokens": [one._asdict() for one in fresh]}).encode())
            self._known = fresh
        return token


def token_path(place: Place) -> str:
    """The file with the daemon's token, for local clients."""
    return os.path.join(place.var_dir, "ws.token")


def _digest(token: str) -> str:
    return sha256(_bytes(token)).hexdigest()


def _bytes(token: str) -> bytes:
    return token.encode(errors="replace")  # a stranger's header may hold anything


def _trim(known: list[Known]) -> list[Known]:
    """The latest tokens of each user, and of all."""
    kept: list[Known] = []
    counts: dict[str, int] = {}
    for one in reversed(known):
        counts[one.user_id] = counts.get(one.user_id, 0) + 1
        if counts[one.user_id] <= PER_USER and len(kept) < MOST:
            kept.insert(0, one)
    return kept


def _load(path: str) -> list[Known]:
    """What the file holds; nothing when it is missing or damaged: users register again."""
    try:
        document: Any = records.load(path)
        return [Known(str(one["digest"]), str(one["user_id"])) for one in document["tokens"]]
    except (LookupError, TypeError):
        return []
