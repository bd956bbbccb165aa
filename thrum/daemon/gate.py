"""Who gets through the door that every web page can knock at: our own names only, our own pages only, and only with a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qs

from thrum.daemon import turned
from thrum.daemon.tokens import Tokens

ADMITTED = 101
PATHS = ("/", "/ws")
_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>git thrum</title>
<h1>git thrum</h1>
<p>The daemon answers. JSON-RPC over WebSocket: <code>ws://{host}/ws</code></p>
</html>
"""

Headers = Callable[[str], list[str]]
"""All values of the request's header of that name."""


class Verdict(NamedTuple):
    """What a request gets: `ADMITTED` to talk, as `user` if it is known whose token it brought; else an HTTP answer.

    `reason`: why a stranger is turned away, in the words that are counted.
    """

    status: int
    body: str = ""
    user: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    reason: str = ""


class Gate:
    """The guard of one port."""

    def __init__(self, port: int, tokens: Tokens) -> None:
        self._tokens = tokens
        self._hosts = [f"{name}:{port}" for name in ("localhost", "127.0.0.1", "[::1]")]
        self._origins = [f"http://{host}" for host in self._hosts]
        self._cookie = f"thrum-{port}"  # a browser takes all ports of a host for one: two daemons would share it

    def judge(self, target: str, headers: Headers) -> Verdict:
        """What the request for `target` (path and query) gets. Nothing of it is told to who has no token."""
        hosts, origins = [host.lower() for host in headers("Host")], headers("Origin")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return Verdict(403, "this is no name of this server\n", reason=turned.HOST)
        if origins and (len(origins) > 1 or origins[0] not in self._origins):
            return Verdict(403, "other pages may not come in\n", reason=turned.ORIGIN)
        path, _, query = target.partition("?")
        upgrades = [value.strip().lower() for value in headers("Upgrade")] == ["websocket"]
        asked = parse_qs(query).get("token", [""])[0]
        user = self._tokens.bearer(_bearer(headers) or asked or self._from_cookie(headers, upgrades, origins))
        if user is None:
            return Verdict(401, "a token is needed\n", headers=(("WWW-Authenticate", "Bearer"),), reason=turned.TOKEN)
        if path not in PATHS:
            return Verdict(404, "there is nothing here\n")
        if upgrades:
            return Verdict(ADMITTED, user=user)
        return self._page(path, asked, hosts[0])

    def _page(self, path: str, asked: str, host: str) -> Verdict:
        if path != "/":
            return Verdict(426, "this is for WebSocket clients\n", headers=(("Upgrade", "websocket"),))
        if asked:  # out of the address bar, into a cookie that no script and no other site gets
            cookie = f"{self._cookie}={asked}; Path=/; HttpOnly; SameSite=Strict"
            return Verdict(303, "", headers=(("Location", "/"), ("Set-Cookie", cookie)))
        return Verdict(200, _PAGE.format(host=host), headers=(("Content-Type", "text/html; charset=utf-8"),))

    def _from_cookie(self, headers: Headers, upgrades: bool, origins: list[str]) -> str:
        """The token in our cookie. A browser says which page opens a WebSocket, so one without an origin has no cookie."""
        if upgrades and not origins:
            return ""
        pairs = [pair.strip().partition("=") for value in headers("Cookie") for pair in value.split(";")]
        return next((value for name, _, value in pairs if name == self._cookie), "")


def _bearer(headers: Headers) -> str:
    for value in headers("Authorization"):
        scheme, _, token = value.strip().partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
    return ""
