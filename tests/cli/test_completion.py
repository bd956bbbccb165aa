"""Completion in real shells: of `git thrum`, `git-thrum` and `thrum`."""

import os
import shutil
import subprocess
import sys

import pytest

from .conftest import ROOT

GIT_COMPLETION = "/usr/share/bash-completion/completions/git"
needs = {name: pytest.mark.skipif(not shutil.which(name), reason=f"no {name}") for name in ("bash", "zsh", "fish")}


@pytest.fixture
def shell(bob, repository, tmp_path):
    """Runs a script in a shell that finds git-thrum; its lines."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "git-thrum"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m thrum "$@"\n')
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}

    def run(words, script, cwd=repository):
        done = subprocess.run(
            [*words, script], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return run


def bash(shell, words, begin="_git_thrum", **options):
    """What bash is given for a line whose last word is being typed; git's own completion has split it so."""
    quoted = " ".join(f"'{word}'" for word in words)
    names = f"words=({quoted}); cword={len(words) - 1}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}"
    script = f'eval "$(git thrum completion bash)"; {names}; {begin}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return shell(["bash", "--norc", "-c"], script, **options)


@needs["bash"]
def test_bash_completes_commands_options_and_agents_after_git(shell, bob):
    assert bash(shell, ["git", "thrum", "unsub"]) == ["unsubscribe "]
    assert bash(shell, ["git", "thrum", "message", "ed"]) == ["edit "]
    assert bash(shell, ["git", "thrum", "send", "hi", "--prio"]) == ["--priority "]
    assert bash(shell, ["git", "thrum", "send", "hi", "--js"]) == ["--json "]
    assert bash(shell, ["git", "thrum", "send", "hi", "--to", "bo"]) == ["bob "]
    assert bash(shell, ["git", "thrum", "send", '"a b"', "--to", "@", "bo"]) == ["@bob "]
    assert bash(shell, ["git", "thrum", "send", "hi", "--to", "@"]) == ["@bob ", "@planner ", "@everyone "]


@needs["bash"]
def test_bash_completes_ids(shell, bob):
    message_id = bob.ask("send", "hi")["message_id"]
    thread_id = bob.ask("thread", "create", "T")["thread_id"]
    assert bash(shell, ["git", "thrum", "message", "get", ""]) == [message_id + " "]
    assert bash(shell, ["git", "thrum", "thread", "show", "thr"]) == [thread_id + " "]


@needs["bash"]
def test_bash_completes_the_program_by_its_own_name(shell):
    assert bash(shell, ["git-thrum", "agent", "con"], "__git_thrum_alone") == ["context"]


@needs["bash"]
def test_where_nobody_works_nothing_is_offered_and_nothing_complained_of(shell, tmp_path):
    assert bash(shell, ["git-thrum", "send", "hi", "--to", "b"], "__git_thrum_alone", cwd=tmp_path) == [""]


@needs["bash"]
@pytest.mark.skipif(not os.path.exists(GIT_COMPLETION), reason="git's own completion is not installed")
def test_gits_own_completion_finds_ours(shell, repository, tmp_path):
    line = f"git -C {repository} thrum send hi --to bo"
    script = (
        f'source {GIT_COMPLETION}; eval "$(git -C {repository} thrum completion bash)"; COMP_LINE="{line}"; '
        f"COMP_POINT={len(line)}; COMP_WORDS=({line}); COMP_CWORD=7; __git_wrap__git_main; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert shell(["bash", "--norc", "-c"], script, cwd=tmp_path) == ["bob "]


@needs["fish"]
@pytest.mark.parametrize("line", ["git thrum send hi --to @bo", "git-thrum send hi --to @bo", "thrum send hi --to @bo"])
def test_fish_completes(shell, line):
    script = f"git thrum completion fish | source; complete -C '{line}'"
    assert shell(["fish", "--no-config", "-c"], script) == ["@bob"]


@needs["zsh"]
def test_zsh_reads_its_script(shell):
    script = 'compdef() { print "$@" }; eval "$(git thrum completion zsh)"; whence -w _git-thrum'
    assert shell(["zsh", "-f", "-c"], script) == ["_git-thrum git-thrum thrum", "_git-thrum: function"]


@needs["zsh"]
def test_zsh_is_told_what_to_offer(shell):
    script = (
        "compdef() { :; }; _arguments() { print -r -- $1 }; "
        'eval "$(git thrum completion zsh)"; words=(thrum send hi --to @bo); CURRENT=5; _git-thrum'
    )
    assert shell(["zsh", "-f", "-c"], script) == ['*: :(("@bob"))']


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_json_holds_the_script(thrum, shell_name):
    told = thrum.ask("completion", shell_name)
    assert told["shell"] == shell_name
    assert thrum.ok("completion", shell_name, "--quiet") == told["script"]
