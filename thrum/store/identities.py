"""The identity files of a worktree: who works here. `.thrum/identities/<name>.json`, in v0.1.0's format.

Who is speaking is decided by the caller's own worktree and nothing else: flags, then environment, then these files. Several
files and no choice, a choice without a file, a choice that contradicts its file: each is an error that says so.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from thrum.core import clock, ids
from thrum.core.codec import settled_text
from thrum.core.identity import Identity
from thrum.errors import Contradiction, NoIdentity, StorageError, UsageError
from thrum.store import disk, records

_LARGEST = 64 * 1024
_MOST_KNOWN = 1024
_known: dict[str, tuple[tuple[int, int, int], Identity | None]] = {}
"""What is in files that were long left alone: by path, with the signature that a file had when it was read."""


class Wanted(NamedTuple):
    """What flags or environment say of the caller; "" says nothing."""

    name: str = ""
    role: str = ""
    module: str = ""
    source: str = ""


def choose(folder: str | None, flags: Wanted, environ: Mapping[str, str]) -> Identity:
    """The one identity that is meant. Raises NoIdentity, Contradiction or UsageError.

    Raises StorageError when the disk does not give a file that may be the one: nobody speaks as whoever is left.
    """
    if folder is None:
        raise NoIdentity("a bare repository has no worktree, and so no agents", "run this inside a worktree")
    there, withheld = _look(folder)
    environment = _from_environment(environ)
    wanted = _merge(flags, environment)
    matching = [identity for identity in there if _fits(identity, wanted)]
    if withheld and (len(matching) != 1 or not wanted.name):
        raise withheld
    if len(matching) != 1:
        raise _refusal(there, matching, wanted, _said(flags, wanted))
    display = settled_text(environ.get("THRUM_DISPLAY", "")) or matching[0].display
    return matching[0]._replace(source=wanted.source or "identity_file", display=display)


def present(folder: str) -> list[Identity]:
    """Every readable identity in `folder`, by name; files that are none are passed over (`doctor` names them)."""
    found = [read(f"{folder}/{name}") for name in _names(folder)]
    return [identity for identity in found if identity is not None]


def broken(folder: str) -> list[str]:
    """The files in `folder` that look like identities and are none."""
    return [name for name in _names(folder) if read(f"{folder}/{name}") is None]


def read(path: str) -> Identity | None:
    """The identity in the file `path`; None unless it is small, well-formed and has valid names. Keys in any case."""
    return _understood(records.load(path, _LARGEST))


def _look(folder: str) -> tuple[list[Identity], StorageError | None]:
    """The readable identities, and why the disk did not give a file, if it did not."""
    found, withheld = [], None
    for name in _names(folder):
        try:
            identity = _recall(f"{folder}/{name}")
        except StorageError as error:
            withheld = error
        else:
            found += [identity] if identity else []
    return found, withheld


def _recall(path: str) -> Identity | None:
    """`read`, from memory where the file is the one that was read. Raises StorageError when the disk does not give it."""
    seen = disk.signature(path)
    known = _known.get(path)
    if known is not None and known[0] == seen:
        return known[1]
    identity = _understood(records.insist(path, _LARGEST))
    if seen is not None and time.time_ns() - seen[2] > clock.SETTLED and disk.signature(path) == seen:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[path] = seen, identity
    return identity


def _understood(document: object) -> Identity | None:
    agent = _lowered(_lowered(document).get("agent"))
    texts = [agent.get(key) or "" for key in ("name", "role", "module", "display")]
    name, role, module, display = (text if isinstance(text, str) else "" for text in texts)
    if not (ids.is_agent_id(name) and ids.is_role(role) and ids.is_role(module)):
        return None
    return Identity(name, role, module, display)


def save(folder: str, identity: Identity, worktree: str, updated_at: str) -> None:
    """Writes an identity's file (0600), as v0.1.0 would."""
    document = {
        "version": 1,
        "repo_id": "",
        "agent": {
            "Kind": "agent",
            "Name": identity.agent_id,
            "Role": identity.role,
            "Module": identity.module,
            "Display": settled_text(identity.display)[:1000],
        },
        "worktree": worktree,
        "confirmed_by": "",
        "updated_at": updated_at,
    }
    with disk.explained("write the identity file"):
        disk.make_folder(folder)
        disk.sweep(folder)  # whoever was killed while hiring somebody may never hire that one again
        disk.replace(f"{folder}/{ids.stem(identity.agent_id)}.json", json.dumps(document, indent=2).encode())


def remove(folder: str, agent_id: str) -> None:
    """Takes an identity's file away, if there is one. Raises StorageError."""
    with disk.explained("remove the identity file"), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(f"{folder}/{ids.stem(agent_id)}.json")


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(".json") and not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _lowered(document: object) -> dict[str, object]:
    return {str(key).lower(): value for key, value in document.items()} if isinstance(document, dict) else {}


def _from_environment(environ: Mapping[str, str]) -> Wanted:
    name, role, module = (environ.get(f"THRUM_{key}", "") for key in ("NAME", "ROLE", "MODULE"))
    if name and not ids.is_agent_id(name):
        raise UsageError(f"THRUM_NAME={name[:80]!r} is no agent's name", "names are lower-case letters, digits and _")
    return Wanted(name, role, module, "environment" if name or role or module else "")


def _merge(flags: Wanted, environment: Wanted) -> Wanted:
    """Flags before environment, word by word. A name given on the command line silences the environment's role and module."""
    flagged = flags.name or flags.role or flags.module
    if flags.name and flags.name != environment.name:
        environment = Wanted()
    source = "flags" if flagged else environment.source
    return Wanted(
        flags.name or environment.name, flags.role or environment.role, flags.module or environment.module, source
    )


def _fits(identity: Identity, wanted: Wanted) -> bool:
    pairs = ((wanted.name, identity.agent_id), (wanted.role, identity.role), (wanted.module, identity.module))
    return all(not asked or asked == had for asked, had in pairs)


def _said(flags: Wanted, wanted: Wanted) -> str:
    """What was asked for, each word as it was given: `--name bob and THRUM_ROLE=planner`."""
    asked = [(word, getattr(wanted, word), getattr(flags, word)) for word in ("name", "role", "module")]
    said = [
        f"--{word} {value}" if flagged else f"THRUM_{word.upper()}={value}" for word, value, flagged in asked if value
    ]
    return " and ".join(said)


def _refusal(there: list[Identity], matching: list[Identity], wanted: Wanted, said: str) -> NoIdentity | Contradiction:
    if not there:
        missing = f": {wanted.name} is not one" if wanted.name else ""
        return NoIdentity(
            f"no agent is set up in this worktree{missing}",
            "git thrum quickstart --role ROLE --module MODULE [--name NAME]",
        )
    if len(matching) > 1:
        return NoIdentity(
            f"several agents work in this worktree: {_listed(matching)}",
            f"choose one: --name {matching[0].agent_id}, or set THRUM_NAME",
        )
    named = [identity for identity in there if identity.agent_id == wanted.name]
    if named or not wanted.name:
        return Contradiction(
            f"{said} on one side, this worktree's identity on the other: {_listed(named or there)}",
            "drop what does not fit",
        )
    return NoIdentity(
        f"no agent {wanted.name} is set up in this worktree; there is {_listed(there)}", "check --name and THRUM_NAME"
    )


def _listed(identities: list[Identity]) -> str:
    return ", ".join(f"{i.agent_id} (role {i.role}, module {i.module})" for i in identities)
