"""The WebSocket's server, with the library's own client: in frames and in order, and nobody able to hurt another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from thrum import eventloop
from thrum.core.jsonrpc import LARGEST_BATCH, LONGEST_LINE
from thrum.daemon import loopback, websocket
from thrum.daemon.gate import Gate
from thrum.daemon.guest import Guest
from thrum.daemon.tokens import Tokens
from thrum.daemon.websocket import House
from thrum.git.place import Place

from .conftest import until
from .fakes import House as Behind
from .fakes import house as behind

pytestmark = pytest.mark.usefixtures("loops")
Json = dict[str, Any]


class Hall:
    """A listening server with an engine of ten lines behind it."""

    def __init__(self, back: Behind, folder: Path) -> None:
        place = Place(str(folder), f"{folder}/.git", f"{folder}/.git", str(folder))
        self.engine, self.feed = back.engine, back.feed
        self.sockets = loopback.listen(20000)
        self.port = loopback.port_of(self.sockets)
        self.tokens = Tokens(place)
        self.token = Path(self.tokens.path).read_text().strip()
        self.guests: list[Guest] = []
        self.pushes: list[Callable[[bytes], None]] = []

        def converse(push: Callable[[bytes], None], user: str) -> Guest:
            self.pushes.append(push)
            self.guests.append(Guest(back.dispatcher, push, user))
            return self.guests[-1]

        self.house = House(Gate(self.port, self.tokens), converse)

    def connect(self, host: str = "127.0.0.1", path: str = "/ws", **more: Any) -> connect:
        headers = {"Authorization": f"Bearer {self.token}"}
        options: Json = {"additional_headers": headers, "proxy": None, "compression": None, "max_size": None}
        return connect(f"ws://{host}:{self.port}{path}", **{**options, **more})


def play(folder: Path, scene: Callable[[Hall], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with behind() as back:
            hall = Hall(back, folder)
            await hall.house.open(hall.sockets)
            try:
                async with asyncio.timeout(60):
                    await scene(hall)
            finally:
                back.engine.gate.set()
                await hall.house.close(1)
                for listening in hall.sockets:
                    listening.close()

    eventloop.run(whole())


def request(method: str, id: Any = 1, **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


async def ask(client: ClientConnection, method: str, **params: Any) -> Json:
    await client.send(request(method, **params))
    answer: Json = json.loads(await client.recv())
    return answer


@asynccontextmanager
async def raw(hall: Hall) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", hall.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_all(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
@pytest.mark.parametrize("path", ["/", "/ws"])
def test_text_and_binary_frames_are_answered_with_text(tmp_path: Path, host: str, path: str) -> None:
    async def scene(hall: Hall) -> None:
        if host == "[::1]" and len(hall.sockets) == 1:
            pytest.skip("no IPv6 here")
        async with hall.connect(host, path) as client:
            assert (await ask(client, "echo", a=1))["result"]["params"] == {"a": 1}
            await client.send(request("echo", id="b", a=2).encode())
            answer = await client.recv()
            assert isinstance(answer, str)
            assert json.loads(answer)["id"] == "b"
            assert client.protocol.extensions == []

    play(tmp_path, scene)


def test_compression_is_not_offered_to_who_wants_it(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect(compression="deflate") as client:
            assert client.protocol.extensions == []
            assert "result" in await ask(client, "echo", text="x" * 100_000)

    play(tmp_path, scene)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {}),
        (401, {"Authorization": "Bearer wrong"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "http://localhost:3000"}),
    ],
)
def test_who_may_not_come_in_hears_so_before_the_upgrade(tmp_path: Path, status: int, headers: Json) -> None:
    async def scene(hall: Hall) -> None:
        if "Origin" in headers:
            headers["Authorization"] = f"Bearer {hall.token}"
        with pytest.raises(InvalidStatus) as refused:
            await hall.connect(additional_headers=headers)
        assert refused.value.response.status_code == status
        assert hall.guests == []

    play(tmp_path, scene)


def test_a_rebound_name_is_refused(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        # The browser believes evil.example to be here, and sends its name.
        uri = f"ws://evil.example:{hall.port}/ws"
        headers = {"Authorization": f"Bearer {hall.token}"}
        with pytest.raises(InvalidStatus) as refused:
            await connect(uri, host="127.0.0.1", port=hall.port, additional_headers=headers, proxy=None)
        assert refused.value.response.status_code == 403

    play(tmp_path, scene)


@pytest.mark.parametrize(
    "said",
    [
        b"POST / HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: text/plain\r\nContent-Length: 63\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost:%d\r\nTransfer-Encoding: chunked\r\n\r\n3f\r\n",
        b"GET /ws?token=\xff HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n",
        b"GET /health HTTP/1.0\r\nHost: localhost:%d\r\nAuthorization: Bearer \xff\xfe\r\n\r\n",
        b"PRI * HTTP/2.0\r\n%d\r\n",
        b"%d",
    ],
)
def test_no_other_protocol_gets_anything_done(tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(hall: Hall) -> None:
        async with raw(hall) as (reader, writer):
            writer.write(said % hall.port + request("say", text="gotcha").encode() + b"\r\n")
            writer.write_eof()
            answer = await read_all(reader)
        assert not answer or answer.startswith((b"HTTP/1.1 4",)), answer
        assert hall.engine.said == []
        assert hall.guests == []

    with caplog.at_level(logging.INFO):
        play(tmp_path, scene)
    assert "Traceback" not in caplog.text


def test_a_browser_logs_in_once(tmp_path: Path) -> None:
    async def get(hall: Hall, path: str, *headers: str) -> str:
        async with raw(hall) as (reader, writer):
            lines = [f"GET {path} HTTP/1.1", f"Host: localhost:{hall.port}", *headers, "", ""]
            writer.write("\r\n".join(lines).encode())
            return (await read_all(reader)).decode()

    async def scene(hall: Hall) -> None:
        login = await get(hall, f"/?token={hall.token}")
        assert login.startswith("HTTP/1.1 303 ")
        cookie = next(line for line in login.split("\r\n") if line.startswith("Set-Cookie: ")).partition(": ")[2]
        assert "HttpOnly" in cookie
        cookie = cookie.partition(";")[0]
        page = await get(hall, "/", f"Cookie: {cookie}")
        assert page.startswith("HTTP/1.1 200 ")
        assert "<title>git thrum</title>" in page
        assert "default-src 'none'" in page
        assert "Server:" not in page
        origin = f"http://localhost:{hall.port}"
        async with hall.connect("localhost", additional_headers={"Cookie": cookie, "Origin": origin}) as client:
            assert "result" in await ask(client, "echo")

    play(tmp_path, scene)


def test_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            for number in range(300):
                await client.send(request("echo", id=number))
            assert [json.loads(await client.recv())["id"] for _ in range(300)] == list(range(300))

    play(tmp_path, scene)


def test_batches_and_notifications(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            silent = {"jsonrpc": "2.0", "method": "say", "params": {"text": "a"}}
            await client.send(json.dumps(silent))
            await client.send(json.dumps([silent]))
            await client.send(json.dumps([silent, {**silent, "id": 1}, 5]))
            answers = json.loads(await client.recv())
            assert [answer.get("id") for answer in answers] == [1, None]
            assert answers[0]["result"] == {"count": 4}
            await client.send("[]")
            assert json.loads(await client.recv())["error"]["code"] == -32600
            await client.send(json.dumps([silent] * (LARGEST_BATCH + 1)))
            assert json.loads(await client.recv())["error"]["code"] == -32600
            await client.send(" " + json.dumps([{**silent, "id": 2}]))
            assert json.loads(await client.recv())[0]["id"] == 2

    play(tmp_path, scene)


def test_garbage_is_answered_and_hurts_nobody(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client, hall.connect() as other:
            for frame in ("", "x", "[" * 100_000, '{"jsonrpc":"2.0","id":1,"method":5}', b"\xff"):
                await client.send(frame)
                assert json.loads(await client.recv())["error"]["code"] in (-32700, -32600)
            await client.send(b"\xff\xfe", text=True)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1007
            assert "result" in await ask(other, "echo")

    play(tmp_path, scene)


def test_the_largest_body_gets_through_and_anything_larger_closes(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            text = '"' * (LONGEST_LINE // 2 - 200)  # every character escaped
            assert len((await ask(client, "echo", text=text))["result"]["params"]["text"]) == len(text)
            with contextlib.suppress(ConnectionClosed):
                await client.send("x" * (LONGEST_LINE + 1))
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd and closed.value.rcvd.code == 1009

    play(tmp_path, scene)


def test_a_message_in_many_fragments_is_no_way_around_the_limit(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            await client.send(iter(["[", *["1,"] * 1000, "1]"]))
            assert json.loads(await client.recv())["error"]["code"] == -32600
            with pytest.raises(ConnectionClosed):
                await client.send(iter(["x" * 100_000] * 60))
                await client.recv()
            assert client.close_code == 1009

    play(tmp_path, scene)


def test_what_only_the_command_line_may_is_not_here(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            for method in ("cli.run", "cli.done"):
                assert (await ask(client, method, argv=["echo"]))["error"]["code"] == -32601

    play(tmp_path, scene)


def test_a_client_that_leaves_stops_waiting(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        client = await hall.connect()
        await client.send(request("wait", wanted="x", timeout=60))
        await until(lambda: hall.feed.listeners == 1)
        client.transport.abort()
        await until(lambda: hall.feed.listeners == 0)
        other = await hall.connect()
        await other.send(request("wait", wanted="x", timeout=60))
        await until(lambda: hall.feed.listeners == 1)
        await other.close()
        await until(lambda: hall.feed.listeners == 0)

    play(tmp_path, scene)


def test_a_wait_holds_up_no_push(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            await client.send(request("wait", wanted="x", timeout=60))
            await until(lambda: hall.feed.listeners == 1)
            hall.pushes[0](b'{"a":"\xc3\xbc"}')
            assert await client.recv() == '{"a":"ü"}'

    play(tmp_path, scene)


def test_who_does_not_read_is_dropped_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(hall: Hall) -> None:
        reads = await hall.connect()
        async with raw(hall) as (_, writer):
            await _shake_hands(hall, writer)
            await until(lambda: len(hall.pushes) == 2)
            frame = json.dumps({"x": "y" * 10_000}).encode()
            for _ in range(5000):
                for push in hall.pushes:
                    push(frame)
                assert await reads.recv() == frame.decode()
                if hall.house.tasks._running:
                    break
            else:
                raise AssertionError("it was borne for ever")
            await until(lambda: len(hall.house._inside) == 1)
        assert "result" in await ask(reads, "echo")
        await reads.close()

    monkeypatch.setattr(websocket, "PARTING", 0.2)
    play(tmp_path, scene)


async def _shake_hands(hall: Hall, writer: asyncio.StreamWriter) -> None:
    lines = [
        "GET /ws HTTP/1.1",
        f"Host: localhost:{hall.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Authorization: Bearer {hall.token}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    writer.transport.pause_reading()  # type: ignore[attr-defined]


def test_who_does_not_read_its_answers_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PATIENCE", 0.3)

    async def scene(hall: Hall) -> None:
        client = await hall.connect(max_queue=1)
        client.transport.pause_reading()
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20):
                await client.send(request("big", size=1_000_000))
        await until(lambda: not hall.house._inside)
        client.transport.abort()

    play(tmp_path, scene)


def test_a_live_client_answers_pings_and_a_dead_one_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING", 0.05)
    monkeypatch.setattr(websocket, "PATIENCE", 0.5)
    monkeypatch.setattr(websocket, "PARTING", 0.2)

    async def scene(hall: Hall) -> None:
        alive = await hall.connect()
        async with raw(hall) as (_, writer):
            await _shake_hands(hall, writer)  # a client that never answers a ping
            await until(lambda: len(hall.house._inside) == 2)
            await until(lambda: len(hall.house._inside) == 1)
        assert "result" in await ask(alive, "echo")
        await alive.close()

    play(tmp_path, scene)


def test_a_busy_client_is_not_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING", 0.05)
    monkeypatch.setattr(websocket, "PATIENCE", 0.2)

    async def scene(hall: Hall) -> None:
        async with hall.connect() as client:
            await client.send(request("wait", id=0, wanted="x", timeout=1))
            for number in range(1, 40):  # more than is read ahead, so no pong is read either
                await client.send(request("echo", id=number))
            assert [json.loads(await client.recv())["id"] for _ in range(40)] == list(range(40))

    play(tmp_path, scene)


def test_a_slow_handshake_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "KNOCKING_TIME", 0.3)

    async def scene(hall: Hall) -> None:
        async with raw(hall) as (reader, writer):
            writer.write(b"GET /ws HTTP/1.1\r\nHost: localh")
            assert await read_all(reader) == b""
        assert not hall.house._knocking

    play(tmp_path, scene)


def test_many_silent_strangers_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_KNOCKING", 4)

    async def scene(hall: Hall) -> None:
        async with contextlib.AsyncExitStack() as stack:
            strangers = [await stack.enter_async_context(raw(hall)) for _ in range(20)]
            ended = [asyncio.create_task(read_all(reader)) for reader, _ in strangers]
            await until(lambda: sum(task.done() for task in ended) >= 16)
            async with hall.connect() as client:
                assert "result" in await ask(client, "echo")
                await until(lambda: len(hall.house._knocking) <= 4)

    play(tmp_path, scene)


def test_there_is_room_for_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "MOST_CONNECTIONS", 2)

    async def scene(hall: Hall) -> None:
        async with hall.connect() as one, hall.connect():
            with pytest.raises(InvalidStatus) as refused:
                await hall.connect()
            assert refused.value.response.status_code == 503
            await one.close()
            await until(lambda: len(hall.house._inside) == 1)
            async with hall.connect() as again:
                assert "result" in await ask(again, "echo")

    play(tmp_path, scene)


def test_the_end_waits_for_the_answer_under_way_and_says_goodbye(tmp_path: Path) -> None:
    async def scene(hall: Hall) -> None:
        async with hall.connect() as busy, hall.connect() as idle:
            await busy.send(request("slow"))
            await until(lambda: any(call[0] == "slow" for call in hall.engine.calls))
            closing = asyncio.create_task(hall.house.close(10))
            await idle.wait_closed()
            assert idle.close_code == 1001
            hall.engine.gate.set()
            assert "result" in json.loads(await busy.recv())
            await busy.wait_closed()
            assert busy.close_code == 1001
            await closing
            assert all(listening.fileno() == -1 for listening in hall.sockets), "nobody listens any more"

    play(tmp_path, scene)


def test_who_does_not_say_goodbye_does_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PARTING", 0.2)

    async def scene(hall: Hall) -> None:
        async with raw(hall) as (_, writer), raw(hall):
            await _shake_hands(hall, writer)
            await until(lambda: len(hall.house._inside) == 1)
            began = asyncio.get_running_loop().time()
            await hall.house.close(0.2)
            assert asyncio.get_running_loop().time() - began < 5

    play(tmp_path, scene)
