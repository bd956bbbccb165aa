"""The socket: nobody gets in who should not, and nobody who does can hurt another."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from thrum import eventloop
from thrum.daemon import unix
from thrum.daemon.unix import Server
from thrum.errors import StorageError

from .conftest import until
from .fakes import House, house

pytestmark = pytest.mark.usefixtures("loops")
Json = dict[str, Any]
Scene = Callable[[House, Server], Awaitable[None]]


def play(path: Path, scene: Scene) -> None:
    async def whole() -> None:
        async with house() as made:
            server = await Server.listen(str(path / "var" / "thrum.sock"), made.dispatcher.open)
            try:
                await scene(made, server)
            finally:
                made.engine.gate.set()
                await server.stop(5)
                assert server.connections == 0

    eventloop.run(whole())


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, method: str, id: Any = 1, **params: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode() + b"\n")

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> Json:
        answer: Json = json.loads(await asyncio.wait_for(self.reader.readline(), 20))
        return answer

    async def ask(self, method: str, **params: Any) -> Json:
        self.send(method, **params)
        return await self.receive()


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(server.path, limit=1 << 26)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(server.path)).st_mode) == 0o700

    play(tmp_path, scene)


def test_another_users_process_is_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House, server: Server) -> None:
        monkeypatch.setattr(unix, "_peer_uid", lambda connected: os.geteuid() + 1)
        async with client(server) as stranger:
            stranger.send("echo")
            with pytest.raises((ConnectionError, json.JSONDecodeError)):
                await stranger.receive()
        assert house.engine.calls == []

    play(tmp_path, scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play another user")
def test_even_an_open_socket_serves_no_other_user() -> None:
    folder = tempfile.mkdtemp()
    os.chmod(folder, 0o755)

    async def scene(house: House, server: Server) -> None:
        os.chmod(os.path.dirname(server.path), 0o777)
        os.chmod(server.path, 0o777)
        say = "import socket,sys;s=socket.socket(1);s.connect(sys.argv[1]);s.send(b'{}\\n');print(s.recv(9))"
        line = ("/usr/bin/env", "python3", "-c", say, server.path)
        nobody = functools.partial(subprocess.run, line, user=65534, group=65534, capture_output=True, cwd="/")
        said = (await asyncio.to_thread(nobody)).stdout
        assert b"jsonrpc" not in said
        assert said.strip() in (b"", b"b''")

    play(Path(folder), scene)
    shutil.rmtree(folder)


def test_a_flood_of_garbage_does_not_keep_others_waiting(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as flooder, client(server) as modest:
            flooder.write(b"\n" * 200_000)
            began = time.monotonic()
            assert "result" in await modest.ask("echo")
            assert time.monotonic() - began < 3
            flooder.writer.transport.abort()

    play(tmp_path, scene)


def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    leftover = socket.socket(socket.AF_UNIX)
    leftover.bind(str(tmp_path / "var" / "thrum.sock"))
    leftover.close()

    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            assert "result" in await one.ask("echo")

    play(tmp_path, scene)


def test_a_file_in_the_sockets_place_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "thrum.sock").write_text("precious")
    with pytest.raises(StorageError, match="no socket"):
        unix.bind(str(tmp_path / "thrum.sock"))
    assert (tmp_path / "thrum.sock").read_text() == "precious"


def test_a_socket_that_cannot_be_made_is_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make"):
        unix.bind(str(tmp_path / "file" / "thrum.sock"))
    with pytest.raises(StorageError, match="cannot make the socket"):
        unix.bind(str(tmp_path / ("x" * 120)))


def test_requests_of_one_client_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for number in range(500):
                one.send("echo", number, n=number)
            for number in range(500):
                assert (await one.receive())["id"] == number

    play(tmp_path, scene)


def test_a_request_may_come_in_any_pieces(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for byte in b'{"jsonrpc":"2.0","id":1,"method":"echo"}\n':
                one.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await one.receive())["id"] == 1

    play(tmp_path, scene)


def test_garbage_is_answered_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for line, code in ((b"\n", -32700), (b"\xff\n", -32700), (b"{}\n", -32600), (b"[" * 10**5 + b"\n", -32700)):
                one.write(line)
                assert (await one.receive())["error"]["code"] == code
            assert "result" in await one.ask("echo")

    play(tmp_path, scene)


def test_a_huge_line_is_refused_without_being_kept(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for _ in range(100):
                one.write(b"x" * (1 << 20))
                await one.writer.drain()
            assert (await one.receive())["error"]["code"] == -32600
            assert server._held == 0
            one.write(b"\n")
            assert "result" in await one.ask("echo")

    play(tmp_path, scene)


def test_who_holds_most_unfinished_bytes_has_to_go_when_there_are_too_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "MOST_HELD", 1000)

    async def scene(house: House, server: Server) -> None:
        async with client(server) as greedy, client(server) as modest:
            greedy.write(b"x" * 900)
            await until(lambda: server._held == 900)
            modest.write(b"x" * 200)
            assert await greedy.reader.read() == b""
            modest.write(b"\n")
            assert "error" in await modest.receive()

    play(tmp_path, scene)


def test_a_half_request_and_a_disconnect_hurt_nobody(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for _ in range(50):
                async with client(server) as rude:
                    rude.write(b'{"jsonrpc":"2.0","id":1,"met')
            assert "result" in await one.ask("echo")
            await until(lambda: server.connections == 1)
            assert server._held == 0

    play(tmp_path, scene)


def test_who_says_no_more_is_still_answered(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            one.send("echo")
            one.send("echo", 2)
            one.writer.write_eof()
            assert [(await one.receive())["id"] for _ in range(2)] == [1, 2]
            assert await one.reader.read() == b""

    play(tmp_path, scene)


def test_a_waiting_client_blocks_nobody_and_is_forgotten_when_it_leaves(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as other:
            async with client(server) as waiting:
                waiting.send("wait", wanted="never")
                await until(lambda: house.feed.listeners)
                assert "result" in await other.ask("echo")
            await until(lambda: not house.feed.listeners)
            assert "result" in await other.ask("echo")

    play(tmp_path, scene)


def test_what_a_client_that_left_asked_to_wait_for_keeps_nobody(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as other:
            for _ in range(5):
                async with client(server) as gone:
                    gone.write(b'{"jsonrpc":"2.0","method":"echo"}\n')  # a notification: nothing is written to the gone
                    gone.send("wait", 2, wanted="never", timeout=3600)
            await until(lambda: server.connections == 1)
            assert not house.feed.listeners and "result" in await other.ask("echo")

    play(tmp_path, scene)


def test_a_client_is_seen_to_leave_though_it_asked_for_more_than_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix, "GLANCE", 0.05)

    async def scene(house: House, server: Server) -> None:
        async with client(server):
            async with client(server) as gone:
                gone.send("wait", wanted="never", timeout=3600)
                for number in range(unix.MOST_QUEUED + 10):
                    gone.send("echo", number)
                await gone.writer.drain()
                await until(lambda: house.feed.listeners)
            await until(lambda: server.connections == 1)
            assert not house.feed.listeners and not server._held

    play(tmp_path, scene)


def test_lines_that_wait_are_held_to_a_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "MOST_WAITING", 100_000)

    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            one.send("slow")
            for number in range(50):
                one.send("echo", number, text="x" * 50_000)
            await until(lambda: server._held > 100_000)
            await asyncio.sleep(0.1)
            assert server._held < 1_000_000
            house.engine.gate.set()
            await one.receive()
            assert [(await one.receive())["id"] for _ in range(50)] == list(range(50))
            await until(lambda: not server._held)

    play(tmp_path, scene)


def test_an_id_without_an_end_is_refused_and_the_next_request_answered(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            for depth in (500, 900, *range(940, 1000, 3)):
                one.write(b'{"jsonrpc":"2.0","method":"echo","id":' + b"[" * depth + b"]" * depth + b"}\n")
                answer = await asyncio.wait_for(one.reader.readline(), 20)
                assert b'"result"' in answer or b"-32700" in answer
            assert "result" in await one.ask("echo")

    play(tmp_path, scene)


def test_a_connection_that_fails_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            monkeypatch.setattr("thrum.core.jsonrpc.parse", lambda line: 1 / 0)
            one.send("echo")
            assert await asyncio.wait_for(one.reader.read(), 20) == b""
            await until(lambda: not server.connections)

    play(tmp_path, scene)


def test_an_idle_client_is_kept(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as one:
            await one.ask("echo")
            await asyncio.sleep(0.2)
            assert "result" in await one.ask("echo")

    play(tmp_path, scene)


def test_one_client_too_many_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "MOST_CONNECTIONS", 2)

    async def scene(house: House, server: Server) -> None:
        async with client(server) as a, client(server) as b:
            await a.ask("echo")
            await b.ask("echo")
            async with client(server) as third:
                assert "too many" in (await third.receive())["error"]["message"]
            assert "result" in await a.ask("echo")

    play(tmp_path, scene)


def test_who_never_reads_is_dropped_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "PATIENCE", 0.3)

    async def scene(house: House, server: Server) -> None:
        async with client(server) as other, client(server) as deaf:
            deaf.writer.transport.pause_reading()
            for number in range(20):
                deaf.send("big", number, size=1 << 20)
            await until(lambda: any(call[0] == "big" for call in house.engine.calls))
            assert "result" in await other.ask("echo")
            await until(lambda: server.connections == 1)
            assert sum(call[0] == "big" for call in house.engine.calls) < 20
            assert "result" in await other.ask("echo")

    play(tmp_path, scene)


def test_stopping_lets_the_request_under_way_finish(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as busy, client(server) as idle, client(server) as waiting:
            busy.send("slow")
            waiting.send("wait", wanted="x")
            await idle.ask("daemon.status")
            await until(lambda: any(call[0] == "slow" for call in house.engine.calls))
            house.dispatcher.stop()
            stopping = asyncio.create_task(server.stop(10))
            assert await idle.reader.read() == b""
            assert not os.path.exists(server.path)
            assert not stopping.done()
            house.engine.gate.set()
            assert "result" in await busy.receive()
            assert "stopping" in (await waiting.receive())["error"]["message"]
            await asyncio.wait_for(stopping, 5)

    play(tmp_path, scene)


def test_stopping_does_not_wait_for_ever(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as busy:
            busy.send("slow")
            await until(lambda: house.engine.calls)
            await asyncio.wait_for(server.stop(0.1), 5)

    play(tmp_path, scene)


def test_a_socket_that_somebody_removed_is_made_anew(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        async with client(server) as old:
            assert not await server.restore()
            os.unlink(server.path)
            os.rmdir(os.path.dirname(server.path))
            assert await server.restore()
            assert "result" in await old.ask("echo")
            async with client(server) as new:
                assert "result" in await new.ask("echo")

    play(tmp_path, scene)


def test_a_socket_that_is_somebody_elses_now_is_left_alone(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        os.unlink(server.path)
        Path(server.path).write_text("theirs")
        await server.stop(1)
        assert Path(server.path).read_text() == "theirs"

    play(tmp_path, scene)


def test_who_does_not_read_its_notifications_is_dropped(tmp_path: Path) -> None:
    async def scene(house: House, server: Server) -> None:
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(server.path)
            await until(lambda: server.connections == 1)
            (connection,) = server._connections
            for _ in range(10_000):
                if not server.connections:
                    break
                connection.push(b"x" * 10_000)
                await asyncio.sleep(0)
            assert not server.connections
        async with client(server) as other:
            assert "result" in await other.ask("echo")

    play(tmp_path, scene)
