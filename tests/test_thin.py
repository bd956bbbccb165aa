"""The command in front of a daemon: light, found wherever it is installed, and never different from the whole program."""

import contextlib
import io
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import installed, kit
from tests.installed import PYTHON, ROOT
from thrum import __main__ as program
from thrum import __version__, door
from thrum.daemon import lifecycle
from thrum.git import place

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
HARMLESS = {"thrum", "thrum.door", "__future__", "posix", "_socket", "_json"}
"""All that a command in front of a daemon may import beyond what any interpreter has."""


@pytest.fixture
def command(tmp_path):
    """The path of `git-thrum`, installed in a folder with spaces in its name."""
    return installed.lay_out(tmp_path / "an environment")


@pytest.fixture
def repository():
    """A repository whose path is short enough for a socket in it, as people's are."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="thin-"))
    yield kit.make_repository(folder / "shop")
    shutil.rmtree(folder)


@pytest.fixture
def shop(repository):
    """A repository with two agents, mail, a thread and a linked worktree, and its daemon, warm."""
    engine = kit.set_up(repository)
    other = kit.add_worktree(repository, "side")
    bob, rita = kit.hire(engine, repository, "bob"), kit.hire(engine, other, "rita", role="reviewer")
    bob("message.send", content="first, *plain*", mentions=["rita"])
    rita("message.send", content="zweite: größer 你好 \u202e \x1b[31m", scopes=[{"type": "module", "value": "cart"}])
    rita("thread.create", title="Naïve façade", recipient="bob", message={"content": "in it"})
    (repository / "sub").mkdir()
    engine.contexts.refresh()  # so that whoever looks first states nothing
    engine.close()
    here = place.find(str(repository))
    lifecycle.start(here, timeout=60)
    yield repository
    with contextlib.suppress(Exception):
        lifecycle.stop(here)


def run(command, *argv, cwd, **options):
    """Runs a command to its end; its output as bytes."""
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([command, *argv], cwd=cwd, timeout=60, check=False, **options)


# What it imports and starts.


def test_a_command_in_front_of_a_daemon_imports_two_modules_and_itself(shop):
    script = (
        "import sys, posix\n"
        "before = set(sys.modules)\n"
        f"sys.path.insert(0, {ROOT!r})\n"
        "from thrum import door\n"
        "def end(code):\n"
        "    posix.write(2, ' '.join(set(sys.modules) - before).encode())\n"
        "    raise SystemExit(code)\n"
        "posix._exit = end\n"
        "door.main(['whoami', '--name', 'bob'])\n"
        "raise SystemExit('nobody answered')\n"
    )
    done = run(sys.executable, "-I", "-S", "-c", script, cwd=shop)
    assert (done.returncode, done.stdout.split()[:2]) == (0, [b"agent", b"@bob"]), done
    assert set(done.stderr.decode().split()) <= HARMLESS


@needs_strace
def test_a_command_in_front_of_a_daemon_starts_nothing_and_opens_no_more_than_that(shop, command, tmp_path):
    trace = tmp_path / "trace"
    watched = ["strace", "-f", "-e", "trace=execve,clone,clone3,fork,vfork,openat", "-o", str(trace)]
    done = run(*watched, command, "whoami", "--name", "bob", cwd=shop)
    assert done.returncode == 0, done
    lines = [line for line in trace.read_text().splitlines() if "ENOENT" not in line]
    programs = [re.search(r'execve\("([^"]+)"', line)[1] for line in lines if "execve(" in line]
    assert len(programs) == 3, programs  # the script, and its interpreter, which is a script here
    assert not [line for line in lines if re.search(r"\b(clone3?|v?fork)\(", line)]
    opened = [re.search(r'openat\([^"]*"([^"]+)"', line)[1] for line in lines if "openat(" in line]
    opened = [path.removeprefix(ROOT) for path in opened]  # whose name may be thrum, too
    ours = {os.path.basename(path).partition(".")[0] for path in opened if "/thrum/" in path and ".thrum" not in path}
    assert ours <= {"__init__", "door", "thrum", "__pycache__"}, ours


@pytest.mark.parametrize("argv", [["send", "hi", "--to", "@bob"], ["inbox", "--limit", "3"], ["whoami"], ["version"]])
def test_the_whole_program_leaves_alone_what_it_does_not_need(shop, argv):
    script = (
        "import sys\n"
        "from thrum import __main__\n"
        "code = __main__.run(sys.argv[1:], '')\n"
        "sys.stderr.write(' '.join(sys.modules))\n"
        "sys.exit(code)\n"
    )
    done = run(
        sys.executable, "-P", "-c", script, *argv, cwd=shop, env={**os.environ, "PYTHONPATH": ROOT, "THRUM_NAME": "bob"}
    )
    assert done.returncode == 0, done
    heavy = {"rich", "pydantic", "pygit2", "asyncio", "sqlite_utils", "platformdirs", "websockets"}
    assert not heavy & set(done.stderr.decode().split())
    assert argv[0] == "inbox" or "wcwidth" not in done.stderr.decode().split()  # some of that mail is no ASCII


# Where it is found.


def answers(command, cwd, **environ):
    done = run(command, "version", cwd=cwd, env={**os.environ, **environ})
    assert (done.returncode, done.stdout.decode()) == (0, f"git thrum {__version__}\n"), done


@pytest.mark.parametrize("editable", [False, True])
def test_it_finds_the_package_and_the_interpreter_of_its_environment(tmp_path, editable):
    command = installed.lay_out(tmp_path / "some environment", editable=editable)
    answers(command, tmp_path)
    answers("./git-thrum", os.path.dirname(command))
    answers("bin/git-thrum", os.path.dirname(os.path.dirname(command)))
    done = run("sh", "git-thrum", "version", cwd=os.path.dirname(command))
    assert done.returncode == 0, done


def test_it_takes_the_interpreter_of_its_version_from_the_path_when_none_lies_beside_it(tmp_path):
    command = installed.lay_out(tmp_path / "env", interpreter=False)
    (tmp_path / "tools").mkdir()
    installed.write_interpreter(tmp_path / "tools" / PYTHON)
    answers(command, tmp_path, PATH=f"{tmp_path}/tools:{os.environ['PATH']}")


@pytest.mark.parametrize("tools", ["uv/tools", "pipx/venvs"])
def test_the_links_of_uv_and_pipx_are_followed_without_asking_anybody(tmp_path, tools):
    data, programs = tmp_path / "data", tmp_path / ".local" / "bin"
    command = installed.lay_out(data / tools / "git-thrum")
    programs.mkdir(parents=True)
    (programs / "git-thrum").symlink_to(command)
    deaf = tmp_path / "deaf"
    deaf.mkdir()
    (deaf / "readlink").write_text("#!/bin/sh\nexit 1\n")
    (deaf / "readlink").chmod(0o755)
    environ = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(data), "PATH": f"{deaf}:{os.environ['PATH']}"}
    answers(str(programs / "git-thrum"), tmp_path, **environ)


def test_of_two_environments_with_the_same_file_the_link_decides(tmp_path):
    data, programs = tmp_path / "data", tmp_path / ".local" / "bin"
    right = installed.lay_out(data / "pipx/venvs" / "git-thrum")
    wrong = installed.lay_out(data / "uv/tools" / "git-thrum")
    os.unlink(wrong)
    os.link(right, wrong)
    (data / "uv/tools/git-thrum/bin" / PYTHON).write_text("#!/bin/sh\nexit 9\n")
    programs.mkdir(parents=True)
    (programs / "git-thrum").symlink_to(right)
    answers(str(programs / "git-thrum"), tmp_path, HOME=str(tmp_path), XDG_DATA_HOME=str(data))


def test_links_to_links_are_followed(tmp_path, command):
    (tmp_path / "one").symlink_to(os.path.relpath(command, tmp_path))
    (tmp_path / "two").symlink_to("one")
    answers(str(tmp_path / "two"), tmp_path)
    answers("./two", tmp_path)


def test_a_package_that_cannot_be_written_to_works(shop, tmp_path):
    command = installed.lay_out(tmp_path / "env")
    packages = tmp_path / "env/lib" / PYTHON / "site-packages"
    os.unlink(packages / "thrum")
    shutil.copytree(os.path.join(ROOT, "thrum"), packages / "thrum", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "thrum/__pycache__").write_text("in the way, whoever we are")
    done = run(command, "whoami", "--name", "bob", cwd=shop)
    assert done.returncode == 0, done


def test_a_wheel_carries_the_script_as_it_is_under_both_names(tmp_path):
    pytest.importorskip("hatchling")
    import zipfile

    building = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(building, cwd=ROOT, check=True, capture_output=True, timeout=110)
    (wheel,) = tmp_path.glob("*.whl")
    with open(os.path.join(ROOT, "git-thrum"), "rb") as file:
        script = file.read()
    with zipfile.ZipFile(wheel) as archive:
        found = {name.partition(".data/")[2]: name for name in archive.namelist()}
        assert [archive.read(found[f"scripts/{name}"]) for name in ("git-thrum", "thrum")] == [script, script]
        assert "data/share/man/man1/git-thrum.1" in found
        assert {"thrum/door.py", "thrum/githooks/post-commit"} <= set(archive.namelist())


# Which daemon it asks.

SHAPES = {
    "the top": lambda top: top,
    "a folder": lambda top: top / "sub",
    "a linked worktree": lambda top: top.parent / "side",
    "inside .git": lambda top: top / ".git" / "refs",
    "a repository inside": lambda top: kit.make_repository(top / "inner"),
    "a bare one inside": lambda top: bare(top / "inner.git"),
    "its git directory elsewhere": lambda top: elsewhere(top.parent / "apart"),
    "its .git a link": lambda top: linked(top.parent / "moved"),
    "another core.worktree": lambda top: far(top.parent / "far"),
    "a long path": lambda top: kit.make_repository(top.parent / ("long" * 30)),
    "no repository": lambda top: top.parent,
}


def bare(path):
    kit.git(path.parent, "init", "-q", "--bare", str(path))
    return path / "objects"


def elsewhere(path):
    kit.git(path.parent, "init", "-q", "--separate-git-dir", str(path) + ".git", str(path))
    return path


def linked(path):
    kit.make_repository(path)
    (path / ".git").rename(path.parent / "moved.git")
    (path / ".git").symlink_to(path.parent / "moved.git")
    return path


def far(path):
    kit.make_repository(path)
    (path.parent / "work").mkdir()
    kit.git(path, "config", "core.worktree", str(path.parent / "work"))
    return path


@pytest.mark.parametrize("shape", SHAPES)
def test_the_socket_is_where_the_place_says_whatever_the_quick_look_finds(shape, repository, monkeypatch):
    (repository / "sub").mkdir()
    kit.add_worktree(repository, "side")
    cwd = str(SHAPES[shape](repository))
    looked = list(door._sockets(cwd, ""))
    exact = [] if shape == "no repository" else [place.find(cwd).socket]
    assert looked[-1:] == exact
    if shape in ("the top", "a folder", "a linked worktree", "a repository inside"):
        assert looked == exact == [door._usual_socket(cwd)]
    elif shape != "another core.worktree":
        assert door._usual_socket(cwd) in ("", *exact)


def test_a_deep_repositorys_daemon_is_asked_though_its_socket_lies_elsewhere(command, tmp_path):
    deep = kit.make_repository(tmp_path / ("deep" * 30))
    engine = kit.set_up(deep)
    kit.hire(engine, deep, "bob")
    engine.close()
    lifecycle.start(place.find(str(deep)), timeout=60)
    try:
        done = run(command, "whoami", "--verbose", cwd=deep)
        assert (done.returncode, b"through the daemon" in done.stderr) == (0, True), done
    finally:
        lifecycle.stop(place.find(str(deep)))


# The same as the whole program, byte for byte.

WORDS = st.one_of(
    st.sampled_from(
        ["", "-", "--", "hello", "@rita", "rita", "module:cart", "a b", "ü", "\n", "--no-such", "0", "3", "-1"]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.just("\udcff"),  # a byte that is no UTF-8
)
GENERAL = st.sampled_from(
    ["--json", "--quiet", "--name=bob", "--name=rita", "--role=reviewer", "--repo=../side", "--name"]
)
READING = st.sampled_from(
    ["whoami", "inbox --peek", "inbox --unread", "sent", "who-has", "agent list", "thread list", "search", "overview",
     "session list", "subscriptions", "agent", "wait --timeout 0s --scope no:thing", "message get", "ping", "thread show",
     "no-such", "message", "status", "send --request-id one hello", "send --request-id two --to @nobody x"]
)  # fmt: skip
LINES = st.builds(
    lambda command, general, words: [*general[:1], *command.split(), *words, *general[1:]],
    READING,
    st.lists(GENERAL, max_size=2),
    st.lists(WORDS, max_size=2),
)
ENVIRONS = st.fixed_dictionaries(
    {},
    optional={
        "COLUMNS": st.sampled_from(["40", "72", "0", "wide", ""]),
        "NO_COLOR": st.sampled_from(["1", ""]),
        "THRUM_NAME": st.sampled_from(["bob", "rita", "nobody", ""]),
        "THRUM_ROLE": st.sampled_from(["reviewer", "x"]),
    },
)
_PASSING = re.compile(
    rb"\d+[smhd] ago|\b\d+m?s +|just now|\"(?:uptime_ms|last_seen_at|[a-z_]*_at)\": [^\n]*|took [0-9.]+ ms.*"
)


def settled(output):
    """An output without what the moment alone decides."""
    return _PASSING.sub(b"*", output)


def within(capfd, monkeypatch, cwd, environ, call):
    """How `call()` ends in this process: exit code and both outputs."""
    with monkeypatch.context() as patch:
        patch.chdir(cwd)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
        for name, value in environ.items():
            patch.setenv(name, value)
        capfd.readouterr()
        code = call()
        out, err = capfd.readouterr()
        return code, settled(out), settled(err)


@settings(max_examples=25)
@given(argv=LINES, environ=ENVIRONS, where=st.sampled_from([".", "sub", "../side", "..", ".git/refs"]))
def test_three_ways_say_the_same(shop, command, capfdbinary, monkeypatch, argv, environ, where):
    cwd = os.path.join(shop, where)
    done = run(command, *argv, cwd=cwd, env={**os.environ, **environ})
    thin = done.returncode, settled(done.stdout), settled(done.stderr)
    for call in (lambda: program.main(argv), lambda: program.run(argv, "")):
        assert within(capfdbinary, monkeypatch, cwd, environ, call) == thin, (argv, environ, where)


def test_help_completion_and_standard_input_are_the_whole_programs(shop, command, capfdbinary, monkeypatch):
    for argv in (["--help"], ["send", "-h"], ["help", "inbox"], [], ["completion", "bash"]):
        done = run(command, *argv, cwd=shop)
        expected = within(capfdbinary, monkeypatch, shop, {}, lambda argv=argv: program.run(argv, ""))
        assert (done.returncode, done.stdout, done.stderr) == expected
    with open(shop / "text", "wb") as file:
        file.write("über\n".encode())
    with open(shop / "text", "rb") as text:
        assert run(command, "send", "-", "--name", "bob", cwd=shop, stdin=text).returncode == 0
    found = run(command, "inbox", "--json", "--peek", "--name", "rita", cwd=shop.parent / "side")
    assert "über" in json.loads(found.stdout)["messages"][0]["body"]["content"]


def test_output_that_cannot_be_written_marks_nothing_read(shop, command):
    cwd = shop.parent / "side"
    with open("/dev/full", "wb") as full:
        done = run(command, "inbox", cwd=cwd, stdout=full)
    assert (done.returncode, b"could not be written: No space left" in done.stderr) == (1, True)
    for how in (f'"{command}" inbox >&-', f'"{sys.executable}" -P -m thrum inbox >&-', f'"{command}" inbox <&- >&-'):
        done = run("sh", "-c", how, cwd=cwd, env={**os.environ, "PYTHONPATH": ROOT})
        assert (done.returncode, done.stderr) == (
            1,
            b"error: the output could not be written: Bad file descriptor\n",
        ), how
    done = run("sh", "-c", f'("{command}" inbox; echo "$?" >&2) | :', cwd=cwd)
    assert done.stderr in (b"1\n", b"0\n")
    if done.stderr == b"1\n":
        assert json.loads(run(command, "inbox", "--unread", "--json", cwd=cwd).stdout)["unread"] > 0


def test_closed_standard_files_keep_their_numbers_to_themselves(shop, command):
    """What is written to a file that is closed must not land in a log, a database or the daemon's ear."""
    before = kit.files(shop / ".git/thrum-sync/a-sync")
    for way in (
        f'"{command}"',
        f'"{sys.executable}" -P -c "from thrum import __main__ as m; import sys; sys.exit(m.main())"',
    ):
        done = run("sh", "-c", f"{way} agent list <&- 2>&- >&-", cwd=shop, env={**os.environ, "PYTHONPATH": ROOT})
        assert done.returncode == 1, done
    assert kit.files(shop / ".git/thrum-sync/a-sync") == before


def test_a_long_answer_arrives_whole_and_may_be_cut_short_by_its_reader(shop, command):
    text = "wörd " * 150_000
    engine = kit.open_engine(shop)
    kit.Caller(engine, shop, "bob")("message.send", content=text, mentions=["rita"])
    engine.close()
    found = run(command, "inbox", "--json", "--peek", cwd=shop.parent / "side")
    assert json.loads(found.stdout)["messages"][0]["body"]["content"].startswith(text[:-1])
    done = run("sh", "-c", f'"{command}" inbox --peek | head -c 10 >/dev/null', cwd=shop.parent / "side")
    assert (done.returncode, done.stderr) == (0, b"")


def test_in_a_terminal_both_paint_and_fold_alike(shop, command):
    def shown(*line):
        main, side = pty.openpty()
        with subprocess.Popen(
            line, cwd=shop, stdin=side, stdout=side, stderr=side, env={**os.environ, "TERM": "xterm"}
        ) as done:
            os.close(side)
            seen = b""
            with contextlib.suppress(OSError):
                while piece := os.read(main, 65536):
                    seen += piece
            os.close(main)
        return done.returncode, settled(seen)

    whole = (
        sys.executable,
        "-P",
        "-c",
        f"import sys; sys.path.insert(0, {ROOT!r}); from thrum import __main__ as m; sys.exit(m.run(sys.argv[1:], ''))",
    )
    for argv in (["agent", "list"], ["inbox", "--peek", "--name", "bob"], ["no-such"]):
        assert shown(command, *argv) == shown(*whole, *argv)


def test_in_a_folder_that_is_gone_it_says_so(shop, command, tmp_path):
    done = run("sh", "-c", f'mkdir gone && cd gone && rmdir ../gone && "{command}" whoami', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.endswith(b"error: the current directory is gone\n  try: cd into a git repository\n")


def test_ctrl_c_ends_a_wait_with_130_and_the_daemon_waits_no_longer(shop, command):
    def listeners():
        return lifecycle.ask(place.find(str(shop)).socket, "daemon.status")["listeners"]

    with subprocess.Popen(
        [command, "wait", "--name", "bob", "--scope", "no:thing", "--timeout", "60s"],
        cwd=shop,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as waiting:
        end = time.monotonic() + 30
        while not listeners():
            assert time.monotonic() < end and waiting.poll() is None
            time.sleep(0.02)
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=30)
    assert (waiting.returncode, out, err) == (130, b"", b"")
    end = time.monotonic() + 30
    while listeners():
        assert time.monotonic() < end
        time.sleep(0.02)


ENTRIES = {
    "the client before the program": "raise SystemExit(__main__.run(sys.argv[1:], door.main(sys.argv[1:])))\n",
    "the program": "raise SystemExit(__main__.main())\n",
}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_what_was_sent_through_a_dying_daemon_is_sent_once(shop, command, entry):
    """Its answer is lost, and the whole program tries again, under the name of the first attempt."""
    script = (
        "import sys\n"
        f"sys.path.insert(0, {ROOT!r})\n"
        "from thrum import __main__, door\n"
        "ask = door._call\n"
        "def lose(*arguments):\n"
        "    ask(*arguments)\n"
        "    raise ConnectionResetError\n"
        "door._call = lose\n"
    )
    done = run(sys.executable, "-P", "-c", script + entry, "send", "only once", "--name", "bob", cwd=shop)
    assert done.returncode == 0, done
    found = json.loads(run(command, "sent", "--json", "--name", "bob", cwd=shop).stdout)
    assert str(found).count("only once") == 1
