"""A conversation over the WebSocket: notifications without asking twice, and a user behind it once it is known who."""

from __future__ import annotations

from typing import Any

from thrum.caller import Claim
from thrum.daemon.claims import read_claim
from thrum.daemon.delivery import Push
from thrum.daemon.dispatch import Conversation, Dispatcher

Json = dict[str, Any]
_INDOORS = ("cli.run", "cli.done")
"""What only the command line on the Unix socket is for."""


class Guest(Conversation):
    """One WebSocket client's requests."""

    def __init__(self, shared: Dispatcher, push: Push, user: str) -> None:
        """`user`: whose token the client brought, "" when nobody's."""
        super().__init__(shared, push)
        self._user = user
        self._own["user.register"] = self._register
        for name in _INDOORS:
            del self._own[name]

    def _read(self, params: Json) -> tuple[Claim, Json]:
        """A request that does not say who calls is the user's."""
        claim, rest = read_claim(params)
        is_anonymous = not (claim.cwd or claim.name or claim.role or claim.module or claim.agent_id)
        return (Claim(agent_id=self._user), rest) if is_anonymous and self._user else (claim, rest)

    def _wants_pushes(self, params: Json) -> bool:
        return True

    async def _register(self, params: Json, claim: Claim) -> Any:
        """From here on the client is that user, at work: v0.1.0's clients subscribe right after this."""
        answer = await self._call("user.register", params, claim)
        self._user = answer["user_id"]
        me = Claim(agent_id=self._user)
        if not (await self._call("agent.whoami", {}, me)).get("session_id"):
            await self._call("session.start", {}, me)
        return answer
