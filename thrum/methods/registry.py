"""Every method, declared once: `@method("message.send")` on a typed function with a docstring.

The sockets, MCP, the command line's help and the reference all come from this table.
"""

from __future__ import annotations

import importlib
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from thrum.core.codec import settled_text
from thrum.errors import BadParams

Json = dict[str, Any]
Function = Callable[..., Any]
_MODULES = ("agent", "health", "message", "overview", "session", "sync")
METHODS: dict[str, Method] = {}


class Pair(NamedTuple):
    """A scope or a ref: `{"type": ..., "value": ...}`."""

    type: str
    value: str

    def as_json(self) -> Json:
        """The pair as it stands in events and results."""
        return {"type": self.type, "value": self.value}


class Parameter(NamedTuple):
    """One parameter: its name, its kind, whether it must be given."""

    name: str
    kind: Any
    required: bool


class Method(NamedTuple):
    """A declared method.

    One that `waits` gives None for "nothing yet" and is asked again when something happened. One that `reads_git` shows what
    agents work on, and wants git to have been looked at before.
    """

    name: str
    function: Function
    waits: bool
    reads_git: bool = False

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return inspect.getdoc(self.function).split("\n", 1)[0]  # type: ignore[union-attr]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it takes, in order."""
        kinds = typing.get_type_hints(self.function)
        declared = list(inspect.signature(self.function).parameters.values())[1:]
        return tuple(Parameter(p.name, kinds[p.name], p.default is p.empty) for p in declared)


def method(name: str, *, waits: bool = False, reads_git: bool = False) -> Callable[[Function], Function]:
    """Declares a function as the method `name`."""

    def declare(function: Function) -> Function:
        METHODS[name] = Method(name, function, waits, reads_git)
        return function

    return declare


def load() -> dict[str, Method]:
    """Every method there is, by name."""
    for module in _MODULES:
        importlib.import_module(f"thrum.methods.{module}")
    return METHODS


_BOUND: dict[str, tuple[Parameter, ...]] = {}


def bind(wanted: Method, params: Json) -> Json:
    """`params` as keyword arguments, checked. Keys count in any case, unknown ones are ignored, null is absent."""
    if not isinstance(params, dict):
        raise BadParams("params must be an object")
    declared = _BOUND.get(wanted.name) or _BOUND.setdefault(wanted.name, wanted.parameters)
    lowered = {key.lower(): value for key, value in params.items() if value is not None}
    arguments: Json = {}
    for parameter in declared:
        if parameter.name in lowered:
            arguments[parameter.name] = _convert(parameter.name, parameter.kind, lowered[parameter.name])
        elif parameter.required:
            raise BadParams(f"{parameter.name} is required")
    return arguments


def _convert(name: str, kind: Any, value: Any) -> Any:
    kinds = [k for k in (typing.get_args(kind) if _is_optional(kind) else (kind,)) if k is not type(None)]
    wanted = kinds[0]
    if wanted is Pair:
        return _pair(name, value)
    if typing.get_origin(wanted) is list:
        if not isinstance(value, list):
            raise BadParams(f"{name} must be a list")
        return [_convert(name, typing.get_args(wanted)[0], item) for item in value]
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = typing.get_origin(wanted) or wanted
    if not isinstance(value, plain) or (plain in (int, float) and isinstance(value, bool)):
        raise BadParams(f"{name} must be {_WORDS.get(plain, plain.__name__)}")
    return settled_text(value) if plain is str else value


_WORDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", float: "a number"}


def _is_optional(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)


def _pair(name: str, value: Any) -> Pair:
    if not isinstance(value, dict):
        raise BadParams(f"{name} must hold objects with type and value")
    lowered = {str(key).lower(): item for key, item in value.items()}
    kind, content = lowered.get("type", ""), lowered.get("value", "")
    if not isinstance(kind, str) or not isinstance(content, str) or not kind:
        raise BadParams(f"{name} must hold objects with type and value")
    return Pair(settled_text(kind), settled_text(content))
