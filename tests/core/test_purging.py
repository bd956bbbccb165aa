"""What a purge takes: old mail and what was said about it; never what it did not see."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import kit
from thrum.core import clock, codec, events, purging
from thrum.core.codec import BadLine
from thrum.core.purging import Choice, Line

PATH = "messages/ann/0000000000aa/0000/00.jsonl"
HORIZON = kit.NOON + 100 * clock.SECOND


def lines(*stated, path=PATH):
    return [Line(path, e, clock.instant(e["timestamp"]), purging.mark(codec.encode(e))) for e in stated]


def taken(*shown):
    choice = Choice(HORIZON)
    for line in shown:
        choice.look(line)
    return [line.event["event_id"] for line in shown if choice.takes(line)]


def test_a_message_goes_with_its_edits_deletion_and_read_marks():
    old, new = kit.message("ann", at=1), kit.message("ann", at=200)
    about = [
        kit.event("message.edit", 300, message_id=old["message_id"], body={"content": "x"}),
        kit.event("message.delete", 301, message_id=old["message_id"]),
        kit.event("message.read", 302, agent_id="ann", message_ids=[old["message_id"]]),
    ]
    stays = [
        kit.event("message.edit", 1, message_id=new["message_id"], body={"content": "x"}),
        kit.event("message.read", 1, agent_id="ann", message_ids=[old["message_id"], new["message_id"]]),
    ]
    assert taken(*lines(old, *about, new, *stays, kit.register("ann", at=1))) == [e["event_id"] for e in (old, *about)]


def test_what_was_said_about_a_message_that_never_came_stays():
    gone = kit.event("message.delete", 1, message_id="msg_unknown")
    assert taken(*lines(gone, kit.register("ann"))) == []


def test_who_somebody_is_stays_and_what_it_worked_on_goes_once_it_is_old_news():
    was, now_ = (kit.event("agent.update", at, agent_id="ann", work_contexts=[]) for at in (1, 2))
    assert taken(*lines(kit.register("ann", at=0), was, now_, kit.register("ann", at=3))) == [was["event_id"]]


def test_sessions_go_when_they_have_ended_and_threads_with_their_last_message():
    over = [
        kit.event(f"agent.session.{what}", 1, session_id="s1", agent_id="ann") for what in ("start", "update", "end")
    ]
    open_ = kit.event("agent.session.start", 1, session_id="s2", agent_id="ann")
    threads = [kit.event("thread.create", 1, thread_id=f"thr_{n}", title="t", created_by="ann") for n in "ab"]
    said = kit.message("ann", at=200, thread_id="thr_b")
    found = taken(*lines(*over, open_, *threads, said, kit.register("ann")))
    assert found == [e["event_id"] for e in (*over, threads[0])]


@given(st.lists(st.binary(min_size=1, max_size=30).filter(lambda line: b"\n" not in line), max_size=30), st.data())
def test_a_file_without_what_is_gone_is_the_rest_in_order(whole, data):
    gone = frozenset(map(purging.mark, data.draw(st.lists(st.sampled_from(whole)) if whole else st.just([]))))
    written = b"".join(line + b"\n" for line in whole)
    kept = [line for line in whole if purging.mark(line) not in gone]
    assert purging.without(written, gone) == b"".join(line + b"\n" for line in kept)
    assert purging.without(purging.without(written, gone), gone) == purging.without(written, gone)


def test_many_lines_are_named_in_pieces_that_fit_and_can_be_read_back():
    wanted = [
        Line(f"messages/ann/0000000000aa/0000/{n % 7:02x}.jsonl", {}, 0, purging.mark(b"%d" % n)) for n in range(6000)
    ]
    pieces = list(purging.name(wanted))
    for piece in pieces:
        said = kit.event("log.purge", agent_id="ann", before="2026-01-01T00:00:00Z", lines=piece)
        events.check(said)
        assert len(codec.encode(said)) < 60_000
    found = {mark for piece in pieces for marks in piece.values() for mark in purging.unpack(purging.read_marks(marks))}
    assert found == {line.mark for line in wanted}


@pytest.mark.parametrize(
    "bad", [{"../x": "AAAAAAAAAAAA"}, {PATH: "AAAA"}, {PATH: "!!!!!!!!!!!!"}, {PATH: 7}, {"readme": ""}]
)
def test_what_names_no_lines_of_a_log_is_no_purge(bad):
    with pytest.raises(BadLine):
        events.check(kit.event("log.purge", agent_id="ann", before="2026-01-01T00:00:00Z", lines=bad))
