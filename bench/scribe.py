"""Histories of any length, written straight into the logs: canonical lines, chained and cut into segments as ours are."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
from typing import NamedTuple

from bench.measure import Action
from thrum.core import clock, ids, layout
from thrum.engine import Engine
from thrum.store.log import line_hash

AUTHORS = ("carl", "rita", "omar", "petra", "nina")
READER = "lead"
IN_A_THREAD = 50
"""Messages of one thread."""
MARKS = 500
"""Messages that one read mark names."""
_WORDS = ("the", "cart", "total", "is", "ready", "rounded", "please", "look")
_RFC, _CROCKFORD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", ids.ALPHABET.encode()
_TO_CROCKFORD = bytes.maketrans(_RFC, _CROCKFORD)


class Written(NamedTuple):
    """What a history holds: lines in all, messages, and one of its threads."""

    events: int
    messages: int
    thread: str


def write(own: Engine, events: int, unread: int = 30) -> Written:
    """Fills the empty logs of `own` up to about `events` lines; `READER` has read all but the last `unread` messages."""
    chance, pens = random.Random(7), {name: Pen(own, name) for name in AUTHORS}
    texts = [" ".join(chance.choices(_WORDS, k=20)) for _ in range(200)]
    start, sent, thread, threads = time.time_ns() - events * 1_000_000, list[str](), "", 0
    for number, name in enumerate(AUTHORS):
        pens[name].register(start - 1_000_000 * (len(AUTHORS) - number))
    while len(AUTHORS) + len(sent) + threads + len(sent) // MARKS < events:
        number = len(sent)
        instant, pen = start + number * 1_000_000, pens[chance.choice(AUTHORS)]
        if number % (2 * IN_A_THREAD) == 0:
            thread, threads = pen.begin(instant), threads + 1
        to = "" if chance.random() < 0.7 else chance.choice((READER, *AUTHORS))
        scope = "cart" if chance.random() < 0.5 else "tax"
        sent.append(pen.send(instant, chance.choice(texts), to, scope, thread if number % 2 else ""))
    for pen in pens.values():
        pen.close()
    marks = _mark(own, sent[: len(sent) - unread])
    return Written(len(AUTHORS) + len(sent) + threads + marks, len(sent), thread)


def _mark(own: Engine, read: list[str]) -> int:
    made = [read[first : first + MARKS] for first in range(0, len(read), MARKS)]
    instant, ulids = time.time_ns(), ids.Ulids()
    stated = [
        {
            "type": "message.read", "timestamp": clock.text(instant), "agent_id": READER, "message_ids": named,
            "event_id": "evt_" + ulids.next(instant, os.urandom(10)),
        }
        for named in made
    ]  # fmt: skip
    own.journal.append(READER, *stated)
    return len(stated)


class Pen:
    """Writes one agent's log, its segments whole."""

    def __init__(self, own: Engine, name: str) -> None:
        self._root, self._origin, self._name = own.place.log_root, own.origin, name
        self._seq, self._prev, self._segment = 0, "", 0
        self._waiting: list[bytes] = []
        self._size = 0

    def register(self, instant: int) -> None:
        """States that the agent exists."""
        event_id = self._event_id(instant)
        self._write(
            f'{{"agent_id":"{self._name}","event_id":"{event_id}","kind":"agent","module":"shop","name":"{self._name}",'
            f'{self._chain()},"role":"implementer","seq":{self._seq},"timestamp":"{clock.text(instant)}",'
            f'"type":"agent.register","v":1,"version":1}}'
        )

    def begin(self, instant: int) -> str:
        """Begins a thread; its id."""
        event_id = self._event_id(instant)
        thread_id = _bound("thr", self._name, event_id)
        self._write(
            f'{{"created_by":"{self._name}","event_id":"{event_id}",{self._chain()},"seq":{self._seq},'
            f'"thread_id":"{thread_id}","timestamp":"{clock.text(instant)}","title":"Cart","type":"thread.create","v":1}}'
        )
        return thread_id

    def send(self, instant: int, text: str, to: str, scope: str, thread_id: str) -> str:
        """States a message, to everyone where `to` is nobody; its id."""
        event_id = self._event_id(instant)
        message_id = _bound("msg", self._name, event_id)
        everyone, refs, named = '"everyone":true,', "", ""
        if to:
            everyone, refs, named = "", f'"refs":[{{"type":"mention","value":"{to}"}}],', f'"to":["{to}"],'
        inside = f'"thread_id":"{thread_id}",' if thread_id else ""
        self._write(
            f'{{"agent_id":"{self._name}","body":{{"content":"{text}","format":"markdown"}},"event_id":"{event_id}",'
            f'{everyone}"message_id":"{message_id}",{self._chain()},{refs}"scopes":[{{"type":"module","value":"{scope}"}}],'
            f'"seq":{self._seq},{inside}"timestamp":"{clock.text(instant)}",{named}"type":"message.create","v":1}}'
        )
        return message_id

    def close(self) -> None:
        """Writes what is left."""
        path = f"{self._root}/{layout.segment_path(self._name, self._origin, self._segment)}"
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "wb") as file:
            file.writelines(self._waiting)

    def _event_id(self, instant: int) -> str:
        self._seq += 1
        return f"evt_{ids.encode_bits(instant // 1_000_000, 10)}{self._seq:016d}"

    def _chain(self) -> str:
        return f'"origin":"{self._origin}","prev":"{self._prev}"'

    def _write(self, text: str) -> None:
        line = text.encode()
        if self._size and self._size + len(line) + 1 > layout.SEGMENT_BYTES:
            self.close()
            self._segment, self._size, self._waiting = self._segment + 1, 0, []
        self._waiting.append(line + b"\n")
        self._size += len(line) + 1
        self._prev = line_hash(line)


def _bound(prefix: str, agent_id: str, event_id: str) -> str:
    """What `ids.bound_id` gives, in a third of the time."""
    digest = hashlib.sha256(f"{prefix}|{agent_id}|{event_id}".encode()).digest()
    return f"{prefix}_{event_id[4:14]}{base64.b32encode(digest[:10]).translate(_TO_CROCKFORD).decode()}"


def questions(own: Engine, path: str, written: Written) -> dict[str, Action]:
    """What a reader asks of a history, by the names of the rows."""
    from bench import playground

    asked = playground.claim(path, READER)
    return {
        "inbox": lambda: own.call("message.list", {"exclude_self": True}, asked),
        "unread": lambda: own.mail.unread_count(READER),
        "unread_page": lambda: own.call("message.list", {"unread": True}, asked),
        "thread": lambda: own.call("thread.get", {"thread_id": written.thread}, asked),
        "scope": lambda: own.call("message.list", {"scope": {"type": "module", "value": "cart"}}, asked),
        "mention": lambda: own.call("message.list", {"mentions": True}, asked),
        "author": lambda: own.call("message.list", {"author_id": AUTHORS[0]}, asked),
    }
