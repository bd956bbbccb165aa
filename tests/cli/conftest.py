"""The command line, run in this process, as a user would in a directory."""

import io
import json
import os
import sys
from typing import NamedTuple

import pytest

from thrum import client
from thrum.__main__ import main

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(client.__file__)))


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """Its output as the one JSON document it must be."""
        return json.loads(self.out)


class Thrum:
    """`thrum("send", "hi")` in the directory `cwd`."""

    def __init__(self, capfd, monkeypatch, cwd):
        self._capfd, self._monkeypatch, self._cwd = capfd, monkeypatch, cwd

    def at(self, cwd):
        """The same, somewhere else."""
        return Thrum(self._capfd, self._monkeypatch, cwd)

    def __call__(self, *argv, stdin=b"", **environ):
        with self._monkeypatch.context() as patch:
            patch.chdir(self._cwd)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            for name, value in environ.items():
                patch.setenv(name, value)
            self._capfd.readouterr()
            code = main([str(word) for word in argv])
            return Ended(code, *self._capfd.readouterr())

    def ok(self, *argv, **options):
        """What it printed; it must have worked."""
        ended = self(*argv, **options)
        assert ended.code == 0, ended
        return ended.out

    def ask(self, *argv, **options):
        """What `--json` printed; it must have worked."""
        return json.loads(self.ok(*argv, "--json", **options))


@pytest.fixture
def thrum(capfd, monkeypatch, repository):
    """The command line in `repository`, where thrum is not set up yet. Children find this checkout."""
    monkeypatch.setenv("PYTHONPATH", ROOT)
    return Thrum(capfd, monkeypatch, repository)


@pytest.fixture
def bob(thrum):
    """The command line of @bob, in a repository that is set up."""
    thrum.ok("init", "--quiet")
    thrum.ok("quickstart", "--role", "planner", "--module", "auth", "--name", "bob")
    return thrum


@pytest.fixture
def rita(bob, tmp_path):
    """The command line of @rita, in a worktree beside @bob's."""
    bob.ok("setup", tmp_path / "wt", "--branch", "feature")
    there = bob.at(tmp_path / "wt")
    there.ok("quickstart", "--role", "reviewer", "--module", "auth", "--name", "rita")
    return there


def listing(folder):
    """Every path below a folder, relative, with its mode and content."""
    found = {}
    for top, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(top, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = (os.lstat(path).st_mode & 0o777, file.read())
    return found
