"""`git thrum mcp serve` as a command: what it needs, and what it says when it does not get it."""

import json
import os
import subprocess
import sys

from thrum import client

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(client.__file__)))


def run(cwd, script, *words):
    """Runs Python code in front of the program; how it ended."""
    line = [sys.executable, "-c", f"{script}\nfrom thrum.__main__ import main\nraise SystemExit(main())", *words]
    env = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_without_the_extra_it_says_how_to_install_it(repository):
    for missing in ("mcp", "mcp_types"):
        ended = run(repository, f"import sys; sys.modules['{missing}'] = None", "mcp", "serve")
        assert ended.returncode == 1 and ended.stdout == ""
        assert ended.stderr.startswith(
            "error: the MCP server needs the package mcp 2.3 or later, which is not installed"
        )
        assert "\n  try: pip install 'git-thrum[mcp]', or pipx inject git-thrum mcp" in ended.stderr


def test_a_refusal_is_json_when_that_was_asked_for(repository):
    ended = run(repository, "import sys; sys.modules['mcp'] = None", "mcp", "serve", "--json")
    assert json.loads(ended.stdout)["error"]["hint"].startswith("pip install")


def test_two_names_contradict_each_other(repository):
    ended = run(repository, "", "mcp", "serve", "--agent-id", "ann", "--name", "bob")
    assert ended.returncode == 2 and "--agent-id says ann, --name says bob" in ended.stderr


def test_without_standard_input_there_is_nobody_to_serve(repository):
    ended = run(repository, "import os, sys; os.close(0); sys.stdin = None", "mcp", "serve")
    assert ended.returncode == 1 and ended.stdout == ""
    assert "talks over standard input and output, and one of them is closed" in ended.stderr


def test_at_a_terminal_it_says_what_it_is(repository):
    outer, inner = os.openpty()
    line = [sys.executable, "-m", "thrum", "mcp", "serve"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(
        line, cwd=repository, env=env, stdin=inner, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as it:
        os.close(inner)
        said = it.stderr.readline() + it.stderr.readline()
        os.close(outer)
        it.terminate()
    assert b"this is an MCP server and waits for a client" in said and b"claude mcp add thrum" in said


def test_help_shows_how_to_add_it(thrum):
    assert "claude mcp add thrum -- git-thrum mcp serve" in thrum.ok("mcp", "serve", "--help")
    assert "serve  Be an MCP server" in thrum.ok("mcp", "--help")
