"""The README's first tour, typed as it stands: a stranger who follows it gets the same output."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
PROMPT = re.compile(r"^(~[\w/-]*)\$ (.*)$")
VARYING = (
    (re.compile(r"\b(msg|thr|ses)_[0-9A-Z]{26}"), r"\1_…"),
    (re.compile(r"pid \d+"), "pid …"),
    (re.compile(r"after \d+m?s"), "after …"),
    (re.compile(r"\bjust now\b|\b\d+[smh] ago\b"), "…"),
)


def tour():
    """The steps of the README: (directory, command, what it prints)."""
    steps, inside = [], False
    for line in README.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and PROMPT.match(line):
            where, command = PROMPT.match(line).groups()
            steps.append((where, command, []))
        elif inside:
            steps[-1][2].append(line)
    return steps


def plain(text):
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return [line.rstrip() for line in text.splitlines()]


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git-thrum"
    checkout = README.parent
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{checkout}" exec "{sys.executable}" -m thrum "$@"\n')
    program.chmod(0o755)
    root = Path(os.path.realpath(tmp_path)) / "tour"
    root.mkdir()
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(root), "XDG_RUNTIME_DIR": str(root)}
    env.pop("COLUMNS", None)
    for line in (
        "git init -q --bare shop.git && git clone -q shop.git shop 2>&1",
        "cd shop && echo 'total = 0' > cart.py && git add . && git commit -qm Begin && git push -q origin HEAD",
    ):
        subprocess.run(line, shell=True, cwd=root, env=env, check=True)
    yield root, env
    subprocess.run(["git", "thrum", "daemon", "stop"], cwd=root / "shop", env=env, capture_output=True, timeout=30)


def test_the_tour_prints_what_the_readme_says(home):
    root, env = home
    real_ids = {}
    for where, command, expected in tour():
        for told, real in real_ids.items():
            command = command.replace(told[:8], real[:8])
        folder = where.replace("~", str(root))
        done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
        said = (done.stdout + done.stderr).replace(str(root), "~")
        assert plain(said) == plain("\n".join(expected)), f"{where}$ {command}"
        told_ids, said_ids = (re.findall(r"msg_([0-9A-Z]{26})", text) for text in ("\n".join(expected), said))
        real_ids.update(zip(told_ids, said_ids, strict=True))


def test_the_tour_is_there():
    assert len(tour()) > 10
