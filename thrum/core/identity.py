"""Who somebody is, as a worktree's identity file tells it."""

from __future__ import annotations

from typing import NamedTuple


class Identity(NamedTuple):
    """An agent; `source`: what selected it (`flags`, `environment`, `identity_file`, `caller`)."""

    agent_id: str
    role: str
    module: str
    display: str = ""
    source: str = "identity_file"
