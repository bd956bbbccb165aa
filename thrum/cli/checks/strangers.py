"""What the doctor tells of those who spoke for others, and of those who were not let in."""

from __future__ import annotations

import os

from thrum.cli.checks.patient import UNSEEN, Finding, Patient, bad, some, well
from thrum.daemon import lifecycle
from thrum.store import voices
from thrum.store.projection import Projection

_REASONS = {
    "user": "of another user",
    "host": "that called this machine by another name",
    "origin": "from another page",
    "token": "without a token",
    "room": "for lack of room",
}


def voices_(patient: Patient) -> Finding:
    """Lines that edit, delete or claim what is another's; names that speak from two clones are no fault."""
    root = patient.place.log_root
    if os.path.islink(patient.database) or not os.path.isfile(patient.database):
        return well(f"{UNSEEN}: the read model is not where it should be")
    told = Projection(root, patient.database, patient.origin)
    try:
        told.catch_up()
        found = [*voices.meddling(told.connection, root), *voices.rivals(root)]
    finally:
        told.database.close()
    if found:
        lines = [f"{one.path} at byte {one.offset}: {one.sentence}" for one in found]
        return bad(f"{some(lines)}; it had no effect: ask its author, or whoever can write the branch")
    shared = [f"{name} speaks from {len(origins)} clones" for name, origins in voices.shared_names(root).items()]
    return well(some(shared) or "everybody speaks for himself")


def doors(patient: Patient) -> Finding:
    """Who was turned away by the daemon since it started."""
    if patient.daemon["status"] != "running":
        return well("no daemon, no doors")
    turned = lifecycle.ask(patient.place.socket, "daemon.status").get("turned_away") or {}
    told = "; ".join(f"{count} {_REASONS.get(reason, reason)}" for reason, count in turned.items())
    return well(f"turned away, and told nothing: {told}" if told else "nobody was turned away")
