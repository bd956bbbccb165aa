"""One message, heard once by everybody who listens: two WebSocket clients, an MCP client, a blocked `git thrum wait`."""

import contextlib
import json
import subprocess

import pytest

from tests.daemon.test_web import Browser
from tests.mcp.conftest import PATIENCE, House, told
from tests.mcp.test_server import until, waiting, waits_at
from thrum.git import place


@pytest.fixture
def house(tmp_path):
    """@ann, @bob and @cora, each in a worktree with an open session, and a daemon with a WebSocket."""
    made = House(tmp_path / "h")
    del made.env["THRUM_WS_PORT"]
    made.thrum(made.shop, "daemon", "start")
    yield made
    made.close()


@contextlib.contextmanager
def browser(house, agent_id):
    """A WebSocket client that subscribed to all mail of an agent."""
    one = Browser(place.find(str(house.shop)))
    try:
        one("subscribe", all=True, caller_agent_id=agent_id)
        yield one
    finally:
        one.socket.close()


def test_everybody_hears_the_same_message_once(house):
    with (
        browser(house, "ann") as first,
        browser(house, "ann") as second,
        contextlib.closing(house.serve()) as model,
        waiting(house, model, False) as call,
    ):
        blocked = house.spawn(house.shop, "wait", "--timeout", "60s", "--json", stdout=subprocess.PIPE)
        until(lambda: waits_at(house) == 4)
        sent = house.bob("message.send", content="for all of you", to=["@ann"])["message_id"]
        assert told(call.result(PATIENCE))["message"]["message_id"] == sent
        assert json.loads(blocked.communicate(timeout=PATIENCE)[0])["message_id"] == sent
        for one in (first, second):
            heard = one.hear()
            assert (heard["method"], heard["params"]["message_id"]) == ("notification.message", sent)
            assert one.is_silent()
        assert model.ask("wait_for_message", timeout=0.2)["status"] == "timeout"
