"""docs/reference/rpc.md: every method, every refusal, every notification."""

from __future__ import annotations

from collections.abc import Iterator

from docs.generate import declared, schema, words
from docs.generate.text import code, document, table
from thrum.methods import registry
from thrum.methods.registry import Method, Parameter

INTRODUCTION = """\
# JSON-RPC

The daemon speaks JSON-RPC 2.0: over the Unix socket `.thrum/var/thrum.sock` one request a line, over the WebSocket
(`ws://localhost:9999/ws`; the real port is in `.thrum/var/ws.port`) one request a frame. Both have the same methods, and
take batches. `docs/openrpc.json` says the same for programs.

- The WebSocket listens on the loopback alone and tells nothing without a token: the line in `.thrum/var/ws.token` (readable
  by this user only), or the one that `user.register` gave, as `Authorization: Bearer TOKEN` or `?token=TOKEN`. A browser that
  opens `http://localhost:9999/?token=TOKEN` keeps it in a cookie; pages of other origins stay out.
- Parameters are an object. A missing or ill-typed one is refused with -32602 and its name; one nobody knows is ignored; null
  is absent; the case of a name does not matter.
- **Who is asking** goes with every request: `caller`, an object with `cwd` (the worktree the caller stands in) and, where it
  has a choice to make, `name`, `role`, `module` and `environ` (its `THRUM_` variables); or `caller_agent_id`, as clients of
  v0.1.0 send it.
- A refusal is an error whose `message` says what happened and whose `data` holds `kind`, the refusal's class, and `hint`,
  the next step. It changed nothing.
- Times are RFC 3339 in UTC with nine digits. Lists are never null."""


def page() -> str:
    """The whole page."""
    return document(
        INTRODUCTION,
        "## Methods",
        *(block for method in methods() for block in _method(method)),
        "## Refusals",
        table(("code", "kind", "meaning"), [(str(r.code), code(r.kind), r.about) for r in declared.refusals()]),
        "JSON-RPC's own:",
        table(("code", "meaning"), [(str(number), about) for number, about in declared.PROTOCOL]),
        "## Notifications\n\nOnly to connections that subscribed. Each is sent once, in order.",
        *_notifications(),
    )


def methods() -> list[Method]:
    """Every method, by name."""
    return [method for _, method in sorted(registry.load().items())]


def _method(method: Method) -> Iterator[str]:
    yield f"### {method.name}"
    yield method.summary
    yield _parameters(method.parameters)
    yield method.details
    if method.waits:
        yield "It waits: `timeout` is how many seconds at most (30 when left out, an hour at most)."


def _parameters(parameters: tuple[Parameter, ...]) -> str:
    rows = [
        (code(p.name), schema.in_words(p.kind) + ("" if p.required else ", optional"), _about(p)) for p in parameters
    ]
    return table(("parameter", "type", "meaning"), rows) if rows else "It takes no parameters."


def _about(parameter: Parameter) -> str:
    default = parameter.default
    told = "" if default in (None, "", False, 0, ()) else f" (default: {default})"
    return parameter.about + told


def _notifications() -> Iterator[str]:
    for name, about, parameters in words.NOTIFICATIONS:
        yield f"### {name}"
        yield about
        yield table(("parameter", "type", "meaning"), [(code(own), kind, told) for own, kind, told in parameters])
