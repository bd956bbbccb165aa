"""A child process that cannot outstay its welcome: own session, two deadlines, bounded stderr."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

ERR_LIMIT = 1 << 18  # bytes of stderr kept: the last ones
GRACE = 0.5  # seconds to wait for pipes that a grandchild (ssh's ControlPersist, a credential cache) keeps open
CHUNK = 1 << 16


class TookTooLongError(Exception):
    """The child was killed; `args[0]` is the number of seconds it had."""


class _Pump:
    """Feeds stdin and drains stdout and stderr of one process, all at once, without threads."""

    def __init__(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        self.process = process
        self.given = memoryview(given)
        self.out = bytearray()
        self.err = bytearray()
        self.last_sign = time.monotonic()
        self.selector = selectors.DefaultSelector()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                self.selector.register(pipe, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            self.selector.register(process.stdin, selectors.EVENT_WRITE)

    def step(self, wait: float) -> bool:
        """Move what can be moved within `wait` seconds; False when every pipe is closed."""
        if not self.selector.get_map():
            return False
        for key, _ in self.selector.select(wait):
            self.last_sign = time.monotonic()
            if key.fileobj is self.process.stdin:
                self._feed(self.process.stdin)
            else:
                self._drain(key.fileobj)  # type: ignore[arg-type]
        return True

    def _feed(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                self.given = self.given[os.write(pipe.fileno(), self.given[:CHUNK]) :] if self.given else self.given
            except BrokenPipeError:
                self.given = memoryview(b"")
            if not self.given:
                self._close(pipe)

    def _drain(self, pipe: IO[bytes]) -> None:
        data = os.read(pipe.fileno(), CHUNK)
        if not data:
            self._close(pipe)
        elif pipe is self.process.stdout:
            self.out += data
        else:
            self.err += data
            del self.err[:-ERR_LIMIT]

    def _close(self, pipe: IO[bytes]) -> None:
        self.selector.unregister(pipe)
        pipe.close()

    def close(self) -> None:
        for key in list(self.selector.get_map().values()):
            self._close(key.fileobj)  # type: ignore[arg-type]
        self.selector.close()


def spawn(
    command: Sequence[str], cwd: str, env: Mapping[str, str], given: bytes | None, silence: float, total: float
) -> tuple[int, bytes, bytes]:
    """(exit code, stdout, stderr). Raises TookTooLongError after `silence` or `total` seconds, and OSError."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    pump = _Pump(process, given or b"")
    try:
        _until_end(process, pump, silence, time.monotonic() + total)
        return process.wait(), bytes(pump.out), bytes(pump.err)
    except BaseException:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        pump.close()


def _until_end(process: subprocess.Popen[bytes], pump: _Pump, silence: float, end: float) -> None:
    """Until the process ended and its pipes are closed, or have been quiet for the grace after its end."""
    started = time.monotonic()
    while pump.step(0.05 if process.poll() is not None else min(0.5, silence)):
        now = time.monotonic()
        if process.poll() is not None and now - pump.last_sign > GRACE:
            return
        if now - pump.last_sign > silence or now > end:
            raise TookTooLongError(now - started)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, min(silence, end - time.monotonic())))
        return
    raise TookTooLongError(time.monotonic() - started)
