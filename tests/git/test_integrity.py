"""Every object is read and hashed; what is missing or is not what its name says is named."""

import os
import zlib

import pytest

from tests import kit
from thrum.git import integrity


@pytest.fixture(params=["sha1", "sha256"])
def here(tmp_path, request):
    path = tmp_path / "there"
    kit.git(tmp_path, "init", "-q", f"--object-format={request.param}", str(path))
    (path / "folder").mkdir()
    for number in range(3):
        (path / f"folder/{number}").write_text(f"number {number}\n" * 1000)
        kit.git(path, "add", ".")
        kit.git(path, "commit", "-q", "-m", str(number))
    return path


def examine(path):
    return integrity.examine(str(path / ".git"), oid(path, "HEAD"))


def oid(path, name):
    return kit.git(path, "rev-parse", name).strip()


def loose(path, name):
    found = oid(path, name)
    return path / ".git/objects" / found[:2] / found[2:]


def test_everything_is_counted(here):
    found = examine(here)
    assert (found.kinds, found.faults) == ({"commit": 3, "tree": 6, "blob": 3}, [])
    kit.git(here, "gc", "-q")
    assert examine(here) == found


@pytest.mark.parametrize("name", ["HEAD~1^{tree}", "HEAD:folder", "HEAD:folder/1"])
def test_what_is_missing(here, name):
    os.unlink(loose(here, name))
    assert examine(here).faults


def test_a_missing_blob_keeps_the_others_from_nothing(here):
    gone = oid(here, "HEAD:folder/1")
    os.unlink(loose(here, "HEAD:folder/1"))
    found = examine(here)
    assert found.faults == [f"object {gone[:12]} is missing"] and found.kinds["blob"] == 2


def test_a_content_that_is_not_what_its_name_says(here):
    path, name = loose(here, "HEAD:folder/0"), oid(here, "HEAD:folder/0")
    os.chmod(path, 0o600)
    path.write_bytes(zlib.compress(b"blob 5\0other"))
    assert examine(here).faults == [f"blob {name[:12]} is damaged: its content is not what its name says"]


@pytest.mark.parametrize("content", [b"", b"no zlib", zlib.compress(b"blob 99\0short")])
def test_an_object_that_cannot_be_read(here, content):
    path = loose(here, "HEAD:folder/0")
    os.chmod(path, 0o600)
    path.write_bytes(content)
    assert examine(here).faults
