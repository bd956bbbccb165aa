"""Subscriptions, from the command line."""


def test_subscriptions_are_made_listed_and_ended(bob):
    first = bob.ask("subscribe", "--scope", "module:auth")["subscription_id"]
    assert bob.ask("subscribe", "--scope", "module:auth")["subscription_id"] == first
    assert "it ends with the session" in bob.ok("subscribe", "--mention", "@reviewer")
    bob.ok("subscribe", "--all")
    shown = bob.ok("subscriptions")
    for words in ("what is about module:auth", "what names @reviewer", "all my mail"):
        assert words in shown
    assert bob.ok("unsubscribe", first) == "unsubscribed\n"
    ended = bob("unsubscribe", first)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"error: this session has no subscription {first}\n  try: git thrum subscriptions\n"
    assert len(bob.ask("subscriptions")["subscriptions"]) == 2


def test_they_end_with_the_session(bob):
    bob.ok("subscribe", "--all")
    bob.ok("session", "end")
    assert bob("subscriptions", "--json").json["error"]["kind"] == "NoSession"
    bob.ok("session", "start")
    assert bob.ok("subscriptions") == "no subscriptions: git thrum subscribe --all\n"
