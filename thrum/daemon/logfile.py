"""The daemon's log: in the user's state directory, rotated, readable by nobody else."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import time
from hashlib import blake2b

from thrum import config
from thrum.errors import StorageError
from thrum.git.place import Place

LARGEST = 5 * 1024 * 1024
KEPT = 3


def path_for(place: Place) -> str:
    """The log of the daemon of `place`'s repository; its folder is made. Raises StorageError."""
    digest = blake2b(os.fsencode(place.common_dir), digest_size=4).hexdigest()
    top = os.path.basename(place.main_worktree or place.common_dir).removesuffix(".git") or "repository"
    folder = os.path.join(config.state_dir(), "log")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}", "check who owns it and its parents") from error
    return os.path.join(folder, f"{top}-{digest}.log")


class _Rotating(logging.handlers.RotatingFileHandler):
    """0600 from the first moment on, and silent when the disk is full."""

    def _open(self):  # type: ignore[no-untyped-def]  # the base class returns a private kind of stream
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding="utf-8", errors="backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the base class's name
        pass


def open_log(place: Place) -> tuple[str, logging.Handler]:
    """Sends everything logged to the file; its path and the handler. Where that fails, stderr and an empty path."""
    handler: logging.Handler
    try:
        path = path_for(place)
        handler = _Rotating(path, maxBytes=LARGEST, backupCount=KEPT)
    except (StorageError, OSError) as error:
        path, handler = "", logging.StreamHandler(sys.stderr)
        handler.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": f"no log file: {error}"}))
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    return path, handler


def close_log(handler: logging.Handler) -> None:
    """Takes the handler away again."""
    logging.getLogger().removeHandler(handler)
    handler.close()
