"""Those who wait: one look for all who wait for the same, and nobody misses what came while somebody looked."""

import asyncio
import contextlib

import pytest

from thrum import eventloop
from thrum.caller import Claim
from thrum.daemon.feed import Feed
from thrum.daemon.looks import Looks, question
from thrum.daemon.worker import Worker
from thrum.engine import Call
from thrum.errors import DaemonError

PATIENCE = 5


def wait_for(name, **params):
    return Call("message.wait", params, Claim(agent_id=name))


class Scene:
    """Waiters at a mailbox of one message an agent; `jobs`: whom each look was for."""

    def __init__(self):
        self.mail, self.jobs, self.while_looking = {}, [], lambda: None
        self.feed, self.worker = Feed(asyncio.get_running_loop()), Worker()
        self.looks = Looks(self.worker, self.feed, self.poll)

    def poll(self, calls):
        self.jobs.append([call.claim.agent_id for call in calls])
        found = [self.mail.get(call.claim.agent_id) for call in calls]
        self.while_looking()
        return found

    def arrive(self, name, what):
        self.mail[name] = what
        self.feed.tell()

    def watch(self, name, seconds=PATIENCE, **params):
        return asyncio.ensure_future(self.looks.watch(wait_for(name, **params), asyncio.timeout(seconds)))

    async def asleep(self, *waiters):
        """Lets everybody have looked."""
        while sum(map(len, self.jobs)) < len(waiters) or any(map(len, [self.looks._groups])) == 0:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        self.jobs.clear()


def play(act):
    async def scene():
        made = Scene()
        try:
            return await asyncio.wait_for(act(made), 30)
        finally:
            made.worker.close()

    return eventloop.run(scene())


def test_what_is_there_is_given_at_once():
    async def act(scene):
        scene.mail["ann"] = "old"
        return await scene.watch("ann", 0), scene.jobs

    assert play(act) == ("old", [["ann"]])


def test_one_look_after_the_news_for_all_who_wait_for_the_same():
    async def act(scene):
        waiters = [scene.watch(name, timeout=number) for number, name in enumerate(["ann", "bob", "ann", "ann"])]
        await scene.asleep(*waiters)
        scene.arrive("ann", {"from": "lead"})
        found = [await waiters[place] for place in (0, 2, 3)]
        assert not waiters[1].done()
        scene.arrive("bob", "later")
        return found, await waiters[1], scene.jobs, scene.looks._groups

    found, later, jobs, left = play(act)
    assert found[0] is found[1] is found[2] and found[0] == {"from": "lead"} and later == "later"
    assert sorted(name for job in jobs for name in job) == ["ann", "bob", "bob"] and not left


def test_what_came_during_the_first_look_is_looked_for_again():
    async def act(scene):
        scene.while_looking = lambda: not scene.mail and scene.arrive("ann", "just now")
        return await scene.watch("ann")

    assert play(act) == "just now"


def test_what_came_during_the_look_for_a_group_is_looked_for_again():
    async def act(scene):
        waiter = scene.watch("ann")
        await scene.asleep(waiter)
        scene.while_looking = lambda: not scene.mail and scene.arrive("ann", "during")
        scene.feed.tell()
        return await waiter

    assert play(act) == "during"


def test_whoever_hangs_up_takes_nothing_from_the_others_and_leaves_nothing():
    async def act(scene):
        gone, other, alone = scene.watch("ann"), scene.watch("ann"), scene.watch("bob")
        await scene.asleep(gone, other, alone)
        gone.cancel(), alone.cancel()
        await asyncio.sleep(0.01)
        assert len(scene.looks._groups) == 1
        scene.arrive("ann", "for the other")
        found = await other
        return found, scene.looks._groups

    assert play(act) == ("for the other", {})


def test_whoever_comes_when_the_last_one_leaves_is_told_of_what_comes():
    async def act(scene):
        for _ in range(50):
            first = scene.watch("ann")
            await scene.asleep(first)
            first.cancel()
            second = scene.watch("ann")
            await scene.asleep(second)
            scene.arrive("ann", "mail")
            assert await second == "mail"
            scene.mail.clear()
        return True

    assert play(act)


def test_time_runs_out_for_each_by_itself():
    async def act(scene):
        short, long = scene.watch("ann", 0.05), scene.watch("ann")
        with pytest.raises(TimeoutError):
            await short
        scene.arrive("ann", "in time")
        return await long

    assert play(act) == "in time"


def test_everybody_is_told_of_what_went_wrong_and_of_the_end():
    async def act(scene):
        waiters = [scene.watch("ann"), scene.watch("ann")]
        await scene.asleep(*waiters)
        scene.arrive("ann", KeyError("odd"))
        odd = await asyncio.gather(*waiters, return_exceptions=True)
        waiters = [scene.watch("bob"), scene.watch("bob")]
        await scene.asleep(*waiters)
        scene.feed.close()
        late = [*waiters, scene.watch("bob")]
        return odd, await asyncio.gather(*late, return_exceptions=True)

    odd, ended = play(act)
    assert [type(one) for one in odd] == [KeyError] * 2 and [type(one) for one in ended] == [DaemonError] * 3


def test_nobody_is_forgotten_in_a_thousand_arrivals():
    async def act(scene):
        heard = []

        async def listen(name):
            with contextlib.suppress(TimeoutError):
                while True:
                    heard.append(await scene.looks.watch(wait_for(name), asyncio.timeout(1)))
                    scene.mail.pop(name, None)

        listeners = [asyncio.ensure_future(listen(f"agent{number % 7}")) for number in range(7)]
        for number in range(1000):
            scene.arrive(f"agent{number % 7}", number)
            while f"agent{number % 7}" in scene.mail:
                await asyncio.sleep(0)
        await asyncio.gather(*listeners)
        return heard

    assert sorted(play(act)) == list(range(1000))


@pytest.mark.parametrize(
    "other", [wait_for("bob"), wait_for("ann", priority="high"), wait_for("ann", Mention="a", mention="b")]
)
def test_a_question_is_who_asks_what_and_not_how_long(other):
    asked = wait_for("ann", timeout=1)
    assert question(asked) == question(wait_for("ann", Timeout=9)) == question(wait_for("ann", Scope=None))
    assert question(asked) != question(other)


def test_of_a_word_that_is_said_twice_the_last_one_counts():
    assert question(wait_for("ann", Mention="a", mention="b")) == question(wait_for("ann", mention="b"))
    assert question(wait_for("ann", mention="b", Mention="a")) == question(wait_for("ann", mention="a"))
