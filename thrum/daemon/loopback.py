"""A TCP port of this machine that only this machine reaches: the same number for IPv4 and, where there is one, IPv6."""

from __future__ import annotations

import contextlib
import errno
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
