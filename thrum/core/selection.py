"""Which messages are asked for."""

from __future__ import annotations

from typing import NamedTuple


class Filter(NamedTuple):
    """Which messages: pairs are `(type, value)`; None asks for nothing.

    `everything`: also what is not addressed to the asker; `with_own`: also what the asker wrote;
    `with_deleted`: also what was deleted since.
    """

    scope: tuple[str, str] | None = None
    ref: tuple[str, str] | None = None
    mention: tuple[str, ...] = ()
    thread_id: str | None = None
    author: str | None = None
    priority: str | None = None
    unread: bool = False
    everything: bool = False
    with_own: bool = False
    with_deleted: bool = False
