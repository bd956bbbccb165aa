"""The commands of everyday, from the words to what is stored, without a daemon."""

import os
import threading
import time

import pytest

from tests import kit


def test_mail_goes_from_worktree_to_worktree_and_back(bob, rita):
    sent = bob.ask("send", "please look", "--to", "@reviewer", "--scope", "module:auth", "--ref", "pr:42")
    assert (sent["recipients"], sent["from"]) == (["rita"], "bob")
    inbox = rita.ask("inbox")
    assert (inbox["total"], inbox["unread"], inbox["page"]) == (1, 1, 1)
    assert inbox["messages"][0]["body"]["content"] == "please look"
    assert rita.ask("inbox")["unread"] == 0
    answer = rita.ask("reply", sent["message_id"][:12], "looks good")
    assert answer["recipients"] == ["bob"]
    assert bob.ask("inbox")["messages"][0]["thread_id"] == answer["thread_id"]
    assert bob.ask("sent")["messages"][0]["read_by"] == ["rita"]


@pytest.mark.parametrize("look", ["--peek", "--unread", "--all"])
def test_a_look_leaves_mail_unread(bob, rita, look):
    rita.ok("send", "one")
    assert bob.ask("inbox", look)["unread"] == 1
    assert ("left unread" in bob.ok("inbox", look)) == (look != "--all")
    assert bob.ask("inbox", "--peek")["unread"] == 1


def test_everybodys_mail_calls_nothing_new(bob, rita):
    bob.ok("send", "my own")
    assert "my own" in bob.ok("inbox", "--all")
    assert "NEW" not in bob.ok("inbox", "--all")


def test_only_what_was_shown_becomes_read(bob, rita):
    for number in range(3):
        rita.ok("send", f"number {number}")
    assert "1–2 of 3 · 3 unread · marked read" in bob.ok("inbox", "--limit", "2")  # noqa: RUF001
    left = bob.ask("inbox", "--unread")
    assert [message["body"]["content"] for message in left["messages"]] == ["number 0"]


def test_a_page_behind_the_last_one_says_so(bob, rita):
    assert bob.ok("inbox") == "no mail · 0 unread\n"
    rita.ok("send", "one")
    assert "page 3 is empty: the last one is page 1" in bob.ok("inbox", "--page", "3")
    assert "no such mail" in bob.ok("inbox", "--scope", "a:b")


def test_an_unknown_recipient_stores_nothing(bob, rita):
    ended = bob("send", "hello", "--to", "@reviwer")
    assert (ended.code, ended.out) == (1, "")
    assert "nothing was sent" in ended.err
    assert "did you mean @reviewer" in ended.err
    assert bob.ask("sent")["total"] == 0


def test_the_text_comes_from_standard_input_byte_for_byte(bob, rita):
    text = "`rm -rf` $(x) — \n\n  indented\n"
    bob.ok("send", "-", "--to", "rita", stdin=text.encode())
    assert rita.ask("wait")["body"]["content"] == text
    assert bob("send", "--stdin", stdin=b"\xff").code == 2


def test_the_same_request_twice_is_one_message(bob):
    first, second = (bob.ask("send", "once", "--request-id", "r1") for _ in range(2))
    assert first["message_id"] == second["message_id"]
    assert bob.ask("sent")["total"] == 1


def test_two_sends_are_two_messages(bob):
    assert bob.ask("send", "x")["message_id"] != bob.ask("send", "x")["message_id"]


def test_wait_gives_what_is_there_marks_it_and_then_times_out(bob, rita):
    rita.ok("send", "now", "--to", "bob")
    assert bob.ask("wait", "--peek")["body"]["content"] == "now"
    assert bob.ask("wait", "--timeout", "5s") == {
        **bob.ask("inbox", "--peek")["messages"][0],
        "is_read": False,
        "more": 0,
    }
    ended = bob("wait", "--timeout", "50ms")
    assert (ended.code, ended.out, ended.err) == (1, "", "timeout: no mail within 50ms\n")
    assert bob("wait", "--timeout", "0", "--json") == (1, '{\n  "status": "timeout"\n}\n', "")


def test_wait_wakes_up_for_mail_that_comes(bob, rita, repository, tmp_path):
    from tests.kit import Caller, open_engine

    def later():
        engine = open_engine(repository)
        time.sleep(0.4)
        Caller(engine, tmp_path / "wt")("message.send", content="late", to=["bob"])
        engine.close()

    thread = threading.Thread(target=later)
    thread.start()
    ended = bob("wait", "--timeout", "20s")
    thread.join()
    assert (ended.code, "late" in ended.out) == (0, True)


def test_wait_without_a_daemon_syncs_meanwhile(thrum, clones):
    one, two = (thrum.at(path) for path in clones(2))
    for here, name in ((one, "ann"), (two, "ben")):
        here.ok("init")
        here.ok("quickstart", "--role", "r", "--module", "m", "--name", name)
        here.ok("sync", "force")
    one.ok("sync", "force")
    one.ok("send", "over the wire", "--to", "ben", "--wait-sync")
    assert two.ask("wait", "--timeout", "20s")["body"]["content"] == "over the wire"


def test_an_error_of_wait_is_2(thrum, repository):
    assert thrum("wait").code == 2
    thrum.ok("init")
    ended = thrum("wait", "--json")
    assert (ended.code, ended.json["error"]["kind"]) == (2, "NoIdentity")


def test_wait_sync_says_when_the_remote_has_it(thrum, clones):
    (path,) = clones(1)
    here = thrum.at(path)
    here.ok("init")
    here.ok("quickstart", "--role", "r", "--module", "m", "--name", "ann")
    assert "stored here and on origin" in here.ok("send", "hi", "--wait-sync")
    assert here.ask("sent")["messages"][0]["state"] == "remote"
    kit.git(path, "remote", "set-url", "origin", "/nowhere")
    ended = here("send", "again", "--wait-sync")
    assert (ended.code, "not on the remote" in ended.err) == (1, True)
    assert here.ask("sent")["messages"][0]["state"] == "local"
    assert here("sync", "force").code == 1


def test_messages_can_be_got_and_read_by_the_beginning_of_their_id(bob, rita):
    ids = [rita.ask("send", text)["message_id"] for text in ("one", "two", "three")]
    assert "one" in bob.ok("message", "get", ids[0][:14])
    assert bob.ask("inbox", "--peek")["unread"] == 2
    assert bob.ask("message", "read", ids[1][:14])["marked_count"] == 1
    assert bob.ask("message", "read", "--all") == {"marked_count": 1}
    assert bob.ask("message", "read", "--all") == {"marked_count": 0}
    assert bob("message", "get", "msg_nothing").code == 1


def test_who_has_finds_the_editor_of_a_file(bob, rita, tmp_path):
    (tmp_path / "wt/src").mkdir()
    (tmp_path / "wt/src/auth.py").write_text("x")
    kit.git(tmp_path / "wt", "add", "src/auth.py")
    found = bob.ask("who-has", "src/auth.py")
    assert [holder["agent_id"] for holder in found["holders"]] == ["rita"]
    assert "@rita  uncommitted  on feature" in bob.ok("who-has", "auth.py")
    assert "nobody has other.py" in bob.ok("who-has", "other.py")


def test_presence(bob, rita):
    assert [one["agent_id"] for one in bob.ask("agent", "list")["agents"]] == ["rita", "bob"]
    assert [one["agent_id"] for one in bob.ask("agent", "list", "--role", "planner")["agents"]] == ["bob"]
    assert {one["agent_id"] for one in bob.ask("agent", "list", "--context")["contexts"]} == {"bob", "rita"}
    assert bob.ask("ping", "@reviewer")["agent"]["status"] == "online"
    rita.ok("session", "end")
    assert "seen just now" in bob.ok("ping", "rita")
    assert bob("ping", "nobody").code == 1


def test_sessions_intents_and_tasks(bob):
    bob.ok("session", "set-intent", "plan it")
    bob.ok("agent", "set-task", "issue-1")
    status = bob.ask("status")
    assert (status["work_context"]["intent"], status["work_context"]["current_task"]) == ("plan it", "issue-1")
    assert "alive" in bob.ok("session", "heartbeat", "--add-scope", "a:b")
    bob.ok("agent", "end")
    assert bob("session", "set-intent", "x").code == 1
    bob.ok("agent", "start")
    assert [one["status"] for one in bob.ask("session", "list")["sessions"]] == ["active", "ended"]


def test_overview_and_status_in_a_worktree_are_the_worktrees_own(bob, rita):
    bob.ok("send", "hello", "--to", "rita")
    assert rita.ask("status")["inbox"]["unread"] == 1
    overview = rita.ask("overview")
    assert (overview["agent"]["agent_id"], overview["team"][0]["agent_id"]) == ("rita", "bob")
    assert "@bob" in rita.ok("overview")


def test_two_agents_in_one_worktree_have_to_say_who_speaks(bob):
    bob.ok("quickstart", "--role", "tester", "--module", "auth", "--name", "tom")
    ended = bob("send", "hi")
    assert (ended.code, "several agents" in ended.err) == (1, True)
    assert bob("inbox").code == 1
    assert bob.ask("send", "hi", "--name", "tom")["from"] == "tom"
    assert bob.ask("send", "hi", THRUM_NAME="bob")["from"] == "bob"
    assert bob("send", "hi", THRUM_NAME="typo").code == 1
    assert bob.ask("sent", "--name", "tom")["total"] == 1


def test_options_stand_anywhere(bob, repository, tmp_path):
    elsewhere = bob.at(tmp_path)
    for argv in (["--json", "--repo", repository, "whoami"], ["whoami", f"--repo={repository}", "--json"]):
        assert elsewhere(*argv).json["agent_id"] == "bob"
    assert bob("--role", "reviewer", "whoami").code == 1


def test_quiet_says_nothing_on_success_but_what_was_asked_for(bob, rita):
    for argv in (["send", "x"], ["session", "heartbeat"], ["set-task"], ["hooks", "install"], ["rebuild"]):
        words = ["agent", "set-task", "t"] if argv == ["set-task"] else argv
        assert bob(*words, "--quiet") == (0, "", "")
    assert rita("inbox", "--quiet").out
    assert bob("agent", "list", "--quiet").out


def test_verbose_tells_more(bob, rita):
    ended = bob("send", "x", "--verbose")
    assert "in this process" in ended.err
    assert "UTC" in rita.ok("inbox", "--verbose")


def test_hooks_come_and_go(bob):
    assert "installed" in bob.ok("hooks", "install")
    assert "not installed" in bob.ok("hooks", "uninstall")
    assert {hook["how"] for hook in bob.ask("hooks", "status")["hooks"]} == {"missing"}


def test_a_directory_that_is_gone(thrum, tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    os.rmdir(folder)
    from thrum.__main__ import main

    assert main(["whoami"]) == 1
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("argv", [["whoami"], ["send", "x"], ["inbox"], ["status"], ["doctor"], ["sync", "status"]])
def test_before_init_every_command_says_so(thrum, argv):
    ended = thrum(*argv)
    assert (ended.code, "git thrum init" in ended.err + ended.out) == (1, True)


def test_evil_bodies_do_not_reach_the_terminal(bob, rita):
    bob.ok("send", "\x1b]0;owned\x07\u202etxt", "--to", "rita")
    out = rita.ok("inbox")
    assert "\\x1b]0;owned\\x07\\u202etxt" in out
    assert "\x1b" not in out
