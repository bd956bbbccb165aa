"""Every object below a commit, read and hashed again: git itself checks hashes when objects come, not when it reads them."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections import Counter
from typing import IO, NamedTuple

from thrum.git.command import SAFE, clean, clean_env
from thrum.git.plumbing import LOCAL

_CHUNK = 1 << 20
_FEW = 20


class Examined(NamedTuple):
    """How many objects of each kind there were, their bytes, and a sentence for each that is not as it should be."""

    kinds: Counter[str]
    size: int
    faults: list[str]


def examine(common_dir: str, commit: str) -> Examined:
    """Reads everything below `commit`, one piece of an object in memory at a time; at most some faults are listed."""
    listing = ["rev-list", "--objects", "--no-object-names", "--missing=print", commit, "--"]
    with (
        _git(common_dir, listing) as lister,
        _git(common_dir, ["cat-file", "--batch", "--buffer"], lister.stdout) as cat,
    ):
        if lister.stdout is not None:
            lister.stdout.close()  # it is the other's now
        found = _read_all(cat, len(commit))
        cat.kill()
        faults = [*found.faults, *_last_words(cat), *_last_words(lister)]
        lister.kill()
    return found._replace(faults=faults[:_FEW])


def _git(common_dir: str, args: list[str], given: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["git", *(word for setting in SAFE for word in ("-c", setting)), *args],
        cwd=common_dir,
        env={**clean_env(), **LOCAL},
        stdin=given if given is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _read_all(cat: subprocess.Popen[bytes], digits: int) -> Examined:
    kinds, size, faults = Counter[str](), 0, list[str]()
    out = cat.stdout
    while out is not None and (words := out.readline().split()):
        if len(words) != 3:
            faults.append(f"object {words[0].decode('ascii', 'replace').lstrip('?')[:12]} is missing")
            continue
        oid, kind, length = words[0].decode("ascii"), words[1].decode("ascii"), int(words[2])
        kinds[kind] += 1
        size += length
        if _hash(out, kind, length, digits) != oid:
            faults.append(f"{kind} {oid[:12]} is damaged: its content is not what its name says")
    return Examined(kinds, size, faults)


def _hash(out: IO[bytes], kind: str, length: int, digits: int) -> str:
    """The name that the object's content gives it."""
    digest = hashlib.sha256() if digits == 64 else hashlib.sha1(usedforsecurity=False)
    digest.update(f"{kind} {length}\0".encode())
    while length:
        piece = out.read(min(length, _CHUNK))
        if not piece:
            return ""
        digest.update(piece)
        length -= len(piece)
    out.read(1)  # the line end behind it
    return digest.hexdigest()


def _last_words(process: subprocess.Popen[bytes]) -> list[str]:
    """What git complained about, if it did."""
    with contextlib.suppress(OSError, ValueError):
        said = process.stderr.read(1 << 16) if process.stderr is not None else b""
        lines = [line for line in clean(said.decode("utf-8", "replace")).splitlines() if line.strip()]
        return [f"git says: {line.strip()[:200]}" for line in lines[:3]]
    return []
