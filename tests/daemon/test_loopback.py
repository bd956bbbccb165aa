"""A port on the loopback, in both families."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from thrum.daemon import loopback


@contextmanager
def listening(wanted: int) -> Iterator[list[socket.socket]]:
    sockets = loopback.listen(wanted)
    try:
        yield sockets
    finally:
        for one in sockets:
            one.close()


@contextmanager
def taken(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that somebody else listens on."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as other:
        try:
            other.bind((address, port))
        except OSError:
            pytest.skip(f"no {address} here")
        other.listen()
        yield other.getsockname()[1]


def test_both_families_have_the_same_port_and_nobody_else_is_let_in() -> None:
    with taken() as port:
        pass
    with listening(port) as sockets:
        addresses = [one.getsockname()[0] for one in sockets]
        assert addresses in (["127.0.0.1", "::1"], ["127.0.0.1"])
        assert {one.getsockname()[1] for one in sockets} == {loopback.port_of(sockets)}
        for one in sockets:
            with socket.socket(one.family) as client:
                client.connect(one.getsockname()[:2])


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_taken_port_is_passed_over_in_whichever_family_it_is_taken(address: str) -> None:
    with taken(address) as port, listening(port) as sockets:
        assert port < loopback.port_of(sockets) <= port + loopback.TRIES


def test_two_at_once_get_two_ports() -> None:
    with taken() as port:
        pass
    with listening(port) as one, listening(port) as other:
        assert loopback.port_of(one) != loopback.port_of(other)


def test_where_everything_is_taken_any_port_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken() as port:
        monkeypatch.setattr(loopback, "TRIES", 1)
        with listening(port) as sockets:
            assert loopback.port_of(sockets) not in (0, port)


def test_the_last_port_is_the_last_one_tried() -> None:
    with taken(port=65535), listening(65535) as sockets:
        assert loopback.port_of(sockets) not in (0, 65535)


def test_a_machine_without_ipv6_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_ADDRESSES", ((socket.AF_INET, "127.0.0.1"), (9999, "::1")))
    with taken() as port:
        pass
    with listening(port) as sockets:
        assert [one.family for one in sockets] == [socket.AF_INET]


def test_whoever_holds_a_port_is_named() -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        port = squatter.getsockname()[1]
        assert not loopback.is_taken(port)
        squatter.listen()
        assert loopback.is_taken(port)
        assert loopback.holder(port).endswith(f"(pid {os.getpid()})")
    assert not loopback.is_taken(port) and loopback.holder(port) == ""
