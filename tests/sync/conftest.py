import pytest

from .house import Clone


@pytest.fixture
def team(clones, bare_remote):
    """`team("ann", "bob")`: clones of one bare remote, each set up before any of them pushed."""
    opened = []

    def make(*names, address=None):
        for path, name in zip(clones(len(names)), names, strict=True):
            opened.append(Clone(path, name))
        return opened[-len(names) :]

    yield make
    for clone in opened:
        clone.close()


@pytest.fixture
def pair(team):
    """Ann and Bob, who have not met."""
    return team("ann", "bob")
