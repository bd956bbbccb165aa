import pytest

from tests import kit


@pytest.fixture
def ann(engine, repository):
    """Ann, a reviewer in the main worktree."""
    return kit.hire(engine, repository, "ann", "reviewer", "api")


@pytest.fixture
def bob(engine, repository):
    """Bob, an implementer in a worktree of his own."""
    return kit.hire(engine, kit.add_worktree(repository, "bobs"), "bob", "implementer", "core")


@pytest.fixture
def cat(engine, repository):
    """Cat, another implementer in another worktree."""
    return kit.hire(engine, kit.add_worktree(repository, "cats"), "cat", "implementer", "web")


@pytest.fixture
def team(ann, bob, cat):
    """All three."""
    return ann, bob, cat


@pytest.fixture
def logs(engine):
    """All bytes of all logs, now."""
    return lambda: kit.files(engine.place.log_root)


@pytest.fixture
def ear(engine, bob):
    """Bob's, subscribed to everything."""
    bob("subscribe", all=True)
    return kit.Ear(engine, bob, "bob")
