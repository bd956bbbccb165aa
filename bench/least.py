"""The least that a daemon in Python does, of two kinds. No product of ours: what our daemon takes beyond these is its own.

`python -m bench.least SOCKET FILE [sends]` listens until it is ended, and prints a line once it does. It reads a
request as JSON, has a thread write and flush a line, and answers. What waits together is flushed together, as ours does
it. With `sends` the line is a message: an event with its ids, in its canonical form, with the hash of the one before;
its rows are filed after the answer. Nothing is checked, nobody is asked who speaks or who is meant, and nobody else may
write.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, cast

from thrum import eventloop
from thrum.core import clock, codec, ids, jsonrpc
from thrum.daemon.app import TURN
from thrum.store import database, schema
from thrum.store.log import line_hash

Json = dict[str, Any]
_Job = tuple["asyncio.Future[Json]", Json]
_PATH = "messages/lead/8tfk0v7kzbqd/0000/00.jsonl"
MOST_TOGETHER = 32


class Least(asyncio.Protocol):
    """One connection."""

    def __init__(self, jobs: SimpleQueue[_Job]) -> None:
        self._jobs = jobs

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for request in data.split(b"\n")[:-1]:
            self._task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: bytes) -> None:
        asked = cast(jsonrpc.Request, jsonrpc.parse(request))
        answer = asyncio.get_running_loop().create_future()
        self._jobs.put((answer, asked.params))
        self._transport.write(jsonrpc.result(asked.id, jsonrpc.encode(await answer)) + b"\n")


class Lines:
    """Writes the same line for every request."""

    def make(self, params: Json) -> tuple[bytes, Json]:
        """A line, and the answer."""
        return b"x" * 600 + b"\n", {"message_id": "msg_" + "0" * 26}

    def file(self) -> None:
        """Files what was made."""


class Sends(Lines):
    """Writes a message for every request, and files it."""

    def __init__(self, path: str) -> None:
        self._ulids, self._prev, self._seq, self._ends = ids.Ulids(), "", 0, 0
        self._rows: list[tuple[Any, ...]] = []
        self._told: list[tuple[str, int, str, str]] = []
        self._sql = sqlite3.connect(path, isolation_level=None)
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute("PRAGMA synchronous = OFF")
        schema.create(self._sql)

    def make(self, params: Json) -> tuple[bytes, Json]:
        me, to, instant = params["caller_agent_id"], [word.removeprefix("@") for word in params["to"]], time.time_ns()
        event_id, stamp = "evt_" + self._ulids.next(instant, os.urandom(10)), clock.text(instant)
        message_id, self._seq = ids.bound_id("msg", me, event_id), self._seq + 1
        event = {
            "type": "message.create", "timestamp": stamp, "event_id": event_id, "message_id": message_id, "agent_id": me,
            "body": {"format": "markdown", "content": params["content"]}, "to": to,
            "refs": [{"type": "mention", "value": word} for word in to],
            "v": 1, "origin": "8tfk0v7kzbqd", "seq": self._seq, "prev": self._prev,
        }  # fmt: skip
        line = codec.encode(event)
        self._prev, self._ends = line_hash(line), self._ends + len(line) + 1
        self._rows.append((message_id, me, me, None, 0, instant, "normal", line, _PATH, self._ends))
        self._told += [(who, instant, message_id, me) for who in to]
        answer = {
            "message_id": message_id,
            "created_at": stamp,
            "from": me,
            "recipients": to,
            "recipient_count": len(to),
        }
        return line + b"\n", answer

    def file(self) -> None:
        with database.transaction(self._sql):
            self._sql.executemany(
                "INSERT INTO message (message_id, owner, agent_id, thread_id, everyone, at, priority, line, path, ends) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._rows,
            )
            self._sql.executemany("INSERT INTO audience VALUES (?, ?, ?, ?)", self._told)
            tags = [("ref", "mention", who, at, message_id) for who, at, message_id, _ in self._told]
            self._sql.executemany("INSERT INTO tag VALUES (?, ?, ?, ?, ?)", tags)
            self._sql.execute("INSERT OR REPLACE INTO segment VALUES (?, 1, ?, 1, ?)", (_PATH, self._ends, b""))
        self._rows, self._told = [], []


def write(jobs: SimpleQueue[_Job], path: str, loop: asyncio.AbstractEventLoop, prepare: Callable[[], Lines]) -> None:
    """Writes and flushes what waits, and says so, for ever."""
    descriptor, lines = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), prepare()
    while True:
        taken = [jobs.get()]
        while not jobs.empty() and len(taken) < MOST_TOGETHER:
            taken.append(jobs.get())
        made = [lines.make(params) for _, params in taken]
        os.write(descriptor, b"".join(line for line, _ in made))
        os.fdatasync(descriptor)
        answers = [(future, answer) for (future, _), (_, answer) in zip(taken, made, strict=True)]
        loop.call_soon_threadsafe(lambda told: [future.set_result(answer) for future, answer in told], answers)
        lines.file()


async def main(address: str, path: str, kind: str = "") -> None:
    """Listens for ever."""
    jobs: SimpleQueue[_Job] = SimpleQueue()
    loop = asyncio.get_running_loop()
    prepare: Callable[[], Lines] = (lambda: Sends(f"{path}.db")) if kind else Lines
    threading.Thread(target=write, args=(jobs, path, loop, prepare), daemon=True).start()
    server = await loop.create_unix_server(lambda: Least(jobs), address)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.setswitchinterval(TURN)
    eventloop.run(main(*sys.argv[1:]))
