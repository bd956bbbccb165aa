"""Everything at a glance."""

from __future__ import annotations

from thrum.cli import render_state as show
from thrum.cli.plan import Plan


def status() -> Plan:
    """`git thrum overview` shows your team, too."""
    return Plan("status", {}, show.status)


def overview() -> Plan:
    """Nothing is marked read by it."""
    return Plan("overview", {}, show.overview)
