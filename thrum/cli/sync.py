"""The exchange with the remote."""

from __future__ import annotations

from typing import Any

from thrum.cli import render_state as show
from thrum.cli.plan import Plan
from thrum.cli.render import confirmation


def status() -> Plan:
    """States: off, no_remote, idle (never tried), synced, pending (something waits), error."""
    return Plan("sync.status", {}, show.sync_status)


def force() -> Plan:
    """Exit code 1 when it failed; nothing is lost then, the next cycle tries again."""
    return Plan("sync.force", {}, confirmation(show.forced), exit_code=_outcome, complain=show.not_synced)


def _outcome(result: Any) -> int:
    return 0 if result.get("ok") else 1
