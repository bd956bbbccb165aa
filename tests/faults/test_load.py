"""A crowd at the daemon's doors, most of it rude: the honest are served, and afterwards it is as slim as before."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import kit
from tests.faults.crowd import (
    BINARY,
    CONTINUED,
    PING,
    PONG,
    TEXT,
    Browser,
    RawSocket,
    Wire,
    allow_many_files,
    request,
)
from tests.faults.frames import DONE, INVALID, QUIET, malformed, wrong_parameters
from thrum.core.jsonrpc import LONGEST_LINE

MEGABYTE = 1 << 20
MARK, TOGETHER = "no.such.mark", 20
END = "the end"


class Honest(threading.Thread):
    """Somebody who sends and reads while the others misbehave; every answer is timed, every refusal counts."""

    def __init__(self, daemon, door, ledger):
        super().__init__()
        self._daemon, self._door, self._ledger = daemon, door, ledger
        self._is_over = threading.Event()
        self.failures, self.answers = [], 0

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self.join()

    def run(self):
        try:
            with self._door(self._daemon) as client:
                self._speak(client)
                while not self._is_over.is_set():
                    self._speak(client)
        except Exception as failure:
            self.failures.append(failure)

    def _speak(self, client):
        began = time.monotonic()
        sent = client("message.send", content="all is well", caller=self._daemon.anna)
        found = client("message.get", message_id=sent["message_id"], caller=self._daemon.omar)
        assert found["message"]["body"]["content"] == "all is well"
        self._ledger.recovered((time.monotonic() - began) / 2)
        self._ledger.acknowledge(sent["message_id"])
        self.answers += 2
        time.sleep(0.005)


@contextlib.contextmanager
def honest(daemon, ledger):
    """One of them at each door; nobody may have failed in the end, and all they sent is there once."""
    with Honest(daemon, Wire, ledger) as one, Honest(daemon, Browser, ledger) as other:
        yield
    assert not one.failures and not other.failures, (one.failures, other.failures)
    assert one.answers and other.answers
    ledger.find(*everything(daemon))
    ledger.balance()


def everything(daemon):
    """The ids of all messages there are."""
    with Wire(daemon) as wire:
        found = []
        for page in itertools.count(1):
            some = wire("message.list", all=True, page=page, page_size=100, caller=daemon.omar)["messages"]
            found += [message["message_id"] for message in some]
            if len(some) < 100:
                break
    return found


def test_a_thousand_sockets_most_of_them_silent_or_slow_hold_up_nobody(daemon, ledger, effort, patience):
    room = allow_many_files()
    idle, slow, gone, strangers, browsers = (count * min(room, 2000) // 2000 for count in (600, 250, 100, 600, 60))
    with contextlib.ExitStack() as stack, honest(daemon, ledger):
        for _ in range(idle):
            stack.enter_context(Wire(daemon))
        loris = [stack.enter_context(Wire(daemon)) for _ in range(slow)]
        for _ in range(gone):
            half = stack.enter_context(Wire(daemon))
            half.write('{"jsonrpc":"2.0","id":1,"met')
        for _ in range(strangers):
            stranger = stack.enter_context(socket.create_connection(("127.0.0.1", daemon.port)))
            stranger.sendall(b"GET /ws HTTP/1.1\r\nHost: ")
        for _ in range(browsers):
            stack.enter_context(RawSocket(daemon))
        ledger.fault(idle + slow + gone + strangers + browsers)
        line = request("health").encode()
        more = patience(effort(3, 60))
        for byte in itertools.cycle(line):
            for one in loris:
                one.write(bytes([byte]))
            time.sleep(0.05)
            if not more():
                break


def test_a_storm_of_comers_and_goers_leaves_nothing_behind(daemon, ledger, effort, patience):
    def come_and_go(seed):
        chance, count = random.Random(seed), 0
        more = patience(effort(2, 30))
        while more():
            if chance.random() < 0.2:
                one = socket.create_connection(("127.0.0.1", daemon.port))
            else:
                one = socket.socket(socket.AF_UNIX)
                one.connect(daemon.place.socket)
            with contextlib.suppress(ConnectionError):
                one.sendall(
                    chance.choice((b"", b"{", b"\n", request("health").encode() + b"\n", b"GET / HTTP/1.1\r\n"))
                )
            if chance.random() < 0.3:  # a reset instead of an end
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            one.close()
            count += 1
        return count

    with honest(daemon, ledger), ThreadPoolExecutor(3) as pool:
        ledger.fault(sum(pool.map(come_and_go, range(3))))


def test_who_never_reads_costs_little_and_who_reads_hears_everything_once(daemon, ledger, effort):
    count = effort(600, 20_000)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            deaf = stack.enter_context(Wire(daemon))
            deaf("subscribe", all=True, push=True, caller=daemon.omar)
            mute = stack.enter_context(RawSocket(daemon))
            mute.say("subscribe", all=True, caller=daemon.omar)
            mute.receive()
            curious = stack.enter_context(Wire(daemon))
            for _ in range(50):
                curious.say("message.list", all=True, page_size=100, caller=daemon.omar)
        ledger.fault(9)
        attentive, sender = stack.enter_context(Wire(daemon)), stack.enter_context(Wire(daemon))
        attentive("subscribe", all=True, push=True, caller=daemon.omar)
        listening = threading.Thread(target=lambda: heard.extend(attentive.receive() for _ in range(count)))
        heard = []
        listening.start()
        for start in range(0, count, 50):
            batch = [
                json.loads(request("message.send", n, content=f"{n} {'x' * 200}", caller=daemon.anna))
                for n in range(50)
            ]
            sender.write(json.dumps(batch) + "\n")
            ledger.acknowledge(*(answer["result"]["message_id"] for answer in sender.receive()))
            assert start < count
        listening.join()
        ledger.find(*(told["params"]["message_id"] for told in heard))
        ledger.balance()


@pytest.mark.parametrize("door", ["unix", "websocket"])
def test_ten_thousand_frames_of_garbage_get_the_right_code_each(daemon, ledger, rng, effort, door):
    count = effort(*{"unix": (7000, 60_000), "websocket": (3000, 20_000)}[door])
    speak = _speak_on_a_wire if door == "unix" else _speak_in_frames
    with honest(daemon, ledger), speak(daemon) as (say, hear):
        for _ in range(0, count, TOGETHER):
            told = [malformed(rng) for _ in range(TOGETHER)]
            for number, (frame, _) in enumerate(told):
                say(frame, request(MARK, f"mark {number}").encode())
            for number, (frame, codes) in enumerate(told):
                answers = _codes(hear, number)
                assert answers <= codes, (frame[:500], answers, codes)
                assert answers or QUIET in codes, frame[:500]
            ledger.fault(TOGETHER)


@contextlib.contextmanager
def _speak_on_a_wire(daemon):
    with Wire(daemon) as wire:
        yield lambda frame, mark: wire.write(frame + b"\n" + mark + b"\n"), wire.receive


@contextlib.contextmanager
def _speak_in_frames(daemon):
    with RawSocket(daemon) as client:
        yield lambda frame, mark: (client.write(frame, BINARY), client.write(mark)), client.receive


def _codes(hear, number):
    """The codes of what is answered until the mark of that number."""
    found, mark = set(), f"mark {number}"
    while mark not in (said := {one.get("id"): one for one in _each(hear()) if "method" not in one}):
        assert all(("result" in one) != ("error" in one) and one["jsonrpc"] == "2.0" for one in said.values())
        found.update(one["error"]["code"] if "error" in one else DONE for one in said.values())
    return found


def _each(answer):
    return answer if isinstance(answer, list) else [answer]


def test_every_parameter_of_every_method_of_a_wrong_type_is_named(daemon, ledger):
    wrong = wrong_parameters()
    ledger.fault(len(wrong))
    assert len(wrong) > 500
    with Wire(daemon) as wire:
        for method, params in wrong:
            refusal = wire.ask(method, **params)["error"]
            assert refusal["code"] == -32602 and refusal["message"], (method, params, refusal)


def test_lines_without_an_end_are_told_so_once_and_kept_nowhere(daemon, ledger):
    with honest(daemon, ledger):
        for size in (64, 100):
            with Wire(daemon) as wire:
                for _ in range(size):
                    wire.write(b"x" * MEGABYTE)
                assert wire.receive()["error"]["code"] == INVALID
                wire.write(b"\n")
                assert wire("health")
            ledger.fault()
        with contextlib.ExitStack() as stack:  # many lines, each a little below the limit, none with an end
            for _ in range(40):
                greedy = stack.enter_context(Wire(daemon))
                with contextlib.suppress(ConnectionError):
                    greedy.write(b"x" * (4 * MEGABYTE))
                ledger.fault()


@pytest.mark.parametrize("size", [64 * MEGABYTE, 100_000_000, 1 << 62])
def test_a_frame_that_is_too_large_closes_its_connection_before_it_is_read(daemon, ledger, size):
    with honest(daemon, ledger), RawSocket(daemon) as client:
        with contextlib.suppress(ConnectionError):
            client.write(b"x" * MEGABYTE, claimed=size)
            for _ in range(63):
                client.socket.sendall(b"x" * MEGABYTE)
        assert client.close_code() in (1009, 0)
        ledger.fault()


def test_fragments_with_pings_between_them_are_one_request_and_no_way_around_the_limit(daemon, ledger):
    with RawSocket(daemon) as client:
        whole = request("health", 5).encode()
        for at, byte in enumerate(whole):
            client.write(bytes([byte]), CONTINUED if at else TEXT, last=at == len(whole) - 1)
            client.write(b"still there?", PING)
        kinds = []
        while (frame := client.read())[0] == PONG:
            kinds.append(frame)
        assert len(kinds) == len(whole) and json.loads(frame[1])["id"] == 5
        client.write(b"[", TEXT, last=False)
        with contextlib.suppress(ConnectionError):
            for _ in range(LONGEST_LINE // MEGABYTE + 2):
                client.write(b"x" * MEGABYTE, CONTINUED, last=False)
        assert client.close_code() in (1009, 0)
        ledger.fault(2)


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        (3, {}, 1002),  # no kind there is
        (CONTINUED, {}, 1002),  # of nothing
        (PING, {"last": False}, 1002),  # a control frame in pieces
        (PING, {"claimed": 200}, 1002),  # a control frame too long
        (TEXT, {"reserved": 0x40}, 1002),  # compressed, which was not agreed
        (TEXT, {"reserved": 0x10}, 1002),
        (TEXT, {"payload": b"\xff\xfe"}, 1007),  # a text that is none
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(daemon, ledger, kind, options, code):
    with RawSocket(daemon) as client, Browser(daemon) as other:
        client.write(options.pop("payload", b"x" * options.get("claimed", 5)), kind, **options)
        assert client.close_code() == code
        assert other("health")
        ledger.fault()


def test_a_bomb_of_compressed_nothing_is_not_unpacked(daemon, ledger):
    with RawSocket(daemon, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits") as client:
        assert client.status == 101 and b"deflate" not in client.headers.lower()
        deflated = zlib.compressobj(1, wbits=-15)
        bomb = deflated.compress(b" " * (100 * MEGABYTE)) + deflated.flush(zlib.Z_SYNC_FLUSH)
        assert len(bomb) < MEGABYTE
        client.write(bomb, reserved=0x40)
        assert client.close_code() == 1002
        ledger.fault()


def test_twenty_who_write_and_twenty_who_read_at_once(daemon, ledger, effort, patience):
    crowd = Crowd(daemon, ledger, patience(effort(6, 60)))
    with ThreadPoolExecutor(40) as pool:
        listeners = [pool.submit(crowd.listen, (Wire, RawSocket)[number % 2]) for number in range(10)]
        lookers = [pool.submit(crowd.look, (Wire, Browser)[number % 2]) for number in range(10)]
        crowd.ready.wait()
        writers = [pool.submit(crowd.write, (Wire, Browser)[number % 2]) for number in range(17)]
        writers += [pool.submit(crowd.write_beside) for _ in range(3)]
        for writer in writers:
            ledger.acknowledge(*writer.result())
        with Wire(daemon) as wire:
            end = wire("message.send", content=END, caller=daemon.anna)["message_id"]
        heard = [listener.result() for listener in listeners]
        crowd.is_over.set()
        for looker in lookers:
            looker.result()
    ledger.find(*(message_id for message_id in everything(daemon) if message_id != end))
    ledger.balance()
    for one in heard:
        assert len(one) == len(set(one)) and not set(ledger.acknowledged) - set(one)


class Crowd:
    """Who writes until `more()` says no, and who reads meanwhile."""

    def __init__(self, daemon, ledger, more):
        self._daemon, self._ledger, self._more = daemon, ledger, more
        self.ready, self.is_over = threading.Barrier(21), threading.Event()

    def write(self, door):
        """Sends through the daemon; the ids that were acknowledged."""
        acknowledged = []
        with door(self._daemon) as client:
            while self._more():
                began = time.monotonic()
                sent = client("message.send", content="through the daemon", caller=self._daemon.anna)
                self._ledger.recovered(time.monotonic() - began)
                acknowledged.append(sent["message_id"])
        return acknowledged

    def write_beside(self):
        """Sends with an engine of its own, as a process without the daemon does; the ids."""
        engine = kit.open_engine(self._daemon.path)
        anna, acknowledged = kit.Caller(engine, self._daemon.path, "anna"), []
        try:
            while self._more():
                acknowledged.append(anna("message.send", content="beside the daemon")["message_id"])
                time.sleep(0.01)
        finally:
            engine.close()
        return acknowledged

    def listen(self, door):
        """Subscribes and hears everything up to the last word; the ids."""
        found = []
        with door(self._daemon) as client:
            client.say("subscribe", all=True, push=True, caller=self._daemon.omar)
            assert "result" in client.receive()
            self.ready.wait()
            while (told := client.receive()["params"])["preview"] != END:
                found.append(told["message_id"])
        return found

    def look(self, door):
        """Reads the inbox and waits for mail, again and again."""
        with door(self._daemon) as client:
            self.ready.wait()
            while not self.is_over.is_set():
                client("message.list", page_size=20, caller=self._daemon.omar)
                client("message.wait", timeout=0, caller=self._daemon.omar)
                time.sleep(0.05)
