"""The ways to the remote: whether there is one is asked again when that may have changed."""

from pathlib import Path

import pytest

from tests import kit
from thrum.config import Settings
from thrum.daemon import errands as module
from thrum.daemon.errands import Errands
from thrum.git import place, remote


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """What git said each time it was asked for a remote."""
    said: list[str | None] = []
    real = remote.pick

    def pick(here: place.Place, wanted: str | None) -> str | None:
        said.append(real(here, wanted))
        return said[-1]

    monkeypatch.setattr(remote, "pick", pick)
    return said


def lonely(repository: Path) -> Errands:
    engine = kit.set_up(repository)
    engine.close()
    return Errands(engine.place, Settings(), engine.origin, lambda: None)


def test_that_there_is_no_remote_is_asked_once_until_the_configuration_changes(
    repository: Path, asked: list[str | None]
) -> None:
    errands = lonely(repository)
    assert not any(errands.has_remote() for _ in range(5)) and asked == [None]
    kit.git(repository, "config", "user.nickname", "nobody")
    assert not any(errands.has_remote() for _ in range(5)) and asked == [None, None]
    kit.git(repository, "remote", "add", "origin", str(repository) + ".git")
    assert errands.has_remote() and errands.name == "origin"
    kit.git(repository, "remote", "remove", "origin")
    assert not errands.has_remote() and errands.name is None


def test_a_remote_that_is_configured_elsewhere_is_found_after_a_while(
    repository: Path, asked: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRUSTED", 0.0)
    errands = lonely(repository)
    assert not errands.has_remote() and not errands.has_remote() and len(asked) == 3
