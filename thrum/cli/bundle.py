"""The logs carried by hand: `export`, `import`, `backup`."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated

import typer

from thrum import config
from thrum.cli.console import here, settings_of, tell
from thrum.cli.options import Options
from thrum.cli.plan import Local
from thrum.cli.text import count, safe
from thrum.errors import NotInitialised, Refused, StorageError, UsageError
from thrum.git.place import Place
from thrum.sync.exchange import Exchange

_KIB = 1024


def export(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; - is standard output.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there already.")] = False,
) -> Local:
    """A git bundle of the branch a-sync, with everything that is on disk now. No network is needed.

    git thrum export ../mail.bundle
    """
    return Local(lambda options: _pour(options) if file == "-" else _export(options, file, force))


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A bundle of a-sync; - is standard input.")],
    unrelated: Annotated[
        bool, typer.Option("--allow-unrelated", help="Even when its logs have nothing in common with those here.")
    ] = False,
) -> Local:
    """What it holds is added to what is here, nothing is taken away, and a second time changes nothing. No network is needed.

    git thrum import ../mail.bundle
    """
    return Local(lambda options: _import(options, file, unrelated))


def backup(
    folder: Annotated[
        str, typer.Option("--dir", metavar="DIR", help="Where to keep it; else a folder of your own data directory.")
    ] = "",
) -> Local:
    """An export with the time in its name. Every one is kept; `git thrum import FILE` brings back what it holds."""
    return Local(lambda options: _backup(options, folder))


@contextlib.contextmanager
def _exchange(place: Place) -> Iterator[Exchange]:
    from thrum.engine import Engine

    if not place.is_initialised:
        raise NotInitialised("thrum is not set up in this repository", "run `git thrum init`")
    engine = Engine(place, settings_of(place))
    try:
        yield Exchange(place, engine.settings, engine.origin, engine.catch_up)
    finally:
        engine.close()


def _pour(options: Options) -> int:
    if options.json:
        raise UsageError("--json and the bundle cannot share standard output", "name a file")
    if os.isatty(1):
        raise Refused("a bundle is nothing for a terminal", "git thrum export FILE, or pipe it into a program")
    with _exchange(here(options)) as exchange:
        try:
            exchange.pour(sys.stdout.buffer)
        except BrokenPipeError:
            return 1
        except OSError as error:
            raise StorageError(f"the output could not be written: {error.strerror}", "check the disk") from error
    return 0


def _export(options: Options, file: str, force: bool) -> int:
    path = os.path.abspath(file)
    with _exchange(here(options)) as exchange:
        size = exchange.export(path, force=force)
    text = f"wrote {safe(path)} ({_size(size)})\n  to take it in elsewhere: git thrum import {_quoted(path)}\n"
    return tell(options, {"file": path, "bytes": size}, text)


def _import(options: Options, file: str, unrelated: bool) -> int:
    place = here(options)
    with _exchange(place) as exchange, _at_hand(file) as path:
        taken = exchange.take(path, unrelated=unrelated)
    result = {"file": "-" if file == "-" else path, "events": taken.events, "logs": taken.logs}
    came = f"{count(taken.events, 'event')} came, in {count(taken.logs, 'log file')}" if taken.logs else "nothing new"
    return tell(options, result, f"took in {safe(file)}: {came}\n")


def _backup(options: Options, folder: str) -> int:
    place = here(options)
    with _exchange(place) as exchange:
        folder = os.path.abspath(folder) if folder else _own_folder(place)
        path = _free(folder, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))
        size = exchange.export(path)
    told = f"{safe(path)}\n" if options.quiet else f"kept {_size(size)} in {safe(path)}\n{_how(path)}"
    return tell(options, {"file": path, "bytes": size}, told, asked=True)


def _how(path: str) -> str:
    return f"  to bring it back: git thrum import {_quoted(path)}\n"


def _own_folder(place: Place) -> str:
    """This repository's folder for backups, made. Raises StorageError."""
    digest = blake2b(os.fsencode(place.common_dir), digest_size=4).hexdigest()
    path = os.path.join(config.data_dir(), "backups", f"{_title(place)}-{digest}")
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror}", "name another folder with --dir") from error
    return path


def _title(place: Place) -> str:
    return os.path.basename(place.main_worktree or place.common_dir).removesuffix(".git") or "repository"


def _free(folder: str, stamp: str) -> str:
    """A name that is not taken."""
    path, number = os.path.join(folder, f"a-sync-{stamp}.bundle"), 1
    while os.path.lexists(path):
        number += 1
        path = os.path.join(folder, f"a-sync-{stamp}-{number}.bundle")
    return path


@contextlib.contextmanager
def _at_hand(file: str) -> Iterator[str]:
    """The bundle as a file with a full path. Raises StorageError."""
    if file != "-":
        yield os.path.abspath(file)
        return
    with tempfile.TemporaryDirectory(prefix="thrum-") as folder:
        path = f"{folder}/a-sync.bundle"
        try:
            with open(path, "wb") as kept:
                shutil.copyfileobj(sys.stdin.buffer, kept, 1 << 20)
        except OSError as error:
            raise StorageError(f"standard input could not be kept: {error.strerror}", "check the disk") from error
        yield path


def _size(number: int) -> str:
    units = ("bytes", "KiB", "MiB", "GiB")
    at = 0
    amount = float(number)
    while amount >= _KIB and at < len(units) - 1:
        amount, at = amount / _KIB, at + 1
    return f"{number} bytes" if not at else f"{amount:.1f} {units[at]}"


def _quoted(path: str) -> str:
    return shlex.quote(safe(path))
