"""The Unix socket: a line in, a line out, each client's requests in order, nobody able to hurt anybody else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import stat
import struct
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import cast

from thrum.core import jsonrpc
from thrum.core.jsonrpc import LONGEST_LINE, Lines
from thrum.daemon import turned
from thrum.daemon.delivery import Push
from thrum.daemon.dispatch import Conversation
from thrum.errors import DaemonError, StorageError

MOST_CONNECTIONS = 1024
MOST_HELD = 64 * 1024 * 1024
"""Bytes of lines, unfinished or waiting for their turn, kept for all clients together."""
MOST_QUEUED = 64
"""Lines of one client that wait for their turn before it is no longer read from."""
MOST_WAITING = LONGEST_LINE
"""Bytes of such lines."""
GLANCE = 1.0
"""Seconds between two looks whether a client that is not read from has hung up."""
WRITE_LIMIT = 1024 * 1024
"""Bytes an unread answer may leave in our buffer before the client's next request has to wait."""
MOST_UNREAD = 1024 * 1024
"""Bytes of notifications a client that does not read may have waiting beyond that."""
FAIR_SHARE = 32
"""Answers to one client, after which the others have a turn even if none of the answers had to be waited for."""
PATIENCE = 30.0
"""Seconds a client may leave its answers unread."""

_PEER_CRED = getattr(socket, "SO_PEERCRED", 17)

log = logging.getLogger("thrum.daemon")


class Server:
    """A listening socket and its connections."""

    def __init__(self, path: str, converse: Callable[[Push], Conversation], turned_away: turned.Turned) -> None:
        """Use `listen`."""
        self.path, self.turned_away = path, turned_away
        self._converse = converse
        self._connections: set[Connection] = set()
        self._held = 0
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._is_empty = asyncio.Event()

    @classmethod
    async def listen(
        cls, path: str, converse: Callable[[Push], Conversation], turned_away: turned.Turned | None = None
    ) -> Server:
        """Binds `path` (mode 0600) and answers. The caller holds the daemon's lock. Raises StorageError."""
        server = cls(path, converse, turned_away or turned.Turned())
        await server._open()
        return server

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    async def restore(self) -> bool:
        """Binds anew when the socket's file is gone or somebody else's (`git clean -fdx`); whether that was so."""
        if _inode(self.path) == self._inode:
            return False
        await self._open()
        return True

    async def stop(self, seconds: float) -> None:
        """Accepts nobody any more, lets every client have the answer under way, and closes within `seconds`."""
        self._close_door()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._is_empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._is_empty.wait()
        for connection in list(self._connections):
            connection.abort()

    def admit(self, connection: Connection) -> bool:
        """Counts `connection` in, unless there are too many."""
        if len(self._connections) >= MOST_CONNECTIONS:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()

    def hold(self, more: int) -> None:
        """`more` bytes of lines are held; when that is too much, who holds most has to go."""
        self._held += more
        if self._held > MOST_HELD:
            max(self._connections, key=lambda connection: connection.held).abort()

    async def _open(self) -> None:
        old = self._server
        bound = bind(self.path)
        self._inode = _inode(self.path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self, self._converse), sock=bound, backlog=512)
        if old is not None:
            old.close()

    def _close_door(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._inode and _inode(self.path) == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: Server, converse: Callable[[Push], Conversation]) -> None:
        self._server, self._conversation = server, converse(self.push)
        self._lines = Lines()
        self._queue: deque[bytes | None] = deque()
        self._waiting = 0
        self._task: asyncio.Task[None] | None = None
        self._is_last = False
        self._is_reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._unread = 0

    @property
    def held(self) -> int:
        """Bytes of lines, unfinished or waiting for their turn."""
        return self._lines.held + self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Lets the user's own processes in, as long as there is room."""
        self._transport = cast(asyncio.Transport, transport)
        if _peer_uid(transport.get_extra_info("socket")) != os.geteuid():
            self._server.turned_away.note(turned.USER)
            self.abort()
        elif not self._server.admit(self):
            self._server.turned_away.note(turned.ROOM)
            full = DaemonError("the daemon has too many connections", "close some of them")
            self._write(jsonrpc.failure(None, full.code, str(full), {"kind": full.kind, "hint": full.hint}))
            self._transport.close()
        else:
            self._transport.set_write_buffer_limits(high=WRITE_LIMIT)

    def data_received(self, data: bytes) -> None:
        """Queues the complete lines; reads no more while many of them wait."""
        before, lines = self.held, self._lines.feed(data)
        self._queue.extend(lines)
        self._waiting += sum(len(line) for line in lines if line)
        self._server.hold(self.held - before)
        if (len(self._queue) > MOST_QUEUED or self._waiting > MOST_WAITING) and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(GLANCE, self._glance)
        if self._queue and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._serve())

    def eof_received(self) -> bool:
        """The client says no more: what it asked is answered, what it waited for is not."""
        self._is_last = True
        self._conversation.hang_up()
        return self._task is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """Drops everything that belonged to the client."""
        self._conversation.hang_up()
        if self._task is not None:
            self._task.cancel()
        self._server.hold(-self.held)
        self._queue.clear()
        self._lines, self._waiting = Lines(), 0
        self._server.forget(self)

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        self._writable.clear()
        self._unread = 0

    def resume_writing(self) -> None:
        """It does again."""
        self._writable.set()
        self._conversation.resume()

    def push(self, frame: bytes) -> bool:
        """Sends what it did not ask for just now; never waits. Whether it has to read first, or is dropped."""
        self._write(frame)
        if self._writable.is_set() or self._transport.is_closing():
            return False
        self._unread += len(frame)
        if self._unread > MOST_UNREAD:
            log.warning("a client that does not read its notifications was dropped")
            self.abort()
        return True

    def finish(self) -> None:
        """Closes as soon as nothing is under way; at once when the client does not even read what it was told."""
        self._is_last = True
        if not self._writable.is_set():
            self.abort()
        elif self._task is None:
            self._close()

    def abort(self) -> None:
        """Closes now."""
        self._transport.abort()

    async def _serve(self) -> None:
        """Answers the queued lines, one after another."""
        try:
            for turn in count(1):
                if not self._queue:
                    break
                self._write(await self._conversation.answer(self._take()))
                self._conversation.settle()
                if turn % FAIR_SHARE == 0:
                    await asyncio.sleep(0)
                if not self._writable.is_set():
                    async with asyncio.timeout(PATIENCE):
                        await self._writable.wait()
                self._read_on()
        except TimeoutError:
            log.warning("a client that does not read its answers was dropped")
            self.abort()
        except asyncio.CancelledError:
            self._is_last = True
        except Exception:  # rather no answer any more than one that belongs to another question
            log.exception("a connection failed")
            self.abort()
        finally:
            self._task = None
            if self._is_last:
                self._close()

    def _take(self) -> bytes | None:
        line = self._queue.popleft()
        if line:
            self._waiting -= len(line)
            self._server.hold(-len(line))
        return line

    def _read_on(self) -> None:
        is_short = len(self._queue) <= MOST_QUEUED // 2 and self._waiting <= MOST_WAITING // 2
        if not self._is_reading and is_short and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _glance(self) -> None:
        """Notices that a client has hung up while it is not read from: what it waited for would stand in its way for long."""
        if self._is_reading or self._transport.is_closing():
            return
        if _has_hung_up(self._transport.get_extra_info("socket")):
            self._conversation.hang_up()
        else:
            asyncio.get_running_loop().call_later(GLANCE, self._glance)

    def _write(self, answer: bytes) -> None:
        if answer and not self._transport.is_closing():
            self._transport.write(answer + b"\n")

    def _close(self) -> None:
        if not self._transport.is_closing():
            self._transport.close()
            asyncio.get_running_loop().call_later(PATIENCE, self._transport.abort)


def _has_hung_up(connected: socket.socket) -> bool:
    """Whether the other end says no more, though not all that it said may have been read."""
    poll = select.poll()
    poll.register(connected.fileno(), getattr(select, "POLLRDHUP", 0))  # a closed end is told without being asked for
    return bool(poll.poll(0))


def bind(path: str) -> socket.socket:
    """A socket bound to `path` (0600) in a directory of our own (0700), in place of a leftover one. Raises StorageError.

    Only for the holder of the daemon's lock: the leftover is removed without asking whether somebody listens.
    """
    _own_folder(os.path.dirname(path))
    _remove_leftover(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0))
    umask = os.umask(0o177)  # at bind, so that there is no moment at which others may connect
    try:
        bound.bind(path)
    except OSError as error:
        bound.close()
        raise StorageError(
            f"cannot make the socket {path}: {error.strerror or error}", "check the disk and who owns the directory"
        ) from error
    finally:
        os.umask(umask)
    bound.setblocking(False)
    return bound


def _own_folder(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.stat(folder)
        if found.st_uid == os.geteuid() and found.st_mode & 0o077:
            os.chmod(folder, 0o700)
    except OSError as error:
        raise StorageError(f"cannot make {folder}: {error.strerror}", "check who owns it and its parents") from error
    if found.st_uid != os.geteuid():
        raise StorageError(f"{folder} belongs to another user", "remove it, or run the daemon as its owner")


def _remove_leftover(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StorageError(f"{path} is in the way: it is no socket", "move it elsewhere and start again")
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"cannot remove the old socket {path}: {error.strerror}", "check who owns it") from error


def _inode(path: str) -> int:
    """The file's inode number, 0 when there is none."""
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def _peer_uid(connected: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel knows it; -1 when it does not tell."""
    try:
        if hasattr(socket, "LOCAL_PEERCRED"):  # the BSDs: struct xucred {version, uid, ...} at level 0
            return int(struct.unpack("Ii", connected.getsockopt(0, socket.LOCAL_PEERCRED, 8))[1])
        return int(struct.unpack("iii", connected.getsockopt(socket.SOL_SOCKET, _PEER_CRED, 12))[1])
    except (OSError, struct.error):
        return -1
