"""Threads, from the command line."""


def test_a_thread_is_begun_listed_and_shown(bob, rita):
    out = bob.ok(
        "thread", "create", "Token refresh", "--to", "@rita", "--message", "Shall it repeat?", "--scope", "a:b"
    )
    assert "begun: Token refresh" in out
    made = bob.ask("thread", "list")["threads"][0]
    assert made["thread_id"] in out
    listed = rita.ok("thread", "list", "--scope", "a:b")
    head, row, end = listed.splitlines()
    assert head.split() == ["THREAD", "MESSAGES", "UNREAD", "LAST", "TITLE"]
    assert row.split()[:3] == [made["thread_id"], "1", "1"] and row.endswith("Token refresh")
    assert end == "1–1 of 1"  # noqa: RUF001
    shown = rita.ok("thread", "show", made["thread_id"][:14])
    assert "begun by @bob just now" in shown and "Shall it repeat?" in shown
    assert rita.ask("inbox", "--peek")["unread"] == 1


def test_no_threads_are_no_error(bob):
    assert bob.ok("thread", "list") == "no threads\n"
    bob.ok("thread", "create", "Empty")
    assert "nothing said yet" in bob.ok("thread", "show", bob.ask("thread", "list")["threads"][0]["thread_id"])


def test_what_is_deleted_keeps_its_place_in_the_thread(bob, rita):
    made = bob.ask("thread", "create", "T", "--to", "rita", "--message", "one")
    bob.ok("message", "delete", made["message_id"])
    assert "(deleted)" in rita.ok("thread", "show", made["thread_id"])


def test_a_title_cannot_steer_the_terminal(bob):
    bob.ok("thread", "create", "a\x1b[2J\nb")
    assert "a\\x1b[2J b" in bob.ok("thread", "list")


def test_refusals_of_threads(bob):
    assert bob("thread", "create", " ").code == 1
    assert bob("thread", "create", "T", "--to", "@nobody", "--message", "x").code == 1
    assert bob.ask("thread", "list")["total"] == 0
    assert bob("thread", "show", "thr_none", "--json").json["error"]["kind"] == "NotFound"
