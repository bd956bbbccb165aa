"""The door: light, careful with what is written, and never the reason that something is lost or doubled."""

import contextlib
import json
import os
import posix
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum import __version__, door
from thrum.git import place

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(10**9), 10**9), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=10,
)


class Daemon:
    """Stands for a daemon: answers each line with what `answer(method, params)` gives; None hangs up."""

    def __init__(self, path, answer):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.asked = []
        self._answer = answer
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.bind(path)
        self._listening.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            for line in stream:
                request = json.loads(line)
                self.asked.append((request["method"], request.get("params")))
                answer = self._answer(request["method"], request.get("params"))
                if answer is None:
                    connection.shutdown(socket.SHUT_RDWR)
                    return
                stream.write(json.dumps({"jsonrpc": "2.0", "id": request["id"], **answer}).encode() + b"\n")
                stream.flush()

    def close(self):
        self._listening.close()


@pytest.fixture
def daemon(repository, monkeypatch):
    """`daemon(answer)`: one in front of the repository in which we stand."""
    monkeypatch.chdir(repository)
    made = []

    def make(answer):
        made.append(Daemon(place.find(str(repository)).socket, answer))
        return made[-1]

    yield make
    for each in made:
        each.close()


def said(stdout="", stderr="", exit=0, **more):
    return lambda method, params: {"result": {"stdout": stdout, "stderr": stderr, "exit": exit, **more}}


@given(VALUES)
def test_what_is_sent_is_json(value):
    assert json.loads(door._encode(value)) == value


@given(VALUES)
def test_what_comes_is_read_as_json(value):
    assert door._decoder()(json.dumps(value)) == value


@pytest.mark.parametrize("text", ["", "{", "nonsense", "[1,"])
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError):
        door._decoder()(text)


def test_the_daemon_gets_the_line_and_its_answer_is_written(daemon, capfd, monkeypatch, repository):
    monkeypatch.setenv("THRUM_NAME", "bob")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("SECRET", "x")
    there = daemon(said("out\u00e9\n", "err\n", 3))
    assert door.hand_over(["send", "--", "--repo"], "abc") == 3
    assert capfd.readouterr() == ("out\u00e9\n", "err\n")
    (method, params), *rest = there.asked
    assert (method, rest) == ("cli.run", [])
    assert params["argv"] == ["send", "--", "--repo"]
    assert (params["cwd"], params["version"], params["request"]) == (str(repository), __version__, "abc")
    assert params["environ"] == {
        name: os.environ[name] for name in ("THRUM_NAME", "NO_COLOR", "TERM") if name in os.environ
    }
    assert params["tty"] is False


def test_what_is_to_come_after_is_asked_for_once_the_output_is_written(daemon):
    there = daemon(said("out", token="t1"))
    assert door.hand_over(["inbox"]) == 0
    assert there.asked[-1] == ("cli.done", {"token": "t1"})


def test_nothing_comes_after_output_that_could_not_be_written(daemon, monkeypatch, capfd):
    there = daemon(said("out", token="t1"))

    def full(descriptor, data, write=posix.write):
        if descriptor == 1:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(posix, "write", full)
    assert door.hand_over(["inbox"]) == 1
    assert "could not be written: No space left" in capfd.readouterr().err
    assert [method for method, _ in there.asked] == ["cli.run"]


def test_a_reader_who_left_is_no_error_and_reads_nothing(daemon, monkeypatch, capfd):
    there = daemon(said("out", "", token="t1"))

    def broken(descriptor, data):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(posix, "write", broken)
    assert door.hand_over(["inbox"]) == 1
    assert [method for method, _ in there.asked] == ["cli.run"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "answer",
    [
        lambda method, params: {"result": {"declined": "local"}},
        lambda method, params: {"error": {"code": -32603, "message": "Internal error"}},
        lambda method, params: {"result": {}},
        lambda method, params: None,
    ],
    ids=["declined", "error", "odd", "hung up"],
)
def test_whatever_goes_wrong_before_output_this_process_does_it(daemon, answer, capfd):
    daemon(answer)
    assert door.hand_over(["whoami"]) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "argv", [[], ["init"], ["--json", "daemon", "stop"], ["send", "-"], ["send", "--stdin"], ["inbox", "-h"], ["help"]]
)
def test_what_needs_this_process_asks_nobody(daemon, argv):
    there = daemon(said())
    assert door.hand_over(argv) is None
    assert there.asked == []


def test_a_dash_behind_the_end_of_options_is_text(daemon):
    there = daemon(said("x"))
    assert door.hand_over(["send", "--", "-"]) == 0
    assert len(there.asked) == 1


def test_repo_decides_which_daemon(daemon, tmp_path, repository, monkeypatch):
    there = daemon(said("x"))
    monkeypatch.chdir(tmp_path)
    assert door.hand_over(["whoami"]) is None
    assert door.hand_over(["whoami", "--repo", "shop"]) == 0
    assert door.hand_over(["--repo=nothing", "whoami", f"--repo={repository}"]) == 0
    assert len(there.asked) == 2


def test_no_daemon_no_repository_no_socket_of_ours(repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert door.hand_over(["whoami"]) is None
    monkeypatch.chdir(repository)
    assert door.hand_over(["whoami"]) is None
    path = place.find(str(repository)).socket
    os.makedirs(os.path.dirname(path))
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stale.bind(path)
    stale.close()
    assert door.hand_over(["whoami"]) is None
    monkeypatch.setattr(posix, "geteuid", lambda: 12345)
    assert door.connect(path) is None


def test_bytes_that_are_no_text_stay_in_this_process(daemon):
    there = daemon(said("x"))
    assert door.hand_over(["send", "\udcff"]) is None
    assert there.asked == []


def test_a_silent_daemon_is_asked_whether_it_lives(daemon, monkeypatch):
    monkeypatch.setattr(door, "_SIGN_OF_LIFE", 0.05)
    monkeypatch.setattr(door, "_CONNECT", 0.05)
    release = threading.Event()

    def answer(method, params):
        release.wait(5) if method == "cli.run" or not is_alive else None
        return {"result": {"stdout": "late", "stderr": "", "exit": 0}}

    is_alive = True
    threading.Timer(0.4, release.set).start()
    there = daemon(answer)
    assert door.hand_over(["wait"]) == 0
    assert "daemon.status" in [method for method, _ in there.asked]
    is_alive = False
    release.clear()
    assert door.hand_over(["wait"]) is None
    release.set()


def test_interrupted_while_the_daemon_waits(daemon, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(door, "_call", interrupt)
    daemon(said("x"))
    assert door.hand_over(["wait"]) == 130


def test_the_width_of_what_is_no_terminal_is_only_what_columns_says(monkeypatch):
    monkeypatch.setattr(posix, "isatty", lambda descriptor: False)
    assert door.terminal() == (False, 0)
    monkeypatch.setenv("COLUMNS", "50")
    assert door.terminal() == (False, 50)
    monkeypatch.setenv("COLUMNS", "wide")
    assert door.terminal() == (False, 0)


def test_a_link_in_the_sockets_place_is_not_followed(tmp_path):
    with socket.socket(socket.AF_UNIX) as victim:
        victim.bind(str(tmp_path / "victim"))
        victim.listen()
        (tmp_path / "thrum.sock").symlink_to(tmp_path / "victim")
        assert door.connect(str(tmp_path / "thrum.sock")) is None
        with contextlib.closing(door.connect(str(tmp_path / "victim"))) as connection:
            assert connection is not None
