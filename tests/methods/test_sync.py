from thrum.methods import registry


def test_status_has_one_word_for_how_the_sync_stands(ann):
    assert ann("sync.status")["sync_state"] == "off"


def test_status_counts_what_the_remote_does_not_have(ann):
    before = ann("sync.status")["pending"]
    ann("message.send", content="x")
    assert ann("sync.status")["pending"] == before + 1


def test_nothing_counts_as_seen_on_a_remote_that_was_never_asked(ann):
    ann("message.send", content="x")
    assert {m["state"] for m in ann("message.sent")["messages"]} == {"local"}


def test_sync_methods_take_nothing():
    assert [registry.load()[name].parameters for name in ("sync.status", "sync.force")] == [(), ()]
