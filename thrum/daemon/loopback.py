"""A TCP port of this machine that only this machine reaches: the same number for IPv4 and, where there is one, IPv6."""

from __future__ import annotations

import contextlib
import errno
import os
import socket

TRIES = 100
"""Ports that are tried from the wanted one on, before any free one will do."""
BACKLOG = 128
_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_TAKEN = (errno.EADDRINUSE, errno.EACCES)
_ABSENT = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen(wanted: int) -> list[socket.socket]:
    """Sockets that listen on `wanted`, else on the next port free in both families. Raises OSError."""
    for port in range(wanted, min(wanted + TRIES, 65536)):
        with contextlib.suppress(_Taken):
            return _listen_on(port)
    for _ in range(TRIES):
        with contextlib.suppress(_Taken):
            return _listen_on(0)
    raise OSError(errno.EADDRINUSE, f"no port is free from {wanted} on")


def port_of(listening: list[socket.socket]) -> int:
    """Their common port."""
    return int(listening[0].getsockname()[1])


def is_taken(port: int) -> bool:
    """Whether somebody listens on the port; asked of the kernel's table, else by a try."""
    if os.path.exists("/proc/net/tcp"):
        return bool(_listening(port))
    try:
        for listening in _listen_on(port):
            listening.close()
    except (_Taken, OSError):
        return True
    return False


def holder(port: int) -> str:
    """Who listens on the port of the loopback, as `name (pid 123)`; "" when the system does not tell us."""
    wanted = _listening(port)
    for pid in sorted(filter(str.isdecimal, os.listdir("/proc")), key=int) if wanted and os.path.isdir("/proc") else []:
        if wanted & _sockets_of(pid):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                return f"{file.read().strip()} (pid {pid})"
    return ""


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on a port, from the kernel's own table."""
    found = set[str]()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as file:
            rows = [line.split() for line in file.read().splitlines()[1:]]
            found |= {row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")}
    return found


def _sockets_of(pid: str) -> set[str]:
    """The inodes of a process's sockets; none where we may not look."""
    found = set[str]()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{name}").partition(":")
                found |= {inode.strip("[]")} if kind == "socket" else set()
    return found


class _Taken(Exception):
    """Somebody else has the port, or may have it."""


def _listen_on(port: int) -> list[socket.socket]:
    """One socket for each family there is; port 0 lets the system choose the first one's."""
    opened: list[socket.socket] = []
    try:
        for family, address in _ADDRESSES:
            found = _open(family, address, port)
            if found is not None:
                opened.append(found)
                port = port_of(opened)
        if not opened:
            raise OSError(errno.EADDRNOTAVAIL, "this machine has no loopback")
    except BaseException:
        for one in opened:
            one.close()
        raise
    return opened


def _open(family: int, address: str, port: int) -> socket.socket | None:
    """A listening socket, None where the family does not exist. Raises _Taken, OSError."""
    made = None
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what a daemon before us left is in nobody's way
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
        made.listen(BACKLOG)  # only this finds out that two bound the same port at the same time
        made.setblocking(False)
    except OSError as error:
        if made is not None:
            made.close()
        if error.errno in _ABSENT:
            return None
        if error.errno in _TAKEN:
            raise _Taken from None
        raise
    return made
