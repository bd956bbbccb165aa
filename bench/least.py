"""The least that a daemon in Python does: read a request, have a thread write and flush a line, answer. No product of ours.

`python -m bench.least SOCKET FILE` listens until it is ended, and prints a line once it does. What waits together is flushed
together, as ours does it. What our daemon takes beyond this is its own; below this no asyncio daemon gets.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from queue import SimpleQueue
from typing import cast

from thrum import eventloop
from thrum.daemon.app import TURN

_Job = tuple["asyncio.Future[None]", bytes]


class Least(asyncio.Protocol):
    """One connection."""

    def __init__(self, jobs: SimpleQueue[_Job], line: bytes) -> None:
        self._jobs, self._line = jobs, line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for request in data.split(b"\n")[:-1]:
            self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: bytes) -> None:
        asked = json.loads(request)
        written = asyncio.get_running_loop().create_future()
        self._jobs.put((written, self._line))
        await written
        answer = {"jsonrpc": "2.0", "id": asked["id"], "result": {"message_id": "msg_" + "0" * 26}}
        self._transport.write(json.dumps(answer).encode() + b"\n")


def write(jobs: SimpleQueue[_Job], path: str, loop: asyncio.AbstractEventLoop) -> None:
    """Writes and flushes what waits, and says so, for ever."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    while True:
        taken = [jobs.get()]
        while not jobs.empty():
            taken.append(jobs.get())
        os.write(descriptor, b"".join(line for _, line in taken))
        os.fdatasync(descriptor)
        loop.call_soon_threadsafe(lambda done: [written.set_result(None) for written, _ in done], taken)


async def main(address: str, path: str) -> None:
    """Listens for ever."""
    jobs: SimpleQueue[_Job] = SimpleQueue()
    loop, line = asyncio.get_running_loop(), b"x" * 600 + b"\n"
    threading.Thread(target=write, args=(jobs, path, loop), daemon=True).start()
    server = await loop.create_unix_server(lambda: Least(jobs, line), address)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.setswitchinterval(TURN)
    eventloop.run(main(*sys.argv[1:]))
