"""Health: that somebody answers, and who."""

from __future__ import annotations

from typing import Any

from thrum.methods.context import Context
from thrum.methods.registry import method


@method("health")
def health(ctx: Context) -> dict[str, Any]:
    """Say that thrum answers, its version and how the sync stands.

    Gives `{status, uptime_ms, version, repo_id, sync_state}`, from a daemon also its `pid`, `socket` and the like.
    """
    return {
        "status": "ok",
        "uptime_ms": int(ctx.uptime() * 1000),
        "version": ctx.version,
        "repo_id": ctx.home.repository_id,
        "sync_state": ctx.sync.status()["sync_state"],
    }
