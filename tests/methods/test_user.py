import pytest

from tests import kit
from thrum.caller import Claim
from thrum.errors import BadParams, Forbidden, NotFound, NoUserName


class User:
    """A user at no worktree: known by its id alone, as a browser is."""

    def __init__(self, engine, username):
        self.engine, self.claim = engine, Claim(agent_id=f"user:{username}")

    def __call__(self, method, /, **params):
        return self.engine.call(method, params, self.claim)


@pytest.fixture
def leon(engine):
    engine.call("user.register", {"username": "leon", "display": "Leon"}, Claim())
    return User(engine, "leon")


def test_a_user_is_registered_and_can_write_and_read(engine, ann):
    answer = ann("user.register", username="Leo-2", display="Leo")
    assert answer["user_id"] == "user:Leo-2" and answer["username"] == "Leo-2" and answer["display_name"] == "Leo"
    assert answer["status"] == "registered" and answer["token"].startswith("tok_") and len(answer["token"]) == 30
    leo = User(engine, "Leo-2")
    sent = leo("message.send", content="hello", to=["ann"])
    assert [m["agent_id"] for m in ann("message.list")["messages"]] == ["user:Leo-2"]
    ann("message.reply", message_id=sent["message_id"], content="hi")
    assert leo("message.list")["unread"] == 1
    described = next(a for a in ann("agent.list")["agents"] if a["kind"] == "user")
    assert (described["role"], described["module"], described["display"]) == ("Leo-2", "ui", "Leo")


def test_registering_again_is_harmless_and_keeps_a_new_display(engine, leon, logs):
    before = logs()
    for params in ({}, {"display": "Leon"}):
        again = leon("user.register", username="leon", **params)
        assert (again["status"], again["display_name"]) == ("existing", "Leon")
    assert logs() == before
    assert leon("user.register", username="leon", display="L.")["display_name"] == "L."
    assert engine.roster.agent("user:leon")["display"] == "L."
    tokens = {leon("user.register", username="leon")["token"] for _ in range(5)}
    assert len(tokens) == 5


@pytest.mark.parametrize("name", ["", "agent:x", "user:x", "a b", "é", "x" * 33, "../x", "a\n", "*"])
def test_names_no_user_can_have(ann, logs, name):
    before = logs()
    with pytest.raises(BadParams, match="username"):
        ann("user.register", username=name)
    assert logs() == before


def test_who_honours_tokens_makes_them(engine, ann):
    engine.issue_token = lambda user_id: f"tok_for_{user_id}"
    assert ann("user.register", username="mia")["token"] == "tok_for_user:mia"


@pytest.mark.parametrize(
    ("name", "username"),
    [
        ("Obs Er", "obs-er"),
        ("Ann_Lee O'Neil", "ann-lee-oneil"),
        ("Jürgen Groß", "jurgen-gro"),
        ("  -- ", "user"),
        ("李雷", "user"),
        ("x" * 40, "x" * 32),
    ],
)
def test_git_says_who_the_user_is(repository, ann, name, username):
    kit.git(repository, "config", "user.name", name)
    kit.git(repository, "config", "user.email", "a@example.org")
    told = ann("user.identify")
    assert told["username"] == username and told["email"] == "a@example.org"
    assert ann("user.register", username=told["username"])["status"] == "registered"


def test_without_a_name_in_git_there_is_none(repository, ann, tmp_path):
    (tmp_path / "home" / ".gitconfig").write_text("")
    with pytest.raises(NoUserName) as caught:
        ann("user.identify")
    assert "user.name" in caught.value.hint


def test_a_user_writes_in_an_agents_name_and_every_answer_says_so(engine, ann, bob, leon):
    sent = leon("message.send", content="hold the release", to=["bob"], acting_as="@ann", disclose=True)
    assert (sent["from"], sent["authored_by"], sent["disclosed"]) == ("ann", "user:leon", True)
    quiet = leon("message.send", content="really", to=["bob"], acting_as="ann")["message_id"]
    for listed in (
        bob("message.list")["messages"],
        ann("message.sent")["messages"],
        [bob("message.get", message_id=m)["message"] for m in (quiet, sent["message_id"])],
    ):
        said = [(m["agent_id"], m["authored_by"], m["disclosed"]) for m in listed]
        assert said == [("ann", "user:leon", False), ("ann", "user:leon", True)]


def test_it_stands_in_the_users_own_log_and_is_the_users_message(engine, ann, bob, leon):
    sent = leon("message.send", content="hold", to=["bob"], acting_as="ann")["message_id"]
    assert [m["message_id"] for m in leon("message.sent")["messages"]] == [sent] and leon("message.sent")["total"] == 1
    files = kit.files(engine.place.log_root)
    assert [path.split("/")[1] for path, data in files.items() if sent.encode() in data] == ["user_leon"]
    with pytest.raises(Forbidden, match="user:leon"):
        ann("message.edit", message_id=sent, content="x")
    assert leon("message.edit", message_id=sent, content="go on")["version"] == 1
    assert bob("message.list")["messages"][0]["body"]["content"] == "go on"
    leon("message.delete", message_id=sent)
    assert bob("message.get", message_id=sent)["message"]["metadata"]["deleted_by"] == "user:leon"


def test_a_user_is_not_told_of_what_it_wrote_in_anothers_name(ann, bob, leon):
    leon("message.send", content="hello", acting_as="ann")
    assert leon("message.list")["unread"] == 0 and bob("message.list")["unread"] == 1
    assert ann("message.list")["unread"] == 0


def test_a_user_answers_in_an_agents_name(ann, bob, leon):
    asked = bob("message.send", content="may I?", to=["ann"])["message_id"]
    leon("message.reply", message_id=asked, content="yes", acting_as="ann", disclose=True)
    message = bob("message.list", unread=True)["messages"][0]
    assert (message["agent_id"], message["authored_by"], message["disclosed"]) == ("ann", "user:leon", True)


@pytest.mark.parametrize(
    ("who", "target", "refusal"),
    [("ann", "bob", Forbidden), ("leon", "user:leona", Forbidden), ("leon", "nobody", NotFound)],
)
def test_only_users_speak_for_others_and_only_for_agents(engine, ann, bob, leon, logs, who, target, refusal):
    engine.call("user.register", {"username": "leona"}, Claim())
    before, caller = logs(), {"ann": ann, "leon": leon}[who]
    for method, params in (
        ("message.send", {}),
        ("thread.create", {"title": "t", "recipient": "bob", "message": {"content": "x"}}),
    ):
        if method in engine.methods:
            with pytest.raises(refusal):
                caller(method, **({"content": "x"} | params if method == "message.send" else params), acting_as=target)
    assert logs() == before
