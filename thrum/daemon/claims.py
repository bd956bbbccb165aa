"""Who a request says it comes from."""

from __future__ import annotations

from typing import Any

from thrum.caller import Claim
from thrum.errors import BadParams

Json = dict[str, Any]
_VARIABLES = ("THRUM_NAME", "THRUM_ROLE", "THRUM_MODULE", "THRUM_DISPLAY")


def read_claim(params: Json) -> tuple[Claim, Json]:
    """Who the caller says it is, and the parameters without that. Raises BadParams."""
    rest = {key: value for key, value in params.items() if key.lower() not in ("caller", "caller_agent_id")}
    if len(rest) == len(params):
        return Claim(), rest
    said = {key.lower(): value for key, value in params.items()}
    caller = {} if said.get("caller") is None else said["caller"]
    if not isinstance(caller, dict):
        raise BadParams("caller must be an object")
    agent_id = _read_text(said, "caller_agent_id")
    return Claim(
        cwd=_read_text(caller, "cwd"),
        name=_read_text(caller, "name"),
        role=_read_text(caller, "role"),
        module=_read_text(caller, "module"),
        environ=_read_environ(caller.get("environ")),
        agent_id=agent_id,
    ), rest


def _read_text(said: Json, key: str) -> str:
    value = said.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        raise BadParams(f"{key} must be a text")
    return value


def _read_environ(said: object) -> dict[str, str]:
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise BadParams("caller.environ must be an object")
    return {name: _read_text(said, name) for name in _VARIABLES if said.get(name) is not None}
