import os
import shutil
import threading

import pytest

from thrum.core import layout
from thrum.errors import NotInitialised
from thrum.store import origin


def test_before_init_there_is_no_origin(tmp_path):
    with pytest.raises(NotInitialised):
        origin.load(f"{tmp_path}/sync")


def test_an_origin_stays_the_same(tmp_path):
    made = origin.ensure(f"{tmp_path}/sync")
    assert origin.ensure(f"{tmp_path}/sync") == made == origin.load(f"{tmp_path}/sync")


def test_an_origin_can_be_part_of_a_logs_path(tmp_path):
    for number in range(20):
        made = origin.ensure(f"{tmp_path}/{number}")
        assert layout.parse_path(layout.segment_path("ann", made, 0)).origin == made


def test_two_clones_have_two_origins(tmp_path):
    assert origin.ensure(f"{tmp_path}/a") != origin.ensure(f"{tmp_path}/b")


def test_a_moved_repository_keeps_its_origin(tmp_path):
    made = origin.ensure(f"{tmp_path}/old/sync")
    os.rename(f"{tmp_path}/old", f"{tmp_path}/new")
    assert origin.load(f"{tmp_path}/new/sync") == made


def test_a_copied_repository_gets_an_origin_of_its_own_and_keeps_it(tmp_path):
    made = origin.ensure(f"{tmp_path}/old/sync")
    shutil.copytree(f"{tmp_path}/old", f"{tmp_path}/copy")
    fresh = origin.load(f"{tmp_path}/copy/sync")
    assert fresh != made and origin.load(f"{tmp_path}/copy/sync") == fresh
    assert origin.load(f"{tmp_path}/old/sync") == made


def test_a_copy_restored_in_the_place_of_the_original_keeps_the_origin(tmp_path):
    made = origin.ensure(f"{tmp_path}/old/sync")
    shutil.copytree(f"{tmp_path}/old", f"{tmp_path}/backup")
    shutil.rmtree(f"{tmp_path}/old")
    shutil.move(f"{tmp_path}/backup", f"{tmp_path}/old")
    assert origin.load(f"{tmp_path}/old/sync") == made


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"{}", b'{"origin":7,"path":"x","inode":1}', b"\xff"])
def test_a_damaged_origin_is_made_anew(tmp_path, content):
    origin.ensure(f"{tmp_path}/sync")
    (tmp_path / "sync" / "origin").write_bytes(content)
    made = origin.load(f"{tmp_path}/sync")
    assert len(made) == 12 and origin.load(f"{tmp_path}/sync") == made


@pytest.mark.parametrize("bad", ["../../evil", "", "UPPER", "a b", "x" * 40])
def test_an_origin_that_no_path_can_hold_is_made_anew(tmp_path, bad):
    import json

    origin.ensure(f"{tmp_path}/sync")
    record = json.loads((tmp_path / "sync" / "origin").read_text())
    (tmp_path / "sync" / "origin").write_text(json.dumps({**record, "origin": bad}))
    assert layout.parse_path(layout.segment_path("ann", origin.load(f"{tmp_path}/sync"), 0)) is not None


def test_many_at_once_agree(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(origin.ensure(f"{tmp_path}/sync"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1
