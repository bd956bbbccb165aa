"""A real server, started as a coding agent starts it, and the SDK's own client at its other end."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests import kit
from thrum import client
from thrum.daemon import lifecycle

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(client.__file__)))
PATIENCE = 30.0  # seconds
PROGRAM = [sys.executable, "-m", "thrum"]


class Client:
    """The SDK's client on a loop of its own: `ask` and `refused` from any thread."""

    def __init__(self, cwd, env, *arguments):
        self._parameters = StdioServerParameters(
            command=PROGRAM[0], args=[*PROGRAM[1:], "mcp", "serve", *arguments], cwd=str(cwd), env=env
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._is_over = asyncio.Event()
        self._ready = Future()
        self._life = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        self._life.add_done_callback(self._note_failure)
        self.session, self.greeting = self._ready.result(PATIENCE)

    def run(self, coroutine, timeout=PATIENCE):
        """Runs a coroutine on the client's loop; its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout)

    def start(self, name, /, progress=None, **arguments):
        """Calls a tool without waiting for it; cancelling the future cancels the request."""
        call = self.session.call_tool(name, arguments, progress_callback=progress)
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def ask(self, name, /, **arguments):
        """What a tool answers; it must have worked, and say the same twice."""
        return told(self.start(name, **arguments).result(PATIENCE))

    def refused(self, name, /, **arguments):
        """The text of a refusal."""
        result = self.start(name, **arguments).result(PATIENCE)
        assert result.is_error, result
        assert result.structured_content is None
        (content,) = result.content
        return content.text

    def close(self):
        """Hangs up; the server ends."""
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._life.result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    async def _live(self):
        async with stdio_client(self._parameters) as streams, ClientSession(*streams) as session:
            self._ready.set_result((session, await session.initialize()))
            await self._is_over.wait()

    def _note_failure(self, life):
        if not self._ready.done():
            self._ready.set_exception(life.exception() or RuntimeError("the client ended early"))


def told(result):
    """A result's object; the text beside it is the same, and nothing in it is null."""
    assert not result.is_error, result.content
    (content,) = result.content
    assert json.loads(content.text) == result.structured_content
    assert "null" not in content.text.replace("nullify", "")
    return result.structured_content


class House:
    """A repository with @ann in its main worktree and @bob in another, in a home of its own."""

    def __init__(self, base):
        self.home = base / "home"
        (self.home / "run").mkdir(parents=True, mode=0o700)
        (self.home / ".gitconfig").write_text(kit.GITCONFIG)
        self.env = {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "GIT_CONFIG_GLOBAL": str(self.home / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ROOT,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "THRUM_WS_PORT": "0",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.env.items():
                patch.setenv(name, value)
            self.shop = kit.make_repository(base / "shop")
            self.engine = kit.set_up(self.shop)
            kit.git(self.shop, "config", "thrum.sync", "false")
            self.wt = kit.add_worktree(self.shop, "wt")
        self.ann = kit.hire(self.engine, self.shop, "ann", role="lead")
        self.bob = kit.hire(self.engine, self.wt, "bob", role="reviewer")

    def thrum(self, cwd, *words, code=0):
        """The command line; what it printed."""
        done = subprocess.run(
            [*PROGRAM, *words], cwd=cwd, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert code is None or done.returncode == code, (words, done)
        return done.stdout

    def spawn(self, cwd, *words, **options):
        """The command line, left running."""
        return subprocess.Popen([*PROGRAM, *words], cwd=cwd, env=self.env, text=True, **options)

    def serve(self, cwd=None, *arguments, **environ):
        """A client of a new server."""
        return Client(cwd or self.shop, {**self.env, **environ}, *arguments)

    def unread(self, who):
        """The ids of somebody's unread mail, oldest first."""
        listed = who("message.list", unread=True, sort_order="asc", page_size=100)["messages"]
        return [message["message_id"] for message in listed]

    def hire(self, name, role):
        """One more agent, in a worktree of its own."""
        return kit.hire(self.engine, kit.add_worktree(self.shop, name), name, role=role)

    def close(self):
        """Stops whatever daemon there is."""
        if lifecycle.owner(self.engine.place):
            lifecycle.stop(self.engine.place)
        self.engine.close()


@pytest.fixture
def house(tmp_path):
    """A house for one test."""
    made = House(tmp_path / "h")
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory, request):
    """A house for a module's tests; with a daemon when the parameter says so."""
    made = House(tmp_path_factory.mktemp("h"))
    made.cora = made.hire("cora", "tester")
    if request.param == "daemon":
        made.thrum(made.shop, "daemon", "start")
    with contextlib.closing(made):
        yield made


@pytest.fixture(scope="module")
def shared_server(shared_house):
    """@ann's server in the shared house."""
    with contextlib.closing(shared_house.serve()) as made:
        yield made
