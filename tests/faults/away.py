"""Runs a piece of a test in a process of its own, where it may fork and trace as it likes; its books come back.

Under pytest there are threads, and children that belong to others.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable

from tests.faults.ledger import Ledger


def away(ledger: Ledger, work: Callable[..., object], /, *, seconds: float = 300, **given: object) -> None:
    """Calls `work(ledger, **given)` in a fresh process; a failure there is one here. What is given has to be JSON."""
    line = [sys.executable, "-m", "tests.faults.away", work.__module__, work.__qualname__, json.dumps(given)]
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=_top(), start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, err[-6000:]
    ledger.add(json.loads(out))


def _top() -> str:
    return os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main(module: str, name: str, given: str) -> None:
    """The child's end."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # nobody outlives the test, and keeps its disk busy
    books = Ledger(module)
    out = os.dup(1)
    os.dup2(2, 1)
    getattr(importlib.import_module(module), name)(books, **json.loads(given))
    with open(out, "w") as file:
        json.dump(books.as_dict(), file)


if __name__ == "__main__":
    main(*sys.argv[1:])
