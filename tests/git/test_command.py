from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from thrum.errors import GitError, RemoteError
from thrum.git import command
from thrum.git.command import clean, clean_env, redact, run, version

from .kit import git, script, write


def poison(tmp_path: Path) -> dict[str, str]:
    """Every local variable git knows, pointing at nonsense."""
    names = git("/", "rev-parse", "--local-env-vars").split()
    return dict.fromkeys([*names, "GIT_NAMESPACE", "GIT_QUARANTINE_PATH"], str(tmp_path / "nonsense"))


def is_running(pid: int) -> bool:
    """Alive, not merely unburied by its parent."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_gits_own_list_of_local_variables_is_covered() -> None:
    assert set(git("/", "rev-parse", "--local-env-vars").split()) <= command.LOCAL_VARIABLES


def test_the_environment_is_cleared_and_quiet(tmp_path: Path) -> None:
    given = {**poison(tmp_path), "GIT_CONFIG_KEY_0": "x", "GIT_CONFIG_VALUE_0": "y", "PATH": "/bin", "GIT_SSH": "mine"}
    env = clean_env(given)
    assert {name for name in env if name.startswith("GIT_")} == {
        *("GIT_TERMINAL_PROMPT", "GIT_ASKPASS", "GIT_OPTIONAL_LOCKS", "GIT_SSH")
    }
    assert env["PATH"] == "/bin" and env["LC_ALL"] == "C" and env["THRUM_HOOK"] == "1"


def test_a_poisoned_environment_does_not_reach_git(repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in poison(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert run(["rev-parse", "--absolute-git-dir"], repo).out == f"{repo}/.git\n".encode()


def test_input_and_output_of_any_size_pass(repo: str) -> None:
    data = os.urandom(3_000_000)
    oid = run(["hash-object", "-w", "--stdin"], repo, input=data).out.decode().strip()
    assert run(["cat-file", "blob", oid], repo).out == data


def test_a_command_that_does_not_read_its_input_ends_all_the_same(repo: str) -> None:
    assert run(["version"], repo, input=b"x" * 1_000_000).out.startswith(b"git version")


def test_a_failure_is_a_sentence(repo: str) -> None:
    with pytest.raises(GitError, match="git rev-parse failed: Needed a single revision"):
        run(["-c", "a.b=c", "rev-parse", "--verify", "nothing"], repo)
    assert run(["rev-parse", "--verify", "nothing"], repo, check=False).code == 128


def test_a_missing_directory_or_git_is_a_sentence(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GitError, match="could not be started") as caught:
        run(["version"], "/nowhere/at/all")
    assert "cd" in caught.value.hint
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(GitError) as caught:
        run(["version"], repo)
    assert "install git" in caught.value.hint


def test_a_slow_command_is_killed_with_its_children(repo: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    git(repo, "config", "alias.hang", f"!sh -c 'echo $$ >{pid_file}; sleep 600'")
    start = time.monotonic()
    with pytest.raises(GitError, match=r"took longer than \d+ s"):
        run(["hang"], repo, timeout=0.7)
    assert time.monotonic() - start < 5
    time.sleep(0.1)
    assert not is_running(int(pid_file.read_text()))


def test_a_grandchild_that_keeps_the_pipes_does_not_hold_us(repo: str) -> None:
    git(repo, "config", "alias.leave", "!sh -c 'echo done; sleep 5 &'")
    start = time.monotonic()
    assert run(["leave"], repo, timeout=30).out == b"done\n"
    assert time.monotonic() - start < 4


def test_a_network_command_may_take_its_time_while_it_moves(repo: str) -> None:
    git(repo, "config", "alias.slow", "!sh -c 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done'")
    assert run(["slow"], repo, timeout=1, network=True).out == b"1\n2\n3\n4\n5\n6\n"
    git(repo, "config", "alias.endless", "!sh -c 'while :; do echo x; sleep 0.01; done'")
    with pytest.raises(RemoteError):
        run(["endless"], repo, timeout=0.1, network=True)


def test_stderr_is_bounded_and_fit_to_be_shown(repo: str) -> None:
    body = "i=0; while [ $i -lt 60000 ]; do echo 'spam spam spam' >&2; i=$((i+1)); done\n"
    body += "printf '\\033[31mred\\033]0;t\\007\\a' >&2\n"
    git(repo, "config", "alias.loud", "!" + script(f"{repo}/loud", body))
    err = run(["loud"], repo).err
    assert len(err) <= 1 << 18 and err.endswith("red")


def test_escapes_and_invisible_characters_are_stripped() -> None:
    text = "a\x1b[1;31mb\x1b]8;;http://x\x07c\x1b]52;c;aGk=\x1b\\d\x9b31me\x07\u202ef\u200bg\U000e0041h\ti\rj\x1b"
    assert clean(text) == "abcd31mefgh\ti\nj"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/x", "https://***@host/x"),
        ("https://ghp_token@host/x.git'", "https://***@host/x.git'"),
        ("http://a:b@c@host/", "http://***@host/"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:pw@host/x", "ssh://***@host/x"),
        ("git@host:x/y.git", "git@host:x/y.git"),
        ("https://h/x?access_token=abc&y=1", "https://h/x?access_token=***&y=1"),
        ("https://h/x@y", "https://h/x@y"),
    ],
)
def test_credentials_are_redacted(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_ssh_never_asks_unless_the_user_has_a_command(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    git(repo, "config", "alias.sshwith", '!echo "$GIT_SSH_COMMAND"')
    assert b"BatchMode=yes" in run(["sshwith"], repo, network=True).out
    assert run(["sshwith"], repo).out == b"\n"
    git(repo, "config", "core.sshCommand", "mine")
    assert run(["sshwith"], repo, network=True).out == b"\n"
    git(repo, "config", "--unset", "core.sshCommand")
    monkeypatch.setenv("GIT_SSH_COMMAND", "theirs")
    assert run(["sshwith"], repo, network=True).out == b"theirs\n"


def test_no_hook_and_no_fsmonitor_runs(repo: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    script(f"{repo}/.git/hooks/post-commit", f"touch {sentinel}")
    git(repo, "config", "core.fsmonitor", script(str(tmp_path / "monitor"), f"touch {sentinel}"))
    run(["commit", "-q", "--allow-empty", "-m", "x"], repo)
    run(["status"], repo)
    assert not sentinel.exists()


def test_plain_asks_about_the_users_own_configuration(repo: str) -> None:
    git(repo, "config", "core.hooksPath", "/their/hooks")
    assert run(["config", "core.hooksPath"], repo, plain=True).out == b"/their/hooks\n"
    assert run(["config", "core.hooksPath"], repo).out == b"/dev/null\n"


def test_version_is_three_numbers() -> None:
    assert len(version()) == 3 and version() > (2, 20, 0)


def test_a_prompt_for_a_password_fails_at_once(repo: str, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    git(repo, "config", "core.askPass", script(str(tmp_path / "ask"), f"touch {asked}; echo secret"))
    write(str(tmp_path / "in"), "protocol=https\nhost=example.invalid\n\n")
    result = run(["credential", "fill"], repo, input=b"protocol=https\nhost=example.invalid\n\n", check=False)
    assert result.code and not asked.exists()


def test_whom_git_does_not_trust_is_told_gits_own_remedy(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(GitError, match="dubious ownership") as caught:
        command.run(["status"], repo, env={"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"})
    assert caught.value.hint.startswith("if you trust it: git config --global --add safe.directory /")
