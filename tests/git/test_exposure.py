"""Whether anybody may read a remote: asked as a stranger, and with nothing of the user's in hand."""

import os
import shutil

import pytest

from tests.sync import servers
from thrum.errors import RemoteError
from thrum.git import exposure
from thrum.git.place import find

from .kit import git, make, script, write

PASSWORD = "me:secret"  # not a secret


@pytest.fixture
def store(tmp_path):
    """A folder of bare repositories: `full.git` with a commit, `empty.git`."""
    folder = tmp_path / "store"
    folder.mkdir()
    git("/", "clone", "-q", "--bare", make(str(tmp_path / "seed")), str(folder / "full.git"))
    git("/", "init", "-q", "--bare", str(folder / "empty.git"))
    return folder


@pytest.fixture
def asked(repo):
    """`asked(url)`: what strangers are told at a remote with that address."""
    git(repo, "remote", "add", "origin", "nowhere")

    def ask(url, **config):
        git(repo, "remote", "set-url", "origin", url)
        return exposure.ask(find(repo), "origin").answer

    return ask


@pytest.fixture
def plain_ssh(tmp_path, monkeypatch):
    """`ssh -G` without the developer's own configuration; `github-work` is an alias, as people make them."""
    body = 'for last; do :; done\n[ "$last" = github-work ] && last=github.com\necho "hostname $last"\n'
    script(str(tmp_path / "bin" / "ssh"), body)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")


@pytest.mark.parametrize("name", ["full", "empty"])
def test_a_server_that_shows_a_repository_to_strangers_is_public(store, asked, name):
    with servers.web(store) as server:
        assert asked(f"http://127.0.0.1:{server.port}/{name}.git") == "public"
    with servers.web(store, PASSWORD, is_public=True) as server:
        assert asked(f"http://{PASSWORD}@127.0.0.1:{server.port}/{name}.git") == "public", "only pushes want a password"
        assert all("Authorization" not in headers for _, headers in server.heard)


@pytest.mark.parametrize(
    ("denial", "answer"), [(401, "private"), (403, "private"), (404, "private"), (500, "unknown"), (429, "unknown")]
)
def test_a_server_that_wants_to_know_who_asks_is_private(store, asked, denial, answer):
    with servers.web(store, PASSWORD, denial=denial) as server:
        assert asked(f"http://{PASSWORD}@127.0.0.1:{server.port}/full.git") == answer
        assert server.heard and server.refused == len(server.heard)


def test_a_repository_that_does_not_exist_is_nobodys(store, asked):
    with servers.web(store) as server:
        assert asked(f"http://127.0.0.1:{server.port}/other.git") == "private"


def test_silence_and_a_closed_door_say_nothing(asked, monkeypatch):
    monkeypatch.setattr(exposure, "TIMEOUT", 0.5)
    with servers.silent() as port:
        assert asked(f"http://127.0.0.1:{port}/x.git") == "unknown"
    assert asked(f"http://127.0.0.1:{servers.free_port()}/x.git") == "unknown"


def test_a_page_that_is_no_git_server_is_not_a_public_repository(asked):
    with servers.web("/nowhere") as server:
        server.RequestHandlerClass = type("Page", (server.RequestHandlerClass,), {"_serve": _page})
        assert asked(f"http://127.0.0.1:{server.port}/x.git") == "unknown"


def _page(self, body):
    self.send_response(200)
    self.send_header("Content-Length", "0")
    self.end_headers()


def test_nothing_that_could_let_us_in_is_taken_along(store, asked, repo, tmp_path, monkeypatch):
    helper = script(str(tmp_path / "helper"), f"touch {tmp_path}/helped\necho username=me\necho password=secret\n")
    asker = script(str(tmp_path / "asker"), f"touch {tmp_path}/asked\necho secret\n")
    cookies = write(str(tmp_path / "cookies"), "127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n")
    write(str(tmp_path / "home" / ".netrc"), "machine 127.0.0.1 login me password secret\n", 0o600)
    for scope in ("--local", "--global"):
        git(repo, "config", scope, "credential.helper", helper)
        git(repo, "config", scope, "core.askPass", asker)
        git(repo, "config", scope, "http.extraHeader", "Authorization: Basic bWU6c2VjcmV0")
        git(repo, "config", scope, "http.cookieFile", cookies)
    for name in ("GIT_ASKPASS", "SSH_ASKPASS"):
        monkeypatch.setenv(name, asker)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "http.extraHeader")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Authorization: Basic bWU6c2VjcmV0")
    with servers.web(store, PASSWORD) as server:
        git(repo, "config", "--global", f"credential.http://127.0.0.1:{server.port}.helper", helper)
        for user in ("", "me@", f"{PASSWORD}@"):
            assert asked(f"http://{user}127.0.0.1:{server.port}/full.git") == "private"
        assert server.heard
        for _, headers in server.heard:
            assert not {"Authorization", "Cookie"} & headers.keys()
    assert not os.path.exists(tmp_path / "helped") and not os.path.exists(tmp_path / "asked")


def test_rewritten_addresses_are_asked_where_a_push_goes_and_rewritten_once(store, asked, repo):
    with servers.web(store, PASSWORD) as private, servers.web(store) as public:
        there = f"http://{PASSWORD}@127.0.0.1:{private.port}/"
        git(repo, "config", f"url.{there}.insteadOf", "work:")
        git(repo, "config", "--add", f"url.{there}.insteadOf", f"http://127.0.0.1:{private.port}/")
        assert asked("work:full.git") == "private" and private.refused
        assert exposure.addresses(find(repo), "origin") == (f"http://127.0.0.1:{private.port}/full.git",)
        git(repo, "config", f"url.http://127.0.0.1:{public.port}/.pushInsteadOf", "work:")
        assert asked("work:full.git") == "public"
        git(repo, "config", "remote.origin.pushurl", f"http://127.0.0.1:{private.port}/full.git")
        assert asked("work:full.git") == "private", "an explicit push address is where we push"
        git(repo, "config", "--add", "remote.origin.pushurl", f"http://127.0.0.1:{public.port}/full.git")
        assert asked("work:full.git") == "public", "one of two is enough"


def test_a_redirect_takes_nothing_along(store, asked, tmp_path):
    write(str(tmp_path / "home" / ".netrc"), "default login me password secret\n", 0o600)
    for wanted, answer in (("", "public"), (PASSWORD, "private")):
        with servers.web(store, wanted) as other:
            elsewhere = f"http://localhost:{other.port}"
            with servers.web(store, redirect=elsewhere) as server:
                assert asked(f"http://{PASSWORD}@127.0.0.1:{server.port}/full.git") == answer
                heard = [*server.heard, *other.heard]
            assert other.heard and not any({"Authorization", "Cookie"} & headers.keys() for _, headers in heard)


def test_git_daemon_is_public(store, asked):
    with servers.git_daemon(store) as (port, _):
        assert asked(f"git://127.0.0.1:{port}/full.git") == "public"
        assert asked(f"git://127.0.0.1:{port}/empty.git") == "public"
        assert asked(f"git://127.0.0.1:{port}/other.git") == "private"


def test_paths_are_nobodys_but_ours(store, asked, monkeypatch):
    monkeypatch.setattr(exposure, "_knock", None)
    for address in (f"{store}/full.git", f"file://{store}/full.git", "../store/full.git", "./a:b", "codecommit::x"):
        assert asked(address) == "private"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("is_open", [True, False])
def test_an_ssh_host_is_asked_at_its_web_side(store, asked, repo, tmp_path, plain_ssh, is_open):
    hosts = ("github.com", "git.example.org")
    pair = servers.certificate(tmp_path, *hosts)
    with servers.web(store, PASSWORD, is_public=is_open, certificate=pair) as web, servers.proxy(web.port) as proxy:
        git(repo, "config", "http.proxy", f"http://127.0.0.1:{proxy.port}")
        git(repo, "config", "--global", "http.https://github.com/.sslCAInfo", str(pair[0]))
        git(repo, "config", "--global", "http.https://git.example.org/.sslCAInfo", str(pair[0]))
        for address, host in (
            ("git@github.com:full.git", "github.com"),
            ("github-work:full.git", "github.com"),
            ("ssh://git@ssh.github.com:443/full.git", "github.com"),
            ("ssh://me@git.example.org:2222/full.git", "git.example.org"),
            ("me@git.example.org:/empty.git", "git.example.org"),
        ):
            assert asked(address) == ("public" if is_open else "silent" if "ssh.git" in address else "private"), address
            assert proxy.wanted[-1] == f"{host}:443"
        assert all("Authorization" not in headers for _, headers in web.heard)


def test_an_ssh_host_without_a_web_side_is_not_public(asked, repo, plain_ssh):
    git(repo, "config", "http.proxy", f"http://127.0.0.1:{servers.free_port()}")
    assert asked("git@git.example.org:x.git") == "silent"
    assert asked("ssh://-oProxyCommand=x/y") == "private", "nothing is asked of a host that looks like an option"


def test_an_address_for_people_has_no_password_in_it(asked, repo):
    asked("file:///nowhere")
    for url in ("https://me:secret@host/x.git", "https://secret@host/x.git", "https://host/x.git?token=secret"):
        git(repo, "remote", "set-url", "origin", url)
        assert "secret" not in "".join(exposure.addresses(find(repo), "origin"))


def test_no_such_remote(repo):
    with pytest.raises(RemoteError, match="no remote called"):
        exposure.ask(find(repo), "upstream")
