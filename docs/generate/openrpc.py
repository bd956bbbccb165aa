"""docs/openrpc.json: the methods for programs that read OpenRPC 1.3."""

from __future__ import annotations

import json
from typing import Any

from docs.generate import declared, rpc, schema
from thrum import __version__
from thrum.methods.registry import Method, Parameter

Json = dict[str, Any]
VERSION = "1.3.2"


def page() -> str:
    """The whole document."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def document() -> Json:
    """The document as data."""
    return {
        "openrpc": VERSION,
        "info": {
            "title": "git thrum",
            "version": __version__,
            "description": "Mail, presence and coordination for coding agents, kept in the git repository they work in.",
        },
        "servers": [
            {"name": "websocket", "url": "ws://localhost:9999/ws", "summary": "Loopback only, with a token."},
            {"name": "unix", "url": "unix:.thrum/var/thrum.sock", "summary": "One request a line, for the same user."},
        ],
        "methods": [_method(method) for method in rpc.methods()],
        "components": {
            "contentDescriptors": {"caller": _CALLER, "caller_agent_id": _CALLER_ID},
            "errors": {
                refusal.kind: _error(refusal.code, refusal.kind, refusal.about) for refusal in declared.refusals()
            },
        },
    }


_CALLER = {
    "name": "caller",
    "summary": "who is asking: where it stands, and what it chose",
    "required": False,
    "schema": {
        "type": "object",
        "properties": {
            "cwd": {"type": "string"},
            "name": {"type": "string"},
            "role": {"type": "string"},
            "module": {"type": "string"},
            "environ": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
}
_CALLER_ID = {
    "name": "caller_agent_id",
    "summary": "who is asking, as clients of v0.1.0 say it",
    "required": False,
    "schema": {"type": "string"},
}


def _method(method: Method) -> Json:
    told: Json = {"name": method.name, "summary": method.summary}
    if method.details:
        told["description"] = method.details
    callers = [{"$ref": f"#/components/contentDescriptors/{name}"} for name in ("caller", "caller_agent_id")]
    return {
        **told,
        "paramStructure": "by-name",
        "params": [*(_parameter(parameter) for parameter in method.parameters), *callers],
        "result": {"name": "result", "schema": schema.of_result(method.details)},
    }


def _parameter(parameter: Parameter) -> Json:
    told: Json = {"name": parameter.name}
    if parameter.about:
        told["summary"] = parameter.about
    return {**told, "required": parameter.required, "schema": schema.of(parameter.kind)}


def _error(code: int, kind: str, about: str) -> Json:
    return {"code": code, "message": about, "data": {"kind": kind, "hint": "the next step"}}
