"""Who is let in: nobody by another name, nobody from another page, nobody without a token."""

from __future__ import annotations

from pathlib import Path

import pytest

from thrum.daemon.gate import ADMITTED, Gate, Verdict
from thrum.daemon.tokens import Tokens, token_path
from thrum.git.place import Place

PORT = 9999
HOSTS = ("localhost:9999", "127.0.0.1:9999", "[::1]:9999", "LOCALHOST:9999")


class Knock:
    """A gate, and requests to it."""

    def __init__(self, place: Place) -> None:
        self.tokens = Tokens(place)
        self.token = Path(token_path(place)).read_text().strip()
        self._gate = Gate(PORT, self.tokens)

    def __call__(self, target: str = "/ws", *headers: tuple[str, str], host: str | None = HOSTS[0]) -> Verdict:
        said = [*headers, *([("Host", host)] if host is not None else [])]
        return self._gate.judge(target, lambda name: [value for key, value in said if key == name])

    def upgrade(self, *headers: tuple[str, str], target: str = "/ws", host: str | None = HOSTS[0]) -> Verdict:
        return self(target, ("Upgrade", "websocket"), *headers, host=host)

    @property
    def bearer(self) -> tuple[str, str]:
        return ("Authorization", f"Bearer {self.token}")


@pytest.fixture
def knock(tmp_path: Path) -> Knock:
    return Knock(Place(str(tmp_path), str(tmp_path / ".git"), str(tmp_path / ".git"), str(tmp_path)))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", ["/", "/ws"])
def test_a_token_opens_both_paths_under_each_name(knock: Knock, host: str, target: str) -> None:
    assert knock.upgrade(knock.bearer, target=target, host=host) == Verdict(ADMITTED)


@pytest.mark.parametrize(
    "host", [None, "", "evil.example:9999", "localhost", "localhost:80", "127.0.0.1:99990", "localhost:9999.evil.com"]
)
def test_another_host_is_refused_whatever_it_brings(knock: Knock, host: str | None) -> None:
    assert knock.upgrade(knock.bearer, host=host).status == 403


def test_two_hosts_are_refused(knock: Knock) -> None:
    assert knock.upgrade(knock.bearer, ("Host", "evil.example")).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:9999",
        "http://localhost:9999.evil.com",
        "HTTP://LOCALHOST:9999",
        "http://localhost:9999/",
        "file://",
    ],
)
def test_another_origin_is_refused_whatever_it_brings(knock: Knock, origin: str) -> None:
    assert knock.upgrade(knock.bearer, ("Origin", origin)).status == 403


def test_two_origins_are_refused(knock: Knock) -> None:
    ours = ("Origin", "http://localhost:9999")
    assert knock.upgrade(knock.bearer, ours).status == ADMITTED
    assert knock.upgrade(knock.bearer, ours, ours).status == 403


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic eDp5", "Bearer \udcff"])
def test_without_a_token_nobody_is_told_anything(knock: Knock, said: str) -> None:
    for target in ("/", "/ws", "/health", "/../etc", "/?token=", "/ws?token=wrong"):
        for verdict in (knock.upgrade(("Authorization", said), target=target), knock(target, ("Authorization", said))):
            assert (verdict.status, verdict.body) == (401, "a token is needed\n")


def test_the_address_may_carry_the_token(knock: Knock) -> None:
    assert knock.upgrade(target=f"/ws?token={knock.token}").status == ADMITTED
    assert knock.upgrade(target=f"/?a=1&token={knock.token}").status == ADMITTED
    assert knock.upgrade(("Authorization", "Bearer wrong"), target=f"/ws?token={knock.token}").status == 401


def test_a_browser_gets_a_cookie_and_comes_in_with_it(knock: Knock) -> None:
    login = knock(f"/?token={knock.token}")
    headers = dict(login.headers)
    assert (login.status, headers["Location"]) == (303, "/")
    assert headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Strict")
    cookie = ("Cookie", "theme=dark; " + headers["Set-Cookie"].partition(";")[0])
    page = knock("/", cookie)
    assert (page.status, knock.token in page.body) == (200, False)
    assert knock.upgrade(cookie, ("Origin", "http://localhost:9999")).status == ADMITTED
    assert knock.upgrade(cookie).status == 401, "no browser opens a WebSocket without an origin"
    assert knock.upgrade(cookie, ("Origin", "http://evil.example")).status == 403
    assert knock("/", ("Cookie", f"thrum-1={knock.token}")).status == 401, "another daemon's cookie"


def test_a_users_token_says_who_comes(knock: Knock) -> None:
    token = knock.tokens.issue("user:ann")
    assert knock.upgrade(("Authorization", f"bearer {token}")) == Verdict(ADMITTED, user="user:ann")
    assert token in dict(knock(f"/?token={token}").headers)["Set-Cookie"]


def test_there_is_nothing_but_the_page_and_the_socket(knock: Knock) -> None:
    assert knock("/", knock.bearer).status == 200
    assert knock("/ws", knock.bearer).status == 426
    assert knock("/health", knock.bearer).status == 404
    assert knock.upgrade(knock.bearer, target="/assets/x").status == 404
