"""Who wants to hear of what: a durable file beside the logs. Neither log nor cache, it belongs to this clone's sessions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from thrum.core.subscription import Subscription
from thrum.store import disk, records

Json = dict[str, Any]


class Subscriptions:
    """The subscriptions of a clone, safe among processes."""

    def __init__(self, sync_dir: str) -> None:
        self._path = f"{sync_dir}/subscriptions.json"
        self._seen: object = ()
        self._content: tuple[int, list[Subscription]] = (0, [])

    def of(self, session_id: str) -> list[Subscription]:
        """A session's subscriptions, oldest first."""
        return [one for one in self._load()[1] if one.session_id == session_id]

    def add(self, wanted: Subscription, is_over: Callable[[str], bool]) -> Subscription:
        """Makes `wanted` durable under a number of its own, or gives the one that is the same already.

        Those whose session `is_over` go. Raises StorageError.
        """
        with self._locked():
            last, known = self._load()
            same = [one for one in known if one._replace(id=0, created_at=wanted.created_at) == wanted]
            if same:
                return same[0]
            made = wanted._replace(id=last + 1)
            self._save(made.id, [one for one in known if not is_over(one.session_id)] + [made])
            return made

    def remove(self, number: int, session_id: str) -> bool:
        """Takes a session's subscription away; False when it has none of that number. Raises StorageError."""
        with self._locked():
            last, known = self._load()
            kept = [one for one in known if (one.id, one.session_id) != (number, session_id)]
            if len(kept) == len(known):
                return False
            self._save(last, kept)
            return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with disk.explained("remember the subscription"), disk.locked(self._path + ".lock"):
            yield

    def _load(self) -> tuple[int, list[Subscription]]:
        """The last number given out, and every subscription. The file is read when it is another one than last time."""
        signature = disk.signature(self._path)
        if signature != self._seen:
            self._content, self._seen = _read(self._path), signature
        return self._content

    def _save(self, last: int, known: list[Subscription]) -> None:
        document = {"last": last, "subscriptions": [one.as_json() for one in known]}
        disk.replace(self._path, json.dumps(document, indent=1).encode() + b"\n")


def _read(path: str) -> tuple[int, list[Subscription]]:
    """What the file holds: nothing when it is none of ours."""
    try:
        document: Any = records.load(path) or {}
        known = [Subscription.from_json(one) for one in document.get("subscriptions", ())]
        return int(document.get("last", 0)), known
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError):
        return 0, []
