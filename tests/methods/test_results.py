"""Every method gives what its docstring says, no less and no more: the reference is made from it."""

import pytest

from docs.generate.schema import fields
from thrum.methods import registry

METHODS = registry.load()
CORE = {"type": "module", "value": "core"}

CALLS = {
    "agent.cleanup": {},
    "agent.delete": {"name": "cat"},
    "agent.list": {},
    "agent.listContext": {},
    "agent.ping": {"agent": "bob"},
    "agent.register": {"role": "reviewer", "module": "api", "name": "ann"},
    "agent.whoHas": {"file": "readme"},
    "agent.whoami": {},
    "health": {},
    "message.delete": {"message_id": "OWN"},
    "message.edit": {"message_id": "OWN", "content": "x"},
    "message.get": {"message_id": "OWN"},
    "message.list": {},
    "message.markRead": {"all": True},
    "message.reply": {"message_id": "OTHER", "content": "x"},
    "message.search": {"query": "hello"},
    "message.send": {"content": "x"},
    "message.sent": {},
    "message.wait": {},
    "overview": {},
    "purge": {"before": "1d"},
    "quickstart": {"role": "reviewer", "module": "api", "name": "ann", "intent": "x"},
    "session.end": {},
    "session.heartbeat": {},
    "session.list": {},
    "session.setIntent": {"intent": "x"},
    "session.setTask": {"current_task": "x"},
    "session.start": {},
    "status": {},
    "subscribe": {"all": True},
    "subscriptions.list": {},
    "sync.force": {},
    "sync.status": {},
    "thread.create": {"title": "t", "recipient": "bob", "message": {"content": "x"}},
    "thread.get": {"thread_id": "THREAD"},
    "thread.list": {},
    "unsubscribe": {"subscription_id": 1},
    "user.identify": {},
    "user.register": {"username": "leon"},
}


def test_every_method_is_here():
    assert set(CALLS) == set(METHODS)


@pytest.fixture
def busy(team):
    """A repository in which everything has happened once; ids by their placeholder."""
    ann, bob, _ = team
    own = ann("message.send", content="hello", to=["bob"])["message_id"]
    other = bob("message.send", content="hello", scopes=[CORE])["message_id"]
    thread = ann("thread.create", title="t")["thread_id"]
    return ann, {"OWN": own, "OTHER": other, "THREAD": thread}


@pytest.mark.parametrize("method", sorted(CALLS))
def test_a_method_gives_what_it_says(busy, method):
    caller, places = busy
    params = {
        name: places.get(value, value) if isinstance(value, str) else value for name, value in CALLS[method].items()
    }
    answer = caller(method, **params)
    told = fields(METHODS[method].details)
    needed, possible = {name for name in told if not name.endswith("?")}, {name.rstrip("?") for name in told}
    assert needed <= set(answer) <= possible
