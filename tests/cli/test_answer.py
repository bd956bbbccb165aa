"""Results become output; the daemon's end of `cli.run`."""

import asyncio
import json

import pytest

from thrum.cli import answer, app
from thrum.cli.options import Options
from thrum.cli.plan import Style
from thrum.errors import BadParams, DaemonError, NoIdentity, StorageError, UnknownRecipient

MESSAGE = {
    "message_id": "msg_1",
    "agent_id": "bob",
    "body": {"format": "markdown", "content": "hello\n  there"},
    "created_at": "2026-02-10T12:00:00Z",
    "is_read": False,
    "priority": "normal",
    "to": ["rita"],
    "refs": [],
    "scopes": [],
}
SENT = {
    "message_id": "msg_1",
    "created_at": "x",
    "from": "bob",
    "everyone": False,
    "recipients": ["rita"],
    "recipient_count": 1,
}


def page(*messages, total=None, unread=1):
    size = total if total is not None else len(messages)
    return {"messages": list(messages), "unread": unread, "total": size, "page": 1, "page_size": 10, "total_pages": 1}


class Methods:
    """Stands for the engine: answers what it was told to, and remembers what it was asked."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): value for name, value in answers.items()}
        self.asked = []

    async def __call__(self, method, params, claim):
        self.asked.append((method, params, claim))
        found = self.answers[method]
        if isinstance(found, Exception):
            raise found
        return found.pop(0) if isinstance(found, list) else found


def run(methods, *argv, **params):
    whole = {"argv": list(argv), "cwd": "/", "environ": {}, "tty": False, "width": 80, "now": 1, **params}
    return asyncio.run(answer.run_cli(whole, methods))


def test_a_sent_message_says_to_whom_and_where_it_is():
    done = run(Methods(message_send=SENT), "send", "hi", "--to", "@rita")
    assert done == {"stdout": "sent msg_1 to @rita (1 agent), as @bob, stored here\n", "stderr": "", "exit": 0}


def test_quiet_silences_confirmations_and_not_what_was_asked_for():
    assert run(Methods(message_send=SENT), "send", "hi", "--quiet")["stdout"] == ""
    methods = Methods(message_list=page(MESSAGE), agent_whoami={})
    assert "hello" in run(methods, "inbox", "--quiet")["stdout"]


def test_json_is_one_document_in_ascii():
    odd = {**SENT, "message_id": "msg_\u202e"}
    done = run(Methods(message_send=odd), "--json", "send", "hi")
    assert json.loads(done["stdout"]) == odd
    assert done["stdout"].isascii()


def test_shown_mail_is_to_be_marked_when_it_was_written():
    methods = Methods(message_list=page(MESSAGE, {**MESSAGE, "message_id": "msg_2", "is_read": True}), agent_whoami={})
    done = run(methods, "inbox", "--name", "rita")
    (method, params, claim), *rest = done["deferred"]
    assert (method, params, claim.name, rest) == ("message.markRead", {"message_ids": ["msg_1"]}, "rita", [])
    assert [asked[0] for asked in methods.asked] == ["agent.whoami", "message.list"]


@pytest.mark.parametrize("flag", ["--peek", "--unread", "--all"])
def test_a_look_marks_nothing(flag):
    assert "deferred" not in run(Methods(message_list=page(MESSAGE), agent_whoami={}), "inbox", flag)


def test_an_inbox_without_an_identity_is_an_error_and_not_everybodys_mail():
    methods = Methods(message_list=page(MESSAGE), agent_whoami=NoIdentity("nobody", "quickstart"))
    done = run(methods, "inbox")
    assert (done["stdout"], done["stderr"], done["exit"]) == ("", "error: nobody\n  try: quickstart\n", 1)


def test_wait_prints_the_message_and_marks_it():
    methods = Methods(message_wait={"status": "received", "message": MESSAGE, "more": 2})
    done = run(methods, "wait", "--json")
    assert json.loads(done["stdout"]) == {**MESSAGE, "more": 2}
    assert done["deferred"][0][:2] == ("message.markRead", {"message_ids": ["msg_1"]})
    assert "deferred" not in run(methods, "wait", "--peek")


def test_a_timeout_is_told_on_stderr_and_by_the_exit_code():
    methods = Methods(message_wait={"status": "timeout"})
    assert run(methods, "wait", "--timeout", "0") == {"stdout": "", "stderr": "timeout: no mail within 0s\n", "exit": 1}
    assert run(methods, "wait", "--timeout", "0", "--quiet")["stderr"] == ""
    assert json.loads(run(methods, "wait", "--timeout", "0", "--json")["stdout"]) == {"status": "timeout"}


def test_any_error_of_wait_is_2():
    done = run(Methods(message_wait=StorageError("full", "make room")), "wait")
    assert (done["exit"], done["stderr"]) == (2, "error: full\n  try: make room\n")
    assert run(Methods(message_wait=StorageError("full")), "wait", "--json")["exit"] == 2


def test_a_wait_longer_than_one_call_is_made_again():
    received = {"status": "received", "message": MESSAGE, "more": 0}
    methods = Methods(message_wait=[{"status": "timeout"}, received])
    assert run(methods, "wait", "--timeout", "2h")["exit"] == 0
    assert len(methods.asked) == 2


@pytest.mark.parametrize(
    ("cycle", "code", "said"),
    [
        ({"ok": True, "remote": "origin"}, 0, "stored here and on origin"),
        ({"ok": True, "sync_state": "no_remote"}, 1, "there is none to sync with"),
        ({"ok": True, "sync_state": "off"}, 1, "sync is switched off"),
        ({"ok": False, "remote": "origin", "error": "no \x1b route", "hint": "wait"}, 1, "no \\x1b route\n  try: wait"),
        (DaemonError("died"), 1, "died"),
    ],
)
def test_wait_sync_claims_the_remote_only_when_it_has_it(cycle, code, said):
    done = run(Methods(message_send=dict(SENT), sync_force=cycle), "send", "hi", "--wait-sync")
    assert done["exit"] == code
    assert said in done["stdout"] + done["stderr"]
    assert "sent msg_1" in done["stdout"]


def test_refusals_are_documents_under_json():
    error = UnknownRecipient("nobody is called x", "did you mean y?")
    done = run(Methods(message_send=error), "send", "hi", "--to", "x", "--json")
    wanted = {"code": -32017, "kind": "UnknownRecipient", "message": "nobody is called x", "hint": "did you mean y?"}
    assert json.loads(done["stdout"]) == {"error": wanted}
    assert (done["stderr"], done["exit"]) == ("", 1)


def test_usage_errors_end_with_2_and_follow_json():
    assert run(Methods(), "sendd")["exit"] == 2
    assert json.loads(run(Methods(), "sendd", "--json")["stdout"])["error"]["kind"] == "UsageError"


def test_errors_are_made_safe():
    done = run(Methods(message_send=StorageError("a\x1b[2Jb", "c\u202ed")), "send", "hi")
    assert done["stderr"] == "error: a\\x1b[2Jb\n  try: c\\u202ed\n"


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["init"], "local"),
        (["send", "-h"], "help"),
        (["send", "-"], "stdin"),
        (["send", "--stdin"], "stdin"),
        ([], "help"),
    ],
)
def test_what_needs_its_own_process_is_declined(argv, reason):
    assert run(Methods(), *argv) == {"declined": reason}


def test_a_daemon_that_is_stopping_declines():
    assert run(Methods(message_send=DaemonError("stopping")), "send", "hi") == {"declined": "stopping"}


def test_a_line_for_another_repository_is_declined(repository):
    params = {"argv": ["whoami"], "cwd": str(repository), "environ": {}}
    done = asyncio.run(answer.run_cli(params, Methods(agent_whoami={}), "/somewhere/else/.git"))
    assert done == {"declined": "another repository"}


def test_repo_says_where_the_caller_stands():
    methods = Methods(message_send=SENT)
    run(methods, "send", "hi", "--repo", "sub", cwd="/work", environ={"THRUM_NAME": "a", "TERM": "x"})
    claim = methods.asked[0][2]
    assert (claim.cwd, dict(claim.environ)) == ("/work/sub", {"THRUM_NAME": "a"})


def test_an_attempt_has_one_request_id_unless_the_user_chose_one():
    methods = Methods(message_send=SENT)
    run(methods, "send", "hi", request="abc")
    run(methods, "send", "hi", "--request-id", "mine", request="abc")
    assert [asked[1]["request_id"] for asked in methods.asked] == ["abc", "mine"]


def test_colours_are_for_terminals_that_want_them():
    style = answer.style_for
    assert style(Options(), {}, True, 80).color
    assert not style(Options(), {}, False, 80).color
    assert not style(Options(), {"NO_COLOR": "1"}, True, 80).color
    assert not style(Options(), {"TERM": "dumb"}, True, 80).color


def test_verbose_tells_how_long_it_took():
    done = run(Methods(message_send=SENT), "send", "hi", "--verbose")
    assert "took " in done["stderr"]
    assert "through the daemon" in done["stderr"]


def test_compose_uses_the_plans_own_words():
    plan, options = app.plan(["wait", "--timeout", "1m"])
    output = answer.compose(plan, options, Style(), {"status": "timeout"})
    assert output == answer.Output("", "timeout: no mail within 1m\n", 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"argv": None},
        {"argv": "whoami"},
        {"argv": [5]},
        {"argv": ["a\0b"]},
        {"cwd": None},
        {"cwd": 5},
        {"cwd": "a\0b"},
        {"environ": [5]},
        {"environ": {"THRUM_NAME": 5}},
        {"request": []},
        {"width": "80"},
        {"width": -1},
        {"width": True},
        {"now": 10**30},
        {"now": {}},
    ],
)
def test_what_is_no_command_line_is_refused_by_name(wrong):
    methods = Methods(agent_whoami={})
    params = {"argv": ["whoami"], "cwd": "/x", "environ": {}, "width": 80, "now": 0, **wrong}
    with pytest.raises(BadParams, match=f"^{next(iter(wrong))} must be"):
        asyncio.run(answer.run_cli(params, methods))
