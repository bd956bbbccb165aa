"""Sync: how it stands, and one cycle now."""

from __future__ import annotations

from typing import Any

from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]


@method("sync.status")
def status(ctx: Context) -> Json:
    """Say when it last worked, what failed since, and what the remote does not have yet.

    Gives `{running, sync_state, last_sync_at, last_attempt_at, last_error?, hint?, remote?, url?, pending}`. `sync_state` is
    `off`, `no_remote`, `idle` (never tried), `synced`, `pending` (`pending` facts wait for the next cycle) or `error`.
    """
    return ctx.sync.status()


@method("sync.force", reads_git=True)
def force(ctx: Context) -> Json:
    """Run one cycle now: fetch, unite, commit, push.

    Gives `{triggered, ok, error?, hint?, received, pushed, remote?, running, sync_state, last_sync_at, last_attempt_at,
    last_error?, url?, pending}`: what the cycle did, and what `sync.status` says after it.
    """
    ctx.refresh_contexts()
    report = ctx.sync.force()
    return {"triggered": True, **report, **ctx.sync.status()}
