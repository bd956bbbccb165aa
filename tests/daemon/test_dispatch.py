"""A request is answered, whatever it is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import thrum
from thrum import eventloop
from thrum.caller import Claim
from thrum.daemon.claims import read_claim
from thrum.daemon.dispatch import Conversation
from thrum.daemon.postponed import LIFETIME, MOST, Call, Postponed
from thrum.errors import BadParams, DaemonError

from .conftest import until
from .fakes import House, house

Json = dict[str, Any]


def play(scene: Callable[[House], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with house() as made:
            await scene(made)

    eventloop.run(whole())


async def ask(conversation: Conversation, method: str, params: Json | None = None, **more: Any) -> Json:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}, **more}
    answer: Json = json.loads(await conversation.answer(json.dumps(request).encode()))
    return answer


def test_a_call_is_answered_with_its_result() -> None:
    async def scene(house: House) -> None:
        answer = await ask(house.dispatcher.open(), "echo", {"a": 1})
        assert answer["result"]["params"] == {"a": 1}
        assert answer["id"] == 1

    play(scene)


def test_the_caller_is_taken_out_of_the_params() -> None:
    caller = {"cwd": "/x", "name": "ann", "environ": {"THRUM_ROLE": "tester", "PATH": "/evil"}}

    async def scene(house: House) -> None:
        answer = await ask(house.dispatcher.open(), "echo", {"caller": caller, "Caller_Agent_ID": "bob", "b": 2})
        claim = answer["result"]["claim"]
        assert answer["result"]["params"] == {"b": 2}
        assert (claim["cwd"], claim["name"], claim["agent_id"]) == ("/x", "ann", "bob")
        assert claim["environ"] == {"THRUM_ROLE": "tester"}

    play(scene)


@pytest.mark.parametrize(
    "params",
    [{"caller": 1}, {"caller": {"cwd": 1}}, {"caller_agent_id": []}, {"caller": {"environ": 3}}, {"caller": [1]}],
)
def test_a_caller_that_makes_no_sense_is_refused(params: Json) -> None:
    with pytest.raises(BadParams):
        read_claim(params)


def test_no_caller_is_an_empty_claim() -> None:
    assert read_claim({"a": 1}) == (Claim(), {"a": 1})
    assert read_claim({"caller": None, "caller_agent_id": None}) == (Claim(), {})


def test_a_refusal_has_code_kind_and_hint() -> None:
    async def scene(house: House) -> None:
        error = (await ask(house.dispatcher.open(), "say"))["error"]
        expected = {"code": -32014, "message": "nothing to say", "data": {"kind": "NotFound", "hint": "say something"}}
        assert error == expected

    play(scene)


def test_an_unknown_method_is_named() -> None:
    async def scene(house: House) -> None:
        error = (await ask(house.dispatcher.open(), "no.such"))["error"]
        assert error == {"code": -32601, "message": "Method not found", "data": "method 'no.such' is not registered"}

    play(scene)


def test_a_mistake_of_ours_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        with caplog.at_level(logging.ERROR):
            error = (await ask(conversation, "break"))["error"]
        assert error["code"] == -32603
        assert "secret" not in json.dumps(error)
        assert "secret internals" in caplog.text
        assert "result" in await ask(conversation, "echo")

    play(scene)


def test_a_batch_is_run_and_its_notifications_are_not_answered() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        one = {"jsonrpc": "2.0", "method": "say", "params": {"text": "a"}}
        batch = [one, {**one, "id": 5}, 3]
        answers = json.loads(await conversation.answer(json.dumps(batch).encode()))
        assert [answer.get("id") for answer in answers] == [5, None]
        assert house.engine.said == ["a", "a"]
        assert await conversation.answer(json.dumps([one]).encode()) == b""

    play(scene)


def test_a_single_notification_is_executed_and_not_answered() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        assert await conversation.answer(b'{"jsonrpc":"2.0","method":"say","params":{"text":"a"}}') == b""
        assert await conversation.answer(b'{"jsonrpc":"2.0","method":"no.such"}') == b""
        assert house.engine.said == ["a"]

    play(scene)


def test_a_request_whose_id_is_null_is_answered_without_one() -> None:
    async def scene(house: House) -> None:
        line = b'{"jsonrpc":"2.0","id":null,"method":"say","params":{"text":"a"}}'
        assert json.loads(await house.dispatcher.open().answer(line)) == {"jsonrpc": "2.0", "result": {"count": 1}}

    play(scene)


def test_a_wait_gives_what_is_there_at_once() -> None:
    async def scene(house: House) -> None:
        house.engine.said.append("hello")
        answer = await ask(house.dispatcher.open(), "wait", {"wanted": "hello", "timeout": 0})
        assert answer["result"]["status"] == "received"
        answer = await ask(house.dispatcher.open(), "wait", {"wanted": "hello"})
        assert answer["result"]["status"] == "received"

    play(scene)


def test_a_wait_hears_of_what_comes_later() -> None:
    async def scene(house: House) -> None:
        waiting = asyncio.create_task(ask(house.dispatcher.open(), "wait", {"wanted": "b"}))
        await until(lambda: house.engine.polls)
        other = house.dispatcher.open()
        await ask(other, "say", {"text": "a"})
        await ask(other, "say", {"text": "b"})
        assert (await asyncio.wait_for(waiting, 5))["result"] == {"status": "received", "text": "b"}
        assert house.feed.listeners == 0

    play(scene)


def test_a_wait_ends_with_a_timeout() -> None:
    async def scene(house: House) -> None:
        answer = await ask(house.dispatcher.open(), "wait", {"wanted": "x", "timeout": 0.05})
        assert answer["result"] == {"status": "timeout"}

    play(scene)


@pytest.mark.parametrize("timeout", [-1, "3", True, [], {}])
def test_a_timeout_that_makes_no_sense_is_refused(timeout: Any) -> None:
    async def scene(house: House) -> None:
        assert (await ask(house.dispatcher.open(), "wait", {"timeout": timeout}))["error"]["code"] == -32602

    play(scene)


def test_who_hangs_up_waits_no_more() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        waiting = asyncio.create_task(ask(conversation, "wait", {"wanted": "x"}))
        await until(lambda: house.feed.listeners)
        conversation.hang_up()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert house.feed.listeners == 0
        assert not house.feed._sleepers

    play(scene)


def test_a_stopping_daemon_answers_waits_and_newcomers_with_an_error() -> None:
    async def scene(house: House) -> None:
        waiting = asyncio.create_task(ask(house.dispatcher.open(), "wait", {"wanted": "x"}))
        await until(lambda: house.feed.listeners)
        house.dispatcher.stop()
        for answer in (await waiting, await ask(house.dispatcher.open(), "echo")):
            assert answer["error"]["code"] == DaemonError.code
            assert "stopping" in answer["error"]["message"]

    play(scene)


def test_health_tells_of_the_process() -> None:
    async def scene(house: House) -> None:
        assert (await ask(house.dispatcher.open(), "health"))["result"]["pid"] == 7

    play(scene)


def test_the_daemon_counts_what_it_does() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        for _ in range(3):
            await ask(conversation, "echo")
        whole = (await ask(conversation, "daemon.status"))["result"]
        assert whole["requests"] == 3
        told = whole["methods"]
        assert told["echo"]["count"] == 3
        assert 0 <= told["echo"]["p50_ms"] <= told["echo"]["p99_ms"]

    play(scene)


def test_git_is_asked_beside_the_worker_and_only_when_nothing_is_known() -> None:
    async def scene(house: House) -> None:
        assert "result" in await ask(house.dispatcher.open(), "who")
        assert house.engine.contexts.readers == []
        house.engine.contexts.is_unknown = True
        assert "result" in await ask(house.dispatcher.open(), "who")
        (reader,) = house.engine.contexts.readers
        assert reader != "engine"
        assert [method for method, _, _ in house.engine.calls] == ["who", "who"]

    play(scene)


def test_a_search_that_has_much_to_index_lets_others_have_their_turn() -> None:
    async def scene(house: House) -> None:
        house.engine.steps = 10_000
        search = asyncio.ensure_future(ask(house.dispatcher.open(), "search"))
        await until(lambda: house.engine.steps < 10_000)
        for number in range(3):
            await ask(house.dispatcher.open(), "echo", {"n": number})
        assert 0 < house.engine.steps < 10_000 and not search.done()
        house.engine.steps = 5
        assert "result" in await search and house.engine.steps <= 0
        assert [method for method, _, _ in house.engine.calls] == ["echo", "echo", "echo", "search"]

    play(scene)


def test_a_forced_sync_goes_through_the_pace() -> None:
    async def scene(house: House) -> None:
        answer = await ask(house.dispatcher.open(), "sync.force")
        assert house.sync.forced == 1
        assert answer["result"]["triggered"] is True
        assert answer["result"]["received"] == 2

    play(scene)


def cli(argv: list[str], **more: Any) -> Json:
    return {"argv": argv, "cwd": "/x", "version": thrum.__version__, **more}


def test_a_command_line_of_another_version_is_declined() -> None:
    async def scene(house: House) -> None:
        answer = await ask(house.dispatcher.open(), "cli.run", cli(["echo"], version="0.0.1"))
        assert "declined" in answer["result"]

    play(scene)


def test_what_a_command_line_deferred_happens_when_it_says_done() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        ran = (await ask(conversation, "cli.run", cli(["echo"])))["result"]
        assert "deferred" not in ran
        assert ("mark", {"ids": [1]}, Claim(name="ann")) not in house.engine.calls
        assert (await ask(conversation, "cli.done", {"token": ran["token"]}))["result"] == {"done": 1}
        assert ("mark", {"ids": [1]}, Claim(name="ann")) in house.engine.calls
        assert (await ask(conversation, "cli.done", {"token": ran["token"]}))["result"] == {"done": 0}

    play(scene)


def test_a_command_line_may_wait_and_be_hung_up_on() -> None:
    async def scene(house: House) -> None:
        conversation = house.dispatcher.open()
        waiting = asyncio.create_task(ask(conversation, "cli.run", cli(["wait"], params={"wanted": "x"})))
        await until(lambda: house.feed.listeners)
        conversation.hang_up()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    play(scene)


def test_postponed_calls_are_few_and_not_kept_for_long() -> None:
    now = [0.0]
    postponed = Postponed(lambda: now[0])
    call = [Call("m", {}, Claim())]
    first = postponed.keep(call)
    for _ in range(2 * MOST):
        last = postponed.keep(call)
    assert len(postponed._calls) <= MOST
    assert postponed.claim(first) == []
    assert postponed.claim(last) == call
    late = postponed.keep(call)
    now[0] = LIFETIME + 1
    assert postponed.claim(late) == []
