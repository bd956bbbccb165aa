"""A command line becomes a plan; what makes no sense is refused with a next step."""

import subprocess
import sys

import pytest

from tests import kit
from thrum.cli import app
from thrum.cli.commands import COMMANDS, Command, says
from thrum.cli.plan import Local, NeedsInputError, Plan, Said
from thrum.errors import UsageError
from thrum.methods import registry

ALL = [
    words
    for name, entry in COMMANDS.items()
    for words in ([(name,)] if isinstance(entry, Command) else [(name, own) for own in entry])
]


def plan(*argv, **options):
    meant, _ = app.plan(argv, **options)
    return meant


@pytest.mark.parametrize(
    ("argv", "method", "params"),
    [
        (["send", "hi", "--to", "@x"], "message.send", {"content": "hi", "to": ["@x"]}),
        (["send", "hi", "-b"], "message.send", {"to": ["@everyone"]}),
        (
            ["send", "hi", "--scope", "a:b,c", "--scope", "d:e:f"],
            "message.send",
            {"scopes": [("a", "b,c"), ("d", "e:f")]},
        ),
        (["send", "hi", "--structured", '{"a": 1}'], "message.send", {"structured": {"a": 1}}),
        (["send", "--", "-x"], "message.send", {"content": "-x"}),
        (["send", "hi", "--thread", "t", "--request-id", "r"], "message.send", {"thread_id": "t", "request_id": "r"}),
        (["reply", "msg_1", "ok"], "message.reply", {"message_id": "msg_1", "content": "ok"}),
        (["inbox", "--limit", "3", "--page", "2"], "message.list", {"page_size": 3, "page": 2, "exclude_self": True}),
        (["inbox", "--unread", "--mentions"], "message.list", {"unread": True, "mentions": True}),
        (["inbox", "--all"], "message.list", {"all": True}),
        (["wait", "--timeout", "1h30m"], "message.wait", {"timeout": 5400.0}),
        (["wait", "--timeout", "300ms"], "message.wait", {"timeout": 0.3}),
        (["wait", "--timeout", "2"], "message.wait", {"timeout": 2.0}),
        (["quickstart", "--role", "r", "--module", "m"], "quickstart", {"role": "r", "module": "m"}),
        (["agent", "list", "--role", "r"], "agent.list", {"role": "r"}),
        (["agent", "list", "--context"], "agent.listContext", {}),
        (["agent", "start"], "session.start", {}),
        (["session", "set-intent", ""], "session.setIntent", {"intent": ""}),
        (["session", "heartbeat", "--add-scope", "a:b"], "session.heartbeat", {"add_scopes": [("a", "b")]}),
        (["message", "edit", "m", "new"], "message.edit", {"message_id": "m", "content": "new"}),
        (["message", "edit", "m", "--structured", "{}"], "message.edit", {"structured": {}}),
        (["message", "delete", "m", "--reason", "r", "--force"], "message.delete", {"message_id": "m", "reason": "r"}),
        (["message", "get", "m", "--history"], "message.get", {"message_id": "m", "history": True}),
        (["search", "a", "b", "--from", "@x", "--limit", "3"], "message.search", {"query": "a b", "page_size": 3}),
        (["search", "a", "--since", "2d", "--scope", "a:b"], "message.search", {"since": "2d"}),
        (["thread", "create", "T"], "thread.create", {"title": "T"}),
        (["thread", "create", "T", "--to", "@x", "--message", "m"], "thread.create", {"message": {"content": "m"}}),
        (["thread", "list", "--scope", "a:b", "--page", "2"], "thread.list", {"page": 2}),
        (["thread", "show", "t"], "thread.get", {"thread_id": "t"}),
        (["subscribe", "--mention", "@x"], "subscribe", {"mention_role": "@x"}),
        (["subscribe", "--scope", "a:b"], "subscribe", {"scope": {"type": "a", "value": "b"}}),
        (["unsubscribe", "7"], "unsubscribe", {"subscription_id": 7}),
        (["subscriptions"], "subscriptions.list", {}),
        (["agent", "delete", "x"], "agent.delete", {"name": "x"}),
        (["agent", "cleanup", "--dry-run"], "agent.cleanup", {"dry_run": True, "threshold": 30}),
        (["agent", "cleanup", "--force", "--threshold", "2"], "agent.cleanup", {"force": True, "threshold": 2}),
        (["sync", "force"], "sync.force", {}),
        (["who-has", "a.py"], "agent.whoHas", {"file": "a.py"}),
    ],
)
def test_a_command_is_a_method_with_parameters(argv, method, params):
    meant = plan(*argv)
    assert meant.method == method
    for name, value in params.items():
        found = meant.params[name]
        pairs = isinstance(value, list) and isinstance(value[0], tuple)
        assert ([(pair["type"], pair["value"]) for pair in found] if pairs else found) == value


def test_every_plan_names_a_method_that_takes_its_parameters():
    for argv in (
        ["message", "edit", "m", "x"],
        ["message", "delete", "m", "--reason", "x"],
        ["message", "get", "m", "--history"],
        ["message", "read", "--all"],
        ["search", "x", "--from", "a", "--scope", "a:b", "--since", "2d"],
        ["thread", "create", "T", "--to", "x", "--message", "m", "--scope", "a:b"],
        ["thread", "list", "--scope", "a:b"],
        ["thread", "show", "t"],
        ["subscribe", "--all"],
        ["unsubscribe", "1"],
        ["subscriptions"],
        ["agent", "delete", "x"],
        ["agent", "cleanup", "--force"],
        ["send", "x"],
        ["reply", "m", "x"],
        ["inbox"],
        ["sent"],
        ["wait"],
        ["whoami"],
        ["status"],
        ["overview"],
    ):
        meant = plan(*argv)
        declared = {parameter.name for parameter in registry.load()[meant.method].parameters}
        assert set(meant.params) <= declared


def test_role_and_module_come_from_the_environment_when_no_flag_says_them():
    environ = {"THRUM_ROLE": "r", "THRUM_MODULE": "m", "THRUM_NAME": "n"}
    assert plan("quickstart", environ=environ).params == {"role": "r", "module": "m", "name": "n"}
    assert plan("quickstart", "--role", "x", environ=environ).params["role"] == "x"


@pytest.mark.parametrize(
    ("argv", "said", "hint"),
    [
        (["sendd", "x"], "no command 'sendd'", "did you mean send"),
        (["agent", "lst"], "no command 'lst'", "did you mean list"),
        (["agent"], "needs a command", "git thrum agent --help"),
        (["send", "x", "--bogus"], "no such option", "git thrum send --help"),
        (["--bogus"], "no such option", "git thrum -h"),
        (["ping"], "missing argument", "git thrum ping --help"),
        (["inbox", "extra"], "unexpected extra argument", "git thrum inbox --help"),
        (["inbox", "--page", "x"], "invalid value", "git thrum inbox --help"),
        (["inbox", "--page-size", "0"], "invalid value", "git thrum inbox --help"),
        (["inbox", "--scope", "nocolon"], "is not type:value", "module:auth"),
        (["send"], "no text to send", "standard input"),
        (["send", "  "], "no text to send", "standard input"),
        (["send", "x", "--structured", "[1]"], "must be a JSON object", "--structured"),
        (["send", "x", "--structured", "{"], "is no JSON", "--structured"),
        (["send", "x", "-b", "--to", "@y"], "--broadcast is for everyone", "drop one"),
        (["send", "x", "--stdin"], "given twice", "drop one"),
        (["wait", "--timeout", "soon"], "no length of time", "30s"),
        (["wait", "--timeout", "-1"], "no length of time", "30s"),
        (["quickstart", "--role", "r"], "missing --module", "git thrum quickstart --role"),
        (["message", "read"], "which messages", "--all"),
        (["message", "read", "m", "--all"], "which messages", "--all"),
        (["completion", "csh"], "no completion", "bash"),
        (["message", "edit", "m"], "no text to send", "standard input"),
        (["message", "edit"], "missing argument", "git thrum message edit --help"),
        (["message", "delet", "m"], "no command 'delet'", "did you mean delete"),
        (["thread", "creat", "x"], "no command 'creat'", "did you mean create"),
        (["thread", "create"], "missing argument", "git thrum thread create --help"),
        (["thread", "create", "T", "--to", "@x"], "--to needs --message", "both"),
        (["thread", "create", "T", "--message", "m"], "--message needs --to", "both"),
        (["thread"], "needs a command", "git thrum thread --help"),
        (["subscribe"], "say one of", "--all"),
        (["subscribe", "--all", "--mention", "x"], "say one of", "--all"),
        (["unsubscribe", "x"], "invalid value", "git thrum unsubscribe --help"),
        (["unsubscribe", "0"], "invalid value", "git thrum unsubscribe --help"),
        (["subscriptions", "x"], "unexpected extra argument", "git thrum subscriptions --help"),
        (["search"], "missing argument", "git thrum search --help"),
        (["search", "x", "--limit", "0"], "invalid value", "git thrum search --help"),
        (["agent", "delete"], "missing argument", "git thrum agent delete --help"),
        (["agent", "cleanup", "--dry-run", "--force"], "contradict", "drop one"),
        (["agent", "cleanup", "--threshold", "-1"], "invalid value", "git thrum agent cleanup --help"),
        (["migrate", "x"], "unexpected extra argument", "git thrum migrate --help"),
    ],
)
def test_what_makes_no_sense_is_refused(argv, said, hint):
    with pytest.raises(UsageError) as caught:
        plan(*argv)
    assert said in str(caught.value)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_text_may_come_from_standard_input():
    assert plan("send", "-", read_input=lambda: "grüße\n".encode()).params["content"] == "grüße\n"
    assert plan("reply", "m", "--stdin", read_input=lambda: b"x").params["content"] == "x"
    with pytest.raises(UsageError, match="byte 1 is wrong"):
        plan("send", "-", read_input=lambda: b"a\xff")
    with pytest.raises(NeedsInputError):
        plan("send", "-")


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_has_help_that_begins_with_its_declaration(words):
    entry = COMMANDS[words[0]]
    for name in words[1:]:
        entry = entry[name]
    meant = plan(*words, "--help")
    assert isinstance(meant, Said)
    flowing = " ".join(meant.text.split())
    assert flowing.startswith("Usage: git thrum " + " ".join(words))
    assert " ".join(says(entry.help).split()) in flowing


def test_help_and_no_words_at_all_list_the_commands():
    for argv in ([], ["-h"], ["--help"], ["help"]):
        assert "Send a message" in plan(*argv).text
    assert plan("help", "send").text == plan("send", "-h").text
    assert "run" not in plan("daemon", "-h").text.split("Commands:")[1].split()


@pytest.mark.parametrize(
    "argv", [["init"], ["setup", "x"], ["daemon", "start"], ["doctor"], ["version"], ["--version"]]
)
def test_what_sets_up_or_repairs_is_local(argv):
    assert isinstance(plan(*argv), Local)


def test_files_are_named_from_where_the_user_stands(repository):
    below = repository / "src"
    below.mkdir()
    (below / "a.py").write_text("")

    def asked(word, cwd):
        return plan("who-has", word, cwd=str(cwd)).params["file"]

    assert asked("a.py", below) == "src/a.py"
    assert asked("./gone.py", below) == "src/gone.py"
    assert asked("../readme", below) == "readme"
    assert asked("src/a.py", below) == "src/a.py"
    assert asked(str(below / "a.py"), repository) == "src/a.py"
    assert asked("../../elsewhere", below) == "../../elsewhere"
    other = repository.parent / "other"
    kit.git(repository, "worktree", "add", "-q", "--detach", str(other))
    assert asked("../../other/src/b.py", below) == "src/b.py"
    assert asked(str(other / "b.py"), repository) == "b.py"
    assert asked("other/b.py", below) == "other/b.py"
    kit.git(repository, "worktree", "add", "-q", "--detach", str(below / "inner"))
    assert asked("src/inner/b.py", repository) == "src/inner/b.py"
    assert asked("./inner/b.py", below) == "b.py"


def test_one_command_imports_only_its_own_module():
    script = (
        "import sys; from thrum.cli import app; app.plan(['sync', 'status']);"
        "print(sorted(m for m in sys.modules if m.startswith('thrum.cli.') or m in ('pygit2', 'asyncio', 'sqlite3', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = done.stdout
    assert "thrum.cli.sync" in loaded
    assert not any(
        name in loaded for name in ("cli.message", "cli.setup", "cli.doctor", "pygit2", "asyncio", "sqlite3", "'rich'")
    )


def test_reading_everything_is_one_call():
    assert plan("message", "read", "--all")[:2] == ("message.markRead", {"all": True})


def test_beginnings_of_ids_are_made_whole_before_they_are_marked():
    meant = plan("message", "read", "a", "b")
    asked = []

    def answer(method, params):
        asked.append((method, params))
        if method == "message.get":
            return {"message": {"message_id": params["message_id"] + "!"}}
        return {"marked_count": len(params["message_ids"])}

    assert drive(meant, answer) == {"marked_count": 2}
    assert asked[-1] == ("message.markRead", {"message_ids": ["a!", "b!"]})


def drive(meant, answer):
    assert isinstance(meant, Plan)
    steps = meant.steps()
    try:
        step = next(steps)
        while True:
            step = steps.send(answer(*step))
    except StopIteration as end:
        return end.value
