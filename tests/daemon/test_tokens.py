"""Tokens: in a file of the user's own, and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from thrum.daemon import tokens
from thrum.daemon.tokens import Tokens, token_path
from thrum.git.place import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(str(tmp_path), str(tmp_path / ".git"), str(tmp_path / ".git"), str(tmp_path))


def own(place: Place) -> str:
    return Path(token_path(place)).read_text().strip()


def test_the_daemons_token_is_in_a_private_file_and_new_each_time(place: Place) -> None:
    first = Tokens(place)
    said = own(place)
    assert stat.S_IMODE(os.stat(first.path).st_mode) == 0o600
    assert len(said) >= 43
    assert first.bearer(said) == ""
    second = Tokens(place)
    assert own(place) != said
    assert second.bearer(said) is None


@pytest.mark.parametrize("said", ["", "x", "\udcff", "ü", "tok_", "\0"])
def test_a_stranger_is_nobody(place: Place, said: str) -> None:
    made = Tokens(place)
    assert made.bearer(said) is None
    assert made.bearer(own(place)[:-1]) is None
    assert made.bearer(own(place) + said) == ("" if not said else None)


def test_a_users_token_outlives_the_daemon_and_is_kept_as_a_hash(place: Place) -> None:
    token = Tokens(place).issue("user:ann")
    assert token.startswith("tok_")
    again = Tokens(place)
    assert again.bearer(token) == "user:ann"
    path = Path(place.sync_dir, "tokens.json")
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_old_tokens_make_room_for_new_ones(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "PER_USER", 2)
    monkeypatch.setattr(tokens, "MOST", 3)
    made = Tokens(place)
    first, *rest = [made.issue("user:ann") for _ in range(3)]
    assert made.bearer(first) is None
    assert [made.bearer(token) for token in rest] == ["user:ann"] * 2
    others = [made.issue("user:bob") for _ in range(2)]
    assert [made.bearer(token) for token in (*rest, *others)] == [None, "user:ann", "user:bob", "user:bob"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"tokens": 3}', b'{"tokens": [{"digest": 1}]}'])
def test_a_damaged_file_lets_nobody_in_and_is_written_anew(place: Place, content: bytes) -> None:
    os.makedirs(place.sync_dir)
    Path(place.sync_dir, "tokens.json").write_bytes(content)
    made = Tokens(place)
    assert made.bearer("tok_x") is None
    token = made.issue("user:ann")
    assert Tokens(place).bearer(token) == "user:ann"


def test_only_our_own_file_is_removed(place: Place) -> None:
    first, second = Tokens(place), Tokens(place)
    first.forget()
    assert second.bearer(own(place)) == ""
    second.forget()
    assert not os.path.exists(second.path)


def test_a_removed_file_is_written_again_as_it_was(place: Place) -> None:
    made = Tokens(place)
    said = own(place)
    os.unlink(made.path)
    made.write()
    assert own(place) == said
