from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from thrum.core import clock
from thrum.errors import RemoteError
from thrum.git import branch, evidence, remote
from thrum.git.objects import BLOB, Entry, Objects, open_objects
from thrum.git.place import Place, find

from .kit import ALL_HOOKS, fingerprint, git, make, script

TRACKING = "refs/remotes/origin/a-sync"


@pytest.fixture
def place(repo: str, bare: str) -> Place:
    """A clone whose origin is the bare repository, with a first a-sync commit."""
    git(repo, "remote", "add", "origin", bare)
    found = find(repo)
    branch.ensure(objects_of(found), found, None)
    return found


def objects_of(place: Place) -> Objects:
    return open_objects(place.common_dir)


def grow(place: Place, text: bytes) -> str:
    """One more commit on the local a-sync."""
    objects = objects_of(place)
    tip = objects.head(branch.REF)
    assert tip is not None
    tree = objects.write_tree({"f": Entry(BLOB, objects.write_blob(text))})
    new = objects.commit(tree, [tip], "x\n\n[skip ci]\n")
    assert objects.move(branch.REF, new, tip)
    return new


def clone(place: Place, path: Path) -> Place:
    git("/", "clone", "-q", git(place.common_dir, "remote", "get-url", "origin"), str(path))
    found = find(str(path))
    remote.fetch(found, "origin")
    branch.ensure(objects_of(found), found, "origin")
    return found


def test_the_remote_is_the_wanted_one_else_origin_else_the_only_one(repo: str) -> None:
    place = find(repo)
    assert remote.pick(place, None) is None
    git(repo, "remote", "add", "team", "/t")
    assert remote.pick(place, None) == "team"
    git(repo, "remote", "add", "other", "/o")
    assert remote.pick(place, None) is None
    git(repo, "remote", "add", "origin", "/x")
    assert remote.pick(place, None) == "origin" and remote.pick(place, "team") == "team"
    with pytest.raises(RemoteError, match="nobody") as caught:
        remote.pick(place, "nobody")
    assert "thrum.remote" in caught.value.hint


def test_a_remote_is_asked_for_again_only_when_a_setting_changed(
    repo: str, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = remote.pick
    monkeypatch.setattr(remote, "pick", lambda *words: asked.append(1) or real(*words))
    monkeypatch.setattr(evidence, "now", lambda: time.time_ns() + 2 * clock.SETTLED)
    picked = remote.Picked(find(linked))
    assert [picked.name(), picked.name(), len(asked)] == [None, None, 1]
    home = os.environ["HOME"]
    deeds: list[tuple[list[str], str | None]] = [
        (["remote", "add", "team", "/t"], "team"),
        (["config", "--global", "include.path", "more"], "team"),
        (["config", "-f", f"{home}/more", "remote.origin.url", "/o"], "origin"),
        (["config", "--global", "--unset", "include.path"], "team"),
        (["config", "--global", "includeIf.onbranch:next.path", f"{home}/more"], "team"),
        (["checkout", "-q", "-b", "next"], "origin"),
        (["checkout", "-q", "main"], "team"),
        (["config", "extensions.worktreeConfig", "true"], "team"),
        (["config", "--worktree", "remote.origin.url", "/o"], "origin"),
    ]
    for words, name in deeds:
        git(repo, *words)
        assert [picked.name(), picked.name(), real(find(repo), None)] == [name, name, name], words
    assert len(asked) == 1 + len(deeds)


def test_a_remote_is_asked_for_while_the_settings_are_young_or_strange(
    repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    picked = remote.Picked(find(repo))
    git(repo, "config", "thrum.x", "1")
    assert picked.name() is None and picked._known is None
    monkeypatch.setattr(evidence, "now", lambda: time.time_ns() + 2 * clock.SETTLED)
    git(repo, "config", "includeIf.moon:full.path", "x")
    assert picked.name() is None and picked._known is None


def test_the_address_is_shown_without_its_password(repo: str) -> None:
    git(repo, "remote", "add", "origin", "https://me:secret@host/x.git")
    assert remote.url(find(repo), "origin") == "https://***@host/x.git"
    git(repo, "config", "url.https://tok@real/.insteadOf", "https://me:secret@host/")
    assert remote.url(find(repo), "origin") == "https://***@real/x.git"
    with pytest.raises(RemoteError):
        remote.url(find(repo), "nobody")


def test_a_local_remote_can_be_watched(repo: str, bare: str, linked: str, tmp_path: Path) -> None:
    place = find(linked)
    other = make(str(tmp_path / "oth er"))
    for address, path in {
        bare: bare,
        bare.removesuffix(".git"): bare,
        f"file://{bare}": bare,
        f"file://{tmp_path}/oth%20er": f"{other}/.git",
        "../remote.git": bare,
        other: f"{other}/.git",
        "https://host/x.git": None,
        "git@host:x.git": None,
        "ssh://host/x": None,
        "/nowhere": None,
    }.items():
        git(repo, "config", "remote.origin.url", address)
        assert remote.local_path(place, "origin") == path, address


def test_a_push_arrives_and_is_seen(place: Place, bare: str) -> None:
    tip = objects_of(place).head(branch.REF) or ""
    assert remote.tip(place, "origin") is None
    assert remote.push(place, "origin", tip)
    assert remote.tip(place, "origin") == tip == git(bare, "rev-parse", branch.REF)
    assert remote.push(place, "origin", tip)


def test_a_push_behind_the_remote_is_false_and_changes_nothing(place: Place, bare: str, tmp_path: Path) -> None:
    assert remote.push(place, "origin", grow(place, b"1"))
    other = clone(place, tmp_path / "other")
    theirs = grow(other, b"theirs")
    assert remote.push(other, "origin", theirs)
    ours = grow(place, b"ours")
    assert remote.push(place, "origin", ours) is False
    remote.fetch(place, "origin")
    assert remote.push(place, "origin", ours) is False
    assert git(bare, "rev-parse", branch.REF) == theirs == objects_of(place).head(TRACKING)


def test_a_rewritten_remote_is_fetched_and_never_overwritten(place: Place, bare: str) -> None:
    assert remote.push(place, "origin", grow(place, b"1"))
    objects = open_objects(bare)
    root = objects.commit(objects.empty_tree(), [], "rewritten\n")
    git(bare, "update-ref", branch.REF, root)
    remote.fetch(place, "origin")
    assert objects_of(place).head(TRACKING) == root
    assert remote.push(place, "origin", grow(place, b"2")) is False
    assert git(bare, "rev-parse", branch.REF) == root


def test_a_branch_gone_from_the_remote_is_forgotten(place: Place, bare: str) -> None:
    remote.fetch(place, "origin")
    assert remote.push(place, "origin", grow(place, b"1"))
    remote.fetch(place, "origin")
    assert objects_of(place).head(TRACKING)
    git(bare, "update-ref", "-d", branch.REF)
    remote.fetch(place, "origin")
    assert objects_of(place).head(TRACKING) is None and remote.tip(place, "origin") is None


def test_a_fetch_brings_that_branch_alone(place: Place, repo: str, bare: str) -> None:
    assert remote.push(place, "origin", grow(place, b"1"))
    git(repo, "push", "-q", "origin", "main", "main:refs/tags/t", "main:refs/heads/other")
    git(repo, "config", "remote.origin.fetch", "+refs/*:refs/*")
    git(repo, "config", "remote.origin.tagOpt", "--tags")
    git(repo, "config", "remote.origin.prune", "true")
    git(repo, "update-ref", "-d", TRACKING)
    local = grow(place, b"2")
    before = git(repo, "for-each-ref")
    remote.fetch(place, "origin")
    new = [line.split()[-1] for line in git(repo, "for-each-ref").split("\n") if line not in before]
    assert new == [TRACKING] and objects_of(place).head(branch.REF) == local
    assert not os.path.exists(f"{repo}/.git/FETCH_HEAD")


def test_no_hook_of_the_users_runs_and_no_setting_gets_in_the_way(place: Place, repo: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    for name in ALL_HOOKS:
        script(f"{repo}/.git/hooks/{name}", f"echo $0 >>{sentinel}; exit 1\n")
    for key, value in {
        "push.gpgSign": "if-asked",
        "push.default": "nothing",
        "push.followTags": "true",
        "push.pushOption": "x",
        "remote.origin.mirror": "true",
        "fetch.prune": "true",
        "submodule.recurse": "true",
    }.items():
        git(repo, "config", key, value)
    before = fingerprint(f"{repo}/.git/config")
    assert remote.push(place, "origin", grow(place, b"1"))
    remote.fetch(place, "origin")
    assert not sentinel.exists() and fingerprint(f"{repo}/.git/config") == before


def test_a_relative_address_works_from_a_linked_worktree(repo: str, linked: str, bare: str) -> None:
    git(repo, "remote", "add", "origin", "../remote.git")
    place = find(linked)
    tip = branch.ensure(objects_of(place), place, None)
    assert remote.push(place, "origin", tip) and remote.tip(place, "origin") == tip


def test_a_partial_clone_gets_every_blob(place: Place, repo: str, bare: str, tmp_path: Path) -> None:
    assert remote.push(place, "origin", grow(place, b"content"))
    git(repo, "push", "-q", "origin", "main")
    git(bare, "config", "uploadpack.allowFilter", "true")
    git("/", "clone", "-q", "--single-branch", "--filter=blob:none", f"file://{bare}", str(tmp_path / "partial"))
    partial = find(str(tmp_path / "partial"))
    remote.fetch(partial, "origin")
    objects = objects_of(partial)
    entry = branch.lookup(objects, objects.tree_of(objects.head(TRACKING) or ""), "f")
    assert entry is not None and objects.blob(entry.oid) == b"content"
    objects.close()


def test_a_refusal_by_the_remotes_hook_is_a_sentence(place: Place, bare: str) -> None:
    script(f"{bare}/hooks/pre-receive", "printf '\\033[31mno a-sync here\\033[0m\\n' >&2; exit 1\n")
    with pytest.raises(RemoteError, match="origin refuses the branch a-sync") as caught:
        remote.push(place, "origin", grow(place, b"1"))
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value) and caught.value.hint


def test_a_working_repository_as_remote_is_explained(place: Place, repo: str, tmp_path: Path) -> None:
    other = make(str(tmp_path / "other"))
    branch.ensure(open_objects(f"{other}/.git"), find(other), None)
    git(other, "checkout", "-q", "a-sync")
    git(repo, "remote", "set-url", "origin", other)
    remote.fetch(place, "origin")
    theirs = objects_of(place).head(TRACKING) or ""
    objects = objects_of(place)
    with pytest.raises(RemoteError, match="checked out"):
        remote.push(place, "origin", objects.commit(objects.empty_tree(), [theirs], "x\n"))


def grow_in_the_way(place: Place, common_dir: str) -> str:
    """One more commit, which cannot be written to another repository."""
    for number in range(1000):
        new = grow(place, str(number).encode())
        folder = Path(f"{common_dir}/objects/{new[:2]}")
        if not folder.exists():
            folder.write_text("")
            return new
    raise AssertionError("every folder is there already")


def test_what_cannot_be_written_here_is_not_the_remotes_fault(place: Place, bare: str, tmp_path: Path) -> None:
    other = clone(place, tmp_path / "other")
    assert remote.push(other, "origin", grow_in_the_way(other, place.common_dir))
    with pytest.raises(RemoteError, match="could not be written here") as caught:
        remote.fetch(place, "origin")
    assert "nothing is lost" in caught.value.hint


def test_what_the_remote_cannot_store_is_no_refusal(place: Place, bare: str) -> None:
    new = grow_in_the_way(place, bare)
    with pytest.raises(RemoteError, match="origin could not store what we sent") as caught:
        remote.push(place, "origin", new)
    assert "nothing is lost" in caught.value.hint


def test_a_missing_remote_is_a_sentence(place: Place, repo: str) -> None:
    git(repo, "remote", "set-url", "origin", "/nowhere/at/all.git")
    for call in (remote.tip, remote.fetch):
        with pytest.raises(RemoteError, match="no git repository we can see"):
            call(place, "origin")
    with pytest.raises(RemoteError):
        remote.push(place, "origin", "1" * 40)


@pytest.fixture
def server() -> Iterator[tuple[int, list[bytes]]]:
    """A TCP server whose answer is given in a list: [] is silence for ever."""
    answer: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        held = []
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if answer:
                connection.recv(65536)
                connection.sendall(answer[0])
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1], answer
    listener.close()


def test_a_silent_remote_is_given_up(place: Place, repo: str, server: tuple[int, list[bytes]]) -> None:
    git(repo, "remote", "set-url", "origin", f"git://127.0.0.1:{server[0]}/x")
    start = time.monotonic()
    for call in (remote.tip, remote.fetch):
        with pytest.raises(RemoteError, match="took longer than"):
            call(place, "origin", 0.5)
    with pytest.raises(RemoteError, match="took longer than"):
        remote.push(place, "origin", "1" * 40, 0.5)
    assert time.monotonic() - start < 10


def test_a_wanted_password_is_a_sentence_at_once(place: Place, repo: str, server: tuple[int, list[bytes]]) -> None:
    port, answer = server
    answer.append(
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
    )
    git(repo, "remote", "set-url", "origin", f"http://me:secret@127.0.0.1:{port}/x")
    start = time.monotonic()
    with pytest.raises(RemoteError, match="does not let us in") as caught:
        remote.fetch(place, "origin")
    assert time.monotonic() - start < 10 and "secret" not in str(caught.value) + caught.value.hint


def test_an_unreachable_remote_is_a_sentence(place: Place, repo: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    git(repo, "remote", "set-url", "origin", f"http://127.0.0.1:{port}/x")
    with pytest.raises(RemoteError, match="cannot be reached") as caught:
        remote.fetch(place, "origin")
    assert "by itself" in caught.value.hint
