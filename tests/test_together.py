"""Calls that are made together: one flush for all of them, and nobody is told of what is not durable."""

import errno
import json
import os

import pytest

from tests import kit
from thrum.caller import Claim
from thrum.engine import Call
from thrum.errors import BadParams, Forbidden, NoIdentity, StorageError, UnknownRecipient
from thrum.store import log as logs

FAILURES = [errno.EIO, errno.ENOSPC]


@pytest.fixture
def ann(engine, repository):
    engine.serve()
    kit.hire(engine, repository, "bob")
    return kit.hire(engine, repository, "ann")


@pytest.fixture
def send(ann):
    """`send("ann one", "bob two", request_id=...)`: everybody sends at the same moment; the outcomes."""
    claims = {name: Claim(cwd=ann.claim.cwd, name=name) for name in ("ann", "bob", "nobody")}

    def send(*words, **more):
        calls = [Call("message.send", {"content": word, **more}, claims[word.split()[0]]) for word in words]
        outcomes = ann.engine.call_together(calls)
        ann.engine.settle()
        return outcomes

    return send


def test_what_is_answered_is_visible_when_it_is_settled(ann):
    sends = [Call("message.send", {"content": "hello"}, Claim(cwd=ann.claim.cwd, name="ann"))]
    assert ann.engine.is_settled
    (sent,) = ann.engine.call_together(sends)
    assert not ann.engine.is_settled and ann.engine.mail.get(sent["message_id"]) is None
    ann.engine.settle()
    assert ann.engine.is_settled and ann.engine.mail.get(sent["message_id"])


def said(engine, name="ann"):
    """What is in the log of an agent, checked to be without a gap."""
    files = sorted(kit.files(f"{engine.place.log_root}/messages/{name}").items())
    lines, prev = b"".join(data for _, data in files).split(b"\n")[:-1], ""
    for seq, line in enumerate(lines, 1):
        event = json.loads(line)
        assert (event["seq"], event["prev"]) == (seq, prev)
        prev = logs.line_hash(line)
    return [event["body"]["content"] for event in map(json.loads, lines) if event["type"] == "message.create"]


def shown(engine):
    return [row[0] for row in engine.projection.connection.execute("SELECT message_id FROM message ORDER BY seq")]


def failing(monkeypatch, call, number, times=1):
    """Has a system call fail for the next `times`."""
    real, left = getattr(os, call), [times]

    def fail(*arguments):
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    monkeypatch.setattr(os, call, fail)
    return left


def test_what_is_sent_together_is_flushed_once_for_each_log_and_answered_in_order(ann, send, monkeypatch):
    flushes = []
    real = os.fdatasync
    monkeypatch.setattr(
        os, "fdatasync", lambda file: flushes.append(os.readlink(f"/proc/self/fd/{file}")) or real(file)
    )
    words = ["ann one", "bob two", "ann three", "bob four", "ann five"]
    made = send(*words)
    assert [file for file in flushes if "/messages/" in file] == sorted(
        f"{ann.engine.place.log_root}/messages/{name}/{ann.engine.origin}/0000/00.jsonl" for name in ("ann", "bob")
    )
    shown_text = [ann("message.get", message_id=one["message_id"])["message"]["body"]["content"] for one in made]
    assert shown_text == words
    assert said(ann.engine) == ["ann one", "ann three", "ann five"]
    assert said(ann.engine, "bob") == ["bob two", "bob four"]


def test_nobody_hears_before_the_flush_and_everybody_after_it(ann, send, monkeypatch):
    order = []
    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda file: order.append("flushed") or real(file))
    ann.engine.listeners.append(lambda news: order.append(f"told {news.events} {news.eager}"))
    send("ann one", "ann two", "ann three")
    assert order == ["flushed", "told 3 True"]


def test_a_refusal_harms_nobody_beside_it(ann, send):
    good, empty, unknown, other = send("ann one", "ann ", "nobody here", "bob two")
    assert good["message_id"] and other["message_id"]
    assert empty["message_id"] and isinstance(unknown, NoIdentity)
    calls = [
        Call("message.send", params, ann.claim)
        for params in ({"content": ""}, {"content": "x", "to": ["@who"]}, {"content": "x", "acting_as": "bob"}, {})
    ]
    calls.insert(2, Call("message.send", {"content": "fine"}, ann.claim))
    outcomes = ann.engine.call_together(calls)
    kinds = [BadParams, UnknownRecipient, dict, Forbidden, BadParams]
    assert [type(one) for one in outcomes] == kinds
    assert said(ann.engine) == ["ann one", "ann ", "fine"]


def test_what_no_line_can_hold_is_left_out_and_the_chain_has_no_gap(ann, send, monkeypatch):
    monkeypatch.setattr("thrum.core.codec.LONGEST_LINE", 3000)
    first, long, last = send("ann one", "ann " + "x" * 4000, "ann two")
    assert isinstance(long, BadParams) and "too large" in str(long)
    assert shown(ann.engine)[-2:] == [first["message_id"], last["message_id"]]
    assert said(ann.engine) == ["ann one", "ann two"]


@pytest.mark.parametrize("number", FAILURES)
def test_a_flush_that_fails_is_acknowledged_to_nobody_and_leaves_nothing(ann, send, monkeypatch, number):
    send("ann before", "bob before")
    files, rows = kit.files(ann.engine.place.log_root), shown(ann.engine)
    failing(monkeypatch, "fdatasync", number, times=2)
    outcomes = send("ann one", "bob two", "ann three")
    assert [type(one) for one in outcomes] == [StorageError] * 3
    assert all(one.hint and "nothing was stored" in one.hint for one in outcomes)
    assert len({id(one) for one in outcomes}) == 3
    assert kit.files(ann.engine.place.log_root) == files and shown(ann.engine) == rows
    send("ann after", "ann and after")
    assert said(ann.engine) == ["ann before", "ann after", "ann and after"]


def test_a_flush_that_fails_for_one_log_is_no_harm_to_another(ann, send, monkeypatch):
    send("ann before", "bob before")
    failing(monkeypatch, "fdatasync", errno.EIO)
    one, two, three = send("ann one", "bob two", "ann three")
    assert isinstance(one, StorageError) and isinstance(three, StorageError)
    assert shown(ann.engine)[-1] == two["message_id"]
    assert said(ann.engine) == ["ann before"] and said(ann.engine, "bob") == ["bob before", "bob two"]


def test_a_disk_that_fills_up_in_the_middle_takes_all_back_over_all_segments(ann, send, monkeypatch):
    send("ann before")
    files, real, written = kit.files(ann.engine.place.log_root), os.write, []

    def write(file, data):
        if "/messages/" not in os.readlink(f"/proc/self/fd/{file}"):
            return real(file, data)
        if sum(written) > 90_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(file, data[: len(data) // 2 + 1]))
        return written[-1]

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        outcomes = send(*("ann " + "x" * 20_000 for _ in range(8)))
    assert [type(one) for one in outcomes] == [StorageError] * 8 and sum(written) > 90_000
    left = {path: data for path, data in kit.files(ann.engine.place.log_root).items() if data}
    assert left == files
    assert send("ann after", "bob after")[0]["message_id"]
    assert said(ann.engine) == ["ann before", "ann after"]


def test_the_same_request_twice_at_the_same_moment_is_one_message(ann, send):
    first, second, third = send("ann one", "ann one", "ann one", request_id="r1")
    assert first["message_id"] == second["message_id"] == third["message_id"]
    again = send("ann one", "ann one", request_id="r1")
    assert {one["message_id"] for one in again} == {first["message_id"]}
    assert said(ann.engine) == ["ann one"]


def test_a_request_that_failed_with_the_others_may_be_made_again(ann, send, monkeypatch):
    failing(monkeypatch, "fdatasync", errno.EIO, times=3)
    assert {type(one) for one in send("ann one", "bob one", request_id="r1")} == {StorageError}
    monkeypatch.undo()
    send("ann one", "bob one", request_id="r1")
    assert said(ann.engine) == ["ann one"] and said(ann.engine, "bob") == ["bob one"]


def test_what_is_very_much_together_is_not_held_in_memory_all_at_once(ann, send, monkeypatch):
    monkeypatch.setattr("thrum.store.stage.LARGEST", 50_000)
    sizes, real = [], os.write
    monkeypatch.setattr(os, "write", lambda file, data: sizes.append(len(data)) or real(file, data))
    outcomes = send(*("ann " + "x" * 20_000 for _ in range(9)))
    assert all(one["message_id"] for one in outcomes) and len(said(ann.engine)) == 9
    assert max(sizes) < 70_000


def test_another_process_may_write_to_the_same_log_between_two_rounds(ann, send, repository):
    send("ann one", "ann two")
    other = kit.open_engine(repository)
    kit.Caller(other, repository, "ann")("message.send", content="ann three")
    send("ann four", "ann five")
    kit.Caller(other, repository, "ann")("message.send", content="ann six")
    other.close()
    assert said(ann.engine) == ["ann one", "ann two", "ann three", "ann four", "ann five", "ann six"]
    assert ann("message.list", exclude_self=False)["total"] == 6


def test_a_database_that_is_lost_meanwhile_is_no_reason_to_say_anything_twice(ann, send):
    send("ann one", "ann two")
    ann.engine.close()
    os.unlink(ann.engine.projection.database.path)
    made = send("ann three", "bob four")
    assert [one["message_id"] for one in made] == shown(ann.engine)[-2:] or len(shown(ann.engine)) == 4
    assert said(ann.engine) == ["ann one", "ann two", "ann three"]


def test_they_are_answered_once_it_is_durable_and_whoever_asks_next_sees_it(ann):
    calls = [Call("message.send", {"content": word}, ann.claim) for word in ("one", "two")]
    made = ann.engine.call_together(calls)
    assert said(ann.engine) == ["one", "two"] and not shown(ann.engine)
    assert ann("message.list", exclude_self=False)["total"] == 2
    assert shown(ann.engine) == [one["message_id"] for one in made]
    (last,) = ann.engine.call_together(calls[:1])
    assert shown(ann.engine)[-1] != last["message_id"]
    assert ann.engine.poll_together([Call("message.get", {"message_id": last["message_id"]}, ann.claim)])[0]["message"]


@pytest.mark.parametrize("trouble", [ValueError("odd"), OSError(errno.EMFILE, "few"), StorageError("full")])
def test_what_cannot_be_shown_at_once_is_sent_all_the_same_and_seen_later(ann, monkeypatch, trouble):
    def take(paths):
        raise trouble

    heard = []
    ann.engine.listeners.append(heard.append)
    ann.engine.catch_up()
    with monkeypatch.context() as patch:
        patch.setattr(ann.engine.projection, "take", take)
        (made,) = ann.engine.call_together([Call("message.send", {"content": "one"}, ann.claim)])
        with pytest.raises((type(trouble), StorageError)):
            ann.engine.settle()
    assert ann("message.list", exclude_self=False)["messages"][0]["message_id"] == made["message_id"]
    assert [message for news in heard for message in news.messages] == [made["message_id"]]
    assert said(ann.engine) == ["one"]


def test_what_stops_the_look_before_is_told_as_the_machines(ann, send, monkeypatch):
    def look():
        raise OSError(errno.EMFILE, "few")

    monkeypatch.setattr(ann.engine, "look", look)
    with pytest.raises(StorageError):
        send("ann one", "bob two")


def test_who_waits_for_the_same_shares_a_look_and_nobody_elses(ann, repository, send, monkeypatch):
    engine, looks = ann.engine, []
    monkeypatch.setattr(engine, "mail", Watched(engine.mail, looks))
    here = {name: Claim(cwd=str(repository), name=name) for name in ("ann", "bob", "nobody")}
    waits = [Call("message.wait", {"timeout": 5}, here[name]) for name in ("bob", "ann", "bob", "nobody", "bob")]
    waits.append(Call("message.wait", {"timeout": 5, "priority": "high"}, here["bob"]))
    send("ann for you", to=["bob"])
    looks.clear()
    found = engine.poll_together(waits)
    first = found[0]
    assert first["message"]["body"]["content"] == "ann for you"
    assert found[2] == found[4] == first
    assert found[1] is None and isinstance(found[3], NoIdentity) and found[5] is None
    assert looks == ["bob", "ann", "bob"]


class Watched:
    """A mailbox that notes whose page is looked at."""

    def __init__(self, mail, looks):
        self.mail, self.looks = mail, looks

    def page(self, me, *arguments, **more):
        self.looks.append(me)
        return self.mail.page(me, *arguments, **more)

    def __getattr__(self, name):
        return getattr(self.mail, name)


def test_what_cannot_be_searched_for_is_refused_before_anything_is_indexed(ann, send):
    send("ann one")
    with pytest.raises(BadParams):
        ann.engine.index_some("message.search", {})
    tables = ann.engine.projection.connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert ("words",) not in tables
    assert not ann.engine.index_some("message.search", {"query": "one"})
    assert ann("message.search", query="one")["total"] == 1


def test_a_link_in_the_place_of_an_open_logs_folder_is_set_aside(ann, send, tmp_path):
    send("ann one")
    folder = f"{ann.engine.place.log_root}/messages/ann/{ann.engine.origin}"
    os.rename(folder, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", folder)
    (made,) = send("ann two")
    assert made["message_id"] and not os.path.islink(folder)
    found = (
        f"{top}/{name}" for top, *inside in os.walk(ann.engine.place.sync_dir) for names in inside for name in names
    )
    assert any(map(os.path.islink, found))
