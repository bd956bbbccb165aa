"""What the doctor tells of those who spoke for others, and of those who were not let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thrum.daemon import lifecycle
from thrum.store import voices

if TYPE_CHECKING:
    from thrum.cli.checks import Patient

_SHOWN = 5
_REASONS = {
    "user": "of another user",
    "host": "that called this machine by another name",
    "origin": "from another page",
    "token": "without a token",
    "room": "for lack of room",
}
Told = tuple[bool, str, str]


def check_voices(patient: Patient) -> Told:
    """Lines that edit, delete or claim what is another's; names that speak from two clones are no fault."""
    engine, root = patient.engine, patient.place.log_root
    engine.catch_up()
    found = [*voices.meddling(engine.projection.connection, root), *voices.rivals(root)]
    if found:
        told = [f"{one.path} at byte {one.offset}: {one.sentence}" for one in found]
        return False, _some(told), "it had no effect; ask its author, or whoever can write the branch"
    shared = [f"{name} speaks from {len(origins)} clones" for name, origins in voices.shared_names(root).items()]
    return True, _some(shared) or "everybody speaks for himself", ""


def check_doors(patient: Patient) -> Told:
    """Who was turned away by the daemon since it started."""
    running = lifecycle.status(patient.place)
    if running["status"] != "running":
        return True, "no daemon, no doors", ""
    turned = lifecycle.ask(patient.place.socket, "daemon.status").get("turned_away") or {}
    told = "; ".join(f"{count} {_REASONS.get(reason, reason)}" for reason, count in turned.items())
    fix = "a page or a program on this machine tries to get in; nothing was told to it" if turned else ""
    return True, f"turned away: {told}" if told else "nobody was turned away", fix


def _some(items: list[str]) -> str:
    more = f"; and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more
