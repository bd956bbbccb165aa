"""Standard output: whole lines, one after another, and what follows an answer follows it only when it was written."""

import contextlib
import json
import os
import socket
import tempfile

import anyio
import pytest
from anyio import to_thread
from mcp.shared.message import SessionMessage
from mcp_types import ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCResponse

from thrum.mcp.wire import Wire


def answer(number, **result):
    return SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=number, result=result))


@pytest.fixture
def pipe():
    """The two ends of a pipe."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_many_writers_never_tear_a_line(pipe):
    reading, writing = pipe

    async def write_all():
        wire = Wire(writing)
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(wire.send, answer(number, text="é" * 50_000))
            return await anyio.to_thread.run_sync(read_lines, reading, 20)

    lines = anyio.run(write_all)
    assert sorted(json.loads(line)["id"] for line in lines) == list(range(20))


def read_lines(reading, count):
    with os.fdopen(os.dup(reading), "rb") as stream:
        return [stream.readline() for _ in range(count)]


@pytest.fixture(params=["pipe", "socket"])
def outlet(request, pipe):
    """The two ends of what a client may have given us as standard output."""
    if request.param == "pipe":
        return pipe
    ends = [end.detach() for end in socket.socketpair()]
    request.addfinalizer(lambda: [os.close(end) for end in ends])
    return ends


def fill(descriptor):
    """Writes until nothing more fits; how much that was."""
    count = 0
    os.set_blocking(descriptor, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(descriptor, b"x" * 4096)
    os.set_blocking(descriptor, True)
    return count


def test_a_short_line_needs_no_thread(outlet, monkeypatch):
    monkeypatch.setattr(to_thread, "run_sync", None)
    anyio.run(Wire(outlet[1]).send, answer(1, text="é" * 100))
    assert b'"id":1' in os.read(outlet[0], 1000)


@pytest.mark.parametrize("length", [10, 1_000_000], ids=["short", "long"])
def test_a_client_that_does_not_read_keeps_nobody_waiting(outlet, length):
    reading, writing = outlet
    before = fill(writing) if length == 10 else 0

    async def play():
        wire, told = Wire(writing), []

        async def tell():
            await wire.send(answer(1, text="x" * length))
            told.append(True)

        async with anyio.create_task_group() as group:
            group.start_soon(tell)
            await anyio.sleep(0.05)
            assert not told
            return (await to_thread.run_sync(read_lines, reading, 1))[0][before:]

    assert json.loads(anyio.run(play))["result"]["text"] == "x" * length


def test_a_client_that_gave_us_what_does_not_wait_gets_whole_lines(outlet):
    reading, writing = outlet
    os.set_blocking(writing, False)

    async def play():
        wire = Wire(writing)
        async with anyio.create_task_group() as group:
            for number in range(6):
                group.start_soon(wire.send, answer(number, text="x" * 100_000))
            await anyio.sleep(0.05)
            return await to_thread.run_sync(read_lines, reading, 6)

    assert sorted(json.loads(line)["id"] for line in anyio.run(play)) == list(range(6))


def test_a_file_is_written_to_in_a_thread():
    with tempfile.TemporaryFile() as file:
        anyio.run(Wire(file.fileno()).send, answer(1))
        file.seek(0)
        assert json.loads(file.read())["id"] == 1


def test_an_action_follows_its_answer_and_whoever_asks_next_finds_it_done(pipe):
    reading, writing = pipe
    done = []

    async def play():
        wire = Wire(writing)

        async def act():
            done.append(os.read(reading, 1000))
            await anyio.sleep(0.05)
            done.append("done")

        wire.after(7, act)
        await wire.send(SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/x")))
        await wire.send(answer(6))
        assert done == []
        async with anyio.create_task_group() as group:
            group.start_soon(wire.send, answer(7))
            while not done:
                await anyio.sleep(0.001)
            await wire.settled()
            assert done[-1] == "done"
        await wire.send(answer(7))

    anyio.run(play)
    assert done[0].count(b"\n") == 3 and b'"id":7' in done[0] and len(done) == 2


@pytest.mark.parametrize("is_gone", [True, False], ids=["nobody reads", "an error instead"])
def test_an_action_whose_answer_was_not_told_never_happens(pipe, is_gone):
    reading, writing = pipe
    done = []

    async def play():
        wire = Wire(writing)

        async def act():
            done.append(True)

        wire.after("a", act)
        if is_gone:
            os.close(reading)
            with pytest.raises(anyio.BrokenResourceError):
                await wire.send(answer("a"))
        else:
            error = ErrorData(code=0, message="cancelled")
            await wire.send(SessionMessage(JSONRPCError(jsonrpc="2.0", id="a", error=error)))

    anyio.run(play)
    assert done == []


def test_an_action_is_done_even_when_the_client_leaves_meanwhile(pipe):
    done = []

    async def play():
        wire = Wire(pipe[1])

        async def act():
            await anyio.sleep(0.05)
            done.append(True)

        wire.after(1, act)
        async with anyio.create_task_group() as group:
            group.start_soon(wire.send, answer(1))
            await anyio.to_thread.run_sync(read_lines, pipe[0], 1)
            group.cancel_scope.cancel()

    anyio.run(play)
    assert done == [True]
