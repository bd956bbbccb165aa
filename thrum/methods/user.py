"""Users: people who read and write beside the agents, mostly in a browser."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from thrum.core import events
from thrum.errors import BadParams, NoUserName
from thrum.methods import parameters
from thrum.methods.agent import check_display
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]
_USERNAME = re.compile(r"[a-zA-Z0-9_-]{1,32}\Z")
_LONGEST_USERNAME = 32


@method("user.register")
def register(
    ctx: Context,
    username: Annotated[str, "1 to 32 letters a-z, A-Z, digits, - and _; case matters"],
    display: parameters.Display = "",
) -> Json:
    """Register a user, so that `user:<username>` can read and write.

    Registering again is harmless; a new `display` is kept. Gives `{user_id, username, display_name?, token, status}`, `status`
    being `registered` or `existing`. No session is started: `session.start` does that. A WebSocket connection is then that
    user's, with a session if there was none; the token makes it so on a later connection.
    """
    if not _USERNAME.match(username):
        raise BadParams(f"username {username[:80]!r} is no user's name", "1 to 32 letters, digits, - and _")
    check_display(display)
    user_id = f"user:{username}"
    known = ctx.roster.agent(user_id)
    shown = display or (known["display"] if known else "")
    if known is None or known["display"] != shown:
        version = ctx.roster.last_version(user_id) + 1
        fields = {"agent_id": user_id, "kind": "user", "role": username, "module": "ui", "name": username}
        ctx.append(user_id, [ctx.event(events.AGENT_REGISTER, ctx.now(), **fields, display=shown, version=version)])
    named = {"display_name": shown} if shown else {}
    token, status = ctx.issue_token(user_id), "existing" if known else "registered"
    return {"user_id": user_id, "username": username, **named, "token": token, "status": status}


@method("user.identify")
def identify(ctx: Context) -> Json:
    """Say who the user is according to git's configuration.

    Gives `{username, email, display}`: `display` is git's `user.name`, `username` is made from it so that `user.register` takes
    it. Without a `user.name`: NoUserName.
    """
    name, email = ctx.home.git_user()
    if not name:
        raise NoUserName("git does not know your name", 'git config user.name "Your Name"')
    return {"username": _username(name), "email": email, "display": name}


def _username(name: str) -> str:
    """`Ann_Lee O'Neil` becomes `ann-lee-oneil`, `Jürgen` `jurgen`; a name without a Latin letter or a digit becomes `user`."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    kept = re.sub(r"[^a-z0-9-]", "", re.sub(r"[ _-]", "-", plain))
    return kept[:_LONGEST_USERNAME].strip("-") or "user"
