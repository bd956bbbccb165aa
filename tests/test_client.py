"""The whole program's own door: a wait without a daemon."""

import time

from tests import kit
from thrum import client
from thrum.caller import Claim
from thrum.config import Settings
from thrum.git import place


def test_a_wait_in_this_process_ends_when_it_was_to_end(repository, tmp_path):
    engine = kit.set_up(repository)
    kit.hire(engine, repository, "bob")
    engine.close()
    door = client.InProcess(
        place.find(str(repository)), Settings(), Claim(cwd=str(repository)), time.monotonic() - 29.8
    )
    began = time.monotonic()
    assert door.call("message.wait", {"timeout": 30.0}) == {"status": "timeout"}
    assert time.monotonic() - began < 2
    door.close()
