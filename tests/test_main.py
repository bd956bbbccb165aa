"""Start to end: exit codes, bugs of ours, and the checkout's own command."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import thrum.__main__ as program
from thrum import __version__, config, door

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(door.__file__)))
COMMAND = os.path.join(ROOT, "git-thrum")


def run(*argv, cwd=None, **options):
    command = [sys.executable, "-P", "-m", "thrum", *argv]
    env = {**os.environ, "PYTHONPATH": ROOT}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, timeout=60, check=False, **options)


def test_usage_errors_end_with_2(repository):
    done = run("send", "--bogus", cwd=repository)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: no such option: --bogus\n  try: git thrum send --help\n"


def test_help_is_no_error(tmp_path):
    done = run(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: git thrum" in done.stdout


def test_a_bug_of_ours_ends_with_3_and_names_a_trace(monkeypatch, capfd):
    def fail(*arguments):
        raise ZeroDivisionError("by \x1b[31mzero")

    monkeypatch.setattr(program, "_run", fail)
    monkeypatch.setattr(door, "hand_over", lambda *arguments: None)
    assert program.main(["whoami"]) == 3
    said = capfd.readouterr().err
    assert "this is a bug of ours: ZeroDivisionError: by \\x1b[31mzero" in said
    path = said.split("report it, with ")[1].strip()
    assert path.startswith(config.state_dir())
    with open(path) as file:
        trace = file.read()
    assert __version__ in trace
    assert "Traceback" in trace
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert program.main(["whoami", "--json"]) == 3
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "Internal"


def test_traces_do_not_pile_up(monkeypatch):
    folder = f"{config.state_dir()}/traces"
    os.makedirs(folder)
    for number in range(30):
        with open(f"{folder}/git-thrum-2000-{number:02}.txt", "w"):
            pass
    program._keep("x")
    assert len(os.listdir(folder)) == 20


def test_a_trace_goes_to_the_temporary_folder_when_there_is_no_other(monkeypatch, tmp_path):
    def refuse():
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(config, "state_dir", refuse)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert program._keep("x").startswith(f"{tmp_path}/git-thrum-")


@pytest.mark.parametrize("raised", [KeyboardInterrupt, BrokenPipeError])
def test_interruptions_are_quiet(monkeypatch, capfd, raised):
    def fail(*arguments):
        raise raised

    monkeypatch.setattr(program, "_run", fail)
    monkeypatch.setattr(door, "hand_over", lambda *arguments: None)
    assert program.main(["whoami"]) == {KeyboardInterrupt: 130, BrokenPipeError: 1}[raised]
    assert capfd.readouterr() == ("", "")


def set_up(repository):
    assert run("init", cwd=repository).returncode == 0
    for name in ("bob", "rita"):
        assert run("quickstart", "--role", "r", "--module", "m", "--name", name, cwd=repository).returncode == 0


def test_ctrl_c_ends_a_wait_with_130(repository):
    set_up(repository)
    command = [sys.executable, "-P", "-m", "thrum", "wait", "--name", "bob", "--timeout", "60s"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(
        command, cwd=repository, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as waiting:
        time.sleep(1.5)
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=20)
    assert (waiting.returncode, out, err) == (130, "", "")


def test_an_interrupt_that_python_ignored_still_ends_a_wait(repository):
    """What a destructor raises gets lost; whoever presses Ctrl-C does not care."""
    set_up(repository)
    script = (
        "import os, signal, sys\n"
        "from thrum import __main__, client\n"
        "class Deaf:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "found = client.InProcess._wait\n"
        "def wait(*args):\n"
        "    Deaf()\n"
        "    return found(*args)\n"
        "client.InProcess._wait = wait\n"
        "sys.exit(__main__.main(['wait', '--name', 'bob', '--timeout', '60s']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": ROOT},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 130 and "KeyboardInterrupt" in done.stderr


@pytest.mark.parametrize("where", ["thrum.cli.app.command", "thrum.cli.app.read"])
def test_ctrl_c_while_the_command_line_is_read_is_no_bug_of_ours(repository, where):
    module, _, name = where.rpartition(".")
    script = (
        "import sys, pkgutil\n"
        "from thrum import __main__\n"
        "def interrupted(*args, **kwargs): raise KeyboardInterrupt\n"
        f"setattr(pkgutil.resolve_name({module!r}), {name!r}, interrupted)\n"
        "sys.exit(__main__.main(['overview']))\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=repository, env=env, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_mail_stays_unread_when_its_reader_left_or_the_disk_is_full(repository):
    set_up(repository)
    assert run("send", "precious", "--to", "rita", "--name", "bob", cwd=repository).returncode == 0
    command = [sys.executable, "-P", "-m", "thrum", "inbox", "--name", "rita"]
    env = {**os.environ, "PYTHONPATH": ROOT}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command, cwd=repository, env=env, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, "could not be written" in done.stderr) == (1, True)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, cwd=repository, env=env, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
    left = run("inbox", "--unread", "--name", "rita", "--json", cwd=repository)
    assert json.loads(left.stdout)["unread"] == 1


@pytest.fixture
def checkout(tmp_path):
    """The command, and the package beside it, in a folder with spaces in its name; a python3 that has our libraries."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    shutil.copy(COMMAND, folder)
    (folder / "thrum").symlink_to(os.path.join(ROOT, "thrum"))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python3").chmod(0o755)
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return folder, {**without, "PATH": f"{tools}:{os.environ['PATH']}"}


def test_the_checkout_runs_without_being_installed(checkout, tmp_path, repository):
    folder, env = checkout
    link = tmp_path / "bin" / "git-thrum"
    link.parent.mkdir()
    link.symlink_to(os.path.relpath(folder / "git-thrum", link.parent))
    for command in (str(folder / "git-thrum"), str(link)):
        done = subprocess.run(
            [command, "version"], cwd=repository, env=env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, f"git thrum {__version__}\n"), done
    env["PATH"] = f"{link.parent}:{env['PATH']}"
    done = subprocess.run(
        ["git", "thrum", "send"], cwd=repository, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "no text to send" in done.stderr) == (2, True)


def test_a_thrum_in_the_current_directory_is_not_taken_for_ours(checkout, tmp_path):
    folder, env = checkout
    (tmp_path / "thrum.py").write_text("raise SystemExit('wrong')")
    (tmp_path / "json.py").write_text("raise SystemExit('wrong')")
    done = subprocess.run(
        [str(folder / "git-thrum"), "version"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"git thrum {__version__}\n"
