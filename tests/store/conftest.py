"""What the tests of the store share."""

import pytest

from tests import kit


@pytest.fixture
def branch(tmp_path):
    """A branch with nothing in it, and its read model."""
    made = kit.Branch(tmp_path / "branch")
    made.catch_up()
    yield made
    made.close()
