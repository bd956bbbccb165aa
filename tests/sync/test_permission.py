"""A remote that anybody may read gets nothing unasked; everything else goes on."""

import time

import pytest

from tests import kit
from thrum.errors import PublicRemote
from thrum.git import exposure
from thrum.sync import permission

from . import servers
from .house import agree, remote_tip

PASSWORD = "me:secret"  # not a secret


@pytest.fixture
def shop(bare_remote):
    """A public server with the team's repository: anybody reads, whoever knows the password writes."""
    kit.git(bare_remote, "config", "http.receivepack", "true")
    with servers.web(bare_remote.parent, PASSWORD, is_public=True) as server:
        server.url = f"http://{PASSWORD}@127.0.0.1:{server.port}/{bare_remote.name}"
        yield server


@pytest.fixture
def ann(team, shop):
    (clone,) = team("ann")
    kit.git(clone.path, "remote", "set-url", "origin", shop.url)
    return clone


@pytest.fixture
def asks(monkeypatch):
    """The remotes that were asked about, in order."""
    asked, real = [], exposure.ask
    monkeypatch.setattr(exposure, "ask", lambda place, name: asked.append(name) or real(place, name))
    return asked


def is_refused(clone):
    report = clone.sync()
    assert not report.ok and not report.pushed
    assert "anybody may read the remote origin" in report.error and permission.ALLOW in report.hint
    assert "secret" not in repr(report) + repr(clone.state) + repr(clone.status())
    return True


def test_nothing_is_pushed_where_anybody_may_read(ann, bare_remote, shop):
    sent = ann.send("private")
    assert is_refused(ann)
    assert not remote_tip(bare_remote)
    assert not any("receive-pack" in path for path, _ in shop.heard)
    assert ann.status()["sync_state"] == "error" and ann.status()["pending"] > 0
    assert "anybody may read" in ann.status()["last_error"] and permission.ALLOW in ann.status()["hint"]
    assert ann.messages() == [sent] and kit.git(ann.root, "status", "--porcelain") == "", "it is committed all the same"
    assert ann.tip and ann.state["exposure"]["answer"] == "public"


def test_what_the_hint_says_works_and_is_recorded(ann, bare_remote, asks):
    ann.send()
    assert is_refused(ann)
    kit.git(ann.path, *permission.ALLOW.split()[1:])
    assert ann.works().pushed and remote_tip(bare_remote) == ann.tip, "also with settings read before, as a daemon has"
    assert ann.state["exposure"]["answer"] == "allowed"
    assert ann.status()["sync_state"] == "synced" and ann.status()["pending"] == 0


def test_who_allows_it_is_not_asked(ann, bare_remote, asks):
    ann.send()
    assert ann.works(allow_public=True).pushed
    recorded = ann.state["exposure"]
    assert recorded["answer"] == "allowed" and recorded["addresses"] and recorded["asked"]
    assert not asks
    ann.send()
    assert is_refused(ann), "what was allowed once is not allowed for ever"


def test_fetching_from_a_public_remote_goes_on(team, shop):
    ann, bob = team("ann", "bob")
    kit.git(ann.path, "remote", "set-url", "origin", shop.url)
    hello = bob.send()
    bob.works()
    mine = ann.send()
    assert is_refused(ann) and ann.state["url"]
    assert set(ann.messages()) == {hello, mine}


def test_a_private_server_is_asked_once_a_day(ann, shop, asks, monkeypatch):
    shop.is_public = False
    ann.send()
    assert ann.works().pushed and asks == ["origin"]
    ann.send()
    assert ann.works().pushed and asks == ["origin"]
    assert ann.works().ok and not ann.sync().pushed
    now = time.time()
    monkeypatch.setattr(permission.time, "time", lambda: now + 86_401)
    shop.is_public = True
    ann.send()
    assert is_refused(ann) and asks == ["origin"] * 2


def test_it_is_asked_again_when_the_address_changes(ann, team, shop, asks, tmp_path, bare_remote):
    shop.is_public = False
    ann.send()
    ann.works()
    with servers.web(bare_remote.parent, PASSWORD, is_public=True) as other:
        elsewhere = f"http://{PASSWORD}@127.0.0.1:{other.port}/"
        kit.git(ann.path, "remote", "set-url", "origin", elsewhere + bare_remote.name)
        ann.send()
        assert is_refused(ann) and len(asks) == 2
        kit.git(ann.path, "remote", "set-url", "origin", shop.url)
        assert ann.works().pushed and len(asks) == 3
        kit.git(ann.path, "config", f"url.{elsewhere}.pushInsteadOf", shop.url.removesuffix(bare_remote.name))
        ann.send()
        assert is_refused(ann) and len(asks) == 4, "what an address means has changed"


def test_a_repository_that_was_closed_is_synced_again(ann, shop, bare_remote, monkeypatch):
    ann.send()
    assert is_refused(ann)
    shop.is_public = False
    assert is_refused(ann), "asked a moment ago"
    now = time.time()
    monkeypatch.setattr(permission.time, "time", lambda: now + 61)
    assert ann.works().pushed
    agree(ann, bare=bare_remote)


@pytest.mark.parametrize("before", [False, True])
def test_a_server_that_does_not_say_gets_nothing(ann, shop, bare_remote, monkeypatch, before):
    shop.is_public = False
    if before:
        ann.send()
        ann.works()
    monkeypatch.setattr(exposure, "_knock", lambda *_: ("unknown", "it is busy"))
    monkeypatch.setattr(permission, "_KEPT", dict.fromkeys(permission._KEPT, -1.0))
    ann.send()
    report = ann.sync()
    if before:
        assert report.pushed, "it was private when it last said so"
        return
    assert not report.ok and "does not say" in report.error and "busy" in report.error and report.hint
    assert "exposure" not in ann.state and not remote_tip(bare_remote)
    monkeypatch.undo()
    assert ann.works().pushed


def test_git_daemon_is_public(team, bare_remote, monkeypatch):
    (ann,) = team("ann")
    with servers.git_daemon(bare_remote.parent) as (port, _):
        kit.git(ann.path, "remote", "set-url", "origin", f"git://127.0.0.1:{port}/{bare_remote.name}")
        ann.send()
        assert is_refused(ann) and not remote_tip(bare_remote)
        assert ann.works(allow_public=True).pushed


def test_a_damaged_record_is_asked_anew(ann, shop, asks):
    for damaged in (
        "x",
        {"answer": "sure"},
        {"answer": "private", "addresses": None},
        {"answer": "private", "asked": "x"},
    ):
        known = {"exposure": damaged}
        assert permission.is_public(known, ann.place, "origin", ann.cycle().settings)
    assert len(asks) == 4
    with pytest.raises(PublicRemote):
        permission.require(known, ann.place, "origin", ann.cycle().settings)
