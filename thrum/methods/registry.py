"""Every method, declared once: `@method("message.send")` on a typed function with a docstring.

The sockets, MCP, the command line's help and the reference all come from this table. How to declare:

- The docstring is the method's reference. Its first line is a summary in the imperative (`Method.summary`); the paragraphs
  after it (`Method.details`, Markdown) say what is given back, as `{field, field?}` with `?` for what may be absent, and
  what is refused.
- A parameter's type is `Annotated[type, "what it means"]`, and the text is its description (`Parameter.about`). Descriptions
  that several methods share are in `methods/parameters.py`.
- A type is str, int, float, bool, `dict[str, Any]` (any object), a NamedTuple (an object with those fields, e.g. `Pair`), a
  list of these, or several of them with `|`. `None` beside a type means nothing but "may be left out": in JSON, null is absent.
"""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from thrum.core.codec import settled_text
from thrum.errors import BadParams

Json = dict[str, Any]
Function = Callable[..., Any]
_MODULES = (
    "agent",
    "health",
    "message",
    "overview",
    "purge",
    "retirement",
    "revision",
    "search",
    "session",
    "subscription",
    "sync",
    "thread",
    "user",
)
METHODS: dict[str, Method] = {}


class Pair(NamedTuple):
    """A scope or a ref: `{"type": ..., "value": ...}`."""

    type: str
    value: str = ""

    def as_json(self) -> Json:
        """The pair as it stands in events and results."""
        return {"type": self.type, "value": self.value}


class Parameter(NamedTuple):
    """One parameter: its name, its type, whether it must be given, what it means, and what it is when left out."""

    name: str
    kind: Any
    required: bool
    about: str = ""
    default: Any = None


class Method(NamedTuple):
    """A declared method.

    One that `waits` gives None for "nothing yet" and is asked again when something happened. One that `reads_git` shows what
    agents work on, and wants git to have been looked at before. One that `joins` states at most once and tells nothing that it
    would have to read back: what several such calls state may become durable together, before any of them is answered. One
    that `searches` needs the index of words, which may be far behind.
    """

    name: str
    function: Function
    waits: bool
    reads_git: bool = False
    joins: bool = False
    searches: bool = False

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def details(self) -> str:
        """What it gives and refuses: the docstring after its first line."""
        return (inspect.getdoc(self.function) or "").partition("\n")[2].strip()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it takes, in order."""
        kinds = typing.get_type_hints(self.function, include_extras=True)
        declared = list(inspect.signature(self.function).parameters.values())[1:]
        return tuple(_parameter(p, kinds[p.name]) for p in declared)


def method(
    name: str, *, waits: bool = False, reads_git: bool = False, joins: bool = False, searches: bool = False
) -> Callable[[Function], Function]:
    """Declares a function as the method `name`."""

    def declare(function: Function) -> Function:
        METHODS[name] = Method(name, function, waits, reads_git, joins, searches)
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
    if wanted.name not in _BOUND:
        _BOUND[wanted.name] = wanted.parameters
    declared = _BOUND[wanted.name]
    lowered = {key.lower(): value for key, value in params.items() if value is not None}
    arguments: Json = {}
    for parameter in declared:
        if parameter.name in lowered:
            arguments[parameter.name] = _convert(parameter.name, parameter.kind, lowered[parameter.name])
        elif parameter.required:
            raise BadParams(f"{parameter.name} is required")
    return arguments


def _parameter(declared: inspect.Parameter, kind: Any) -> Parameter:
    about = ""
    if typing.get_origin(kind) is typing.Annotated:
        kind, about = typing.get_args(kind)[:2]
    required = declared.default is declared.empty
    return Parameter(declared.name, kind, required, about, None if required else declared.default)


def _convert(name: str, kind: Any, value: Any) -> Any:
    kinds = _kinds(kind)
    wanted, plain = next((one for one in kinds if isinstance(value, one[1])), kinds[0])
    if plain is list:
        if not isinstance(value, list):
            raise BadParams(f"{name} must be a list")
        return [_convert(name, typing.get_args(wanted)[0], item) for item in value]
    if hasattr(wanted, "_fields"):
        return _record(name, wanted, value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, plain) or (plain in (int, float) and isinstance(value, bool)):
        raise BadParams(f"{name} must be {_WORDS.get(plain, plain.__name__)}")
    return settled_text(value) if plain is str else value


_WORDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", float: "a number"}


@lru_cache(maxsize=256)
def _kinds(kind: Any) -> tuple[tuple[Any, Any], ...]:
    """The types that a parameter of this kind may be of, each with the type of the JSON value that it is made from."""
    kinds = typing.get_args(kind) if _is_union(kind) else (kind,)
    return tuple((one, _plain(one)) for one in kinds if one is not type(None))


def _is_union(kind: Any) -> bool:
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def _plain(kind: Any) -> Any:
    """The type of the JSON value that `kind` is made from."""
    return dict if hasattr(kind, "_fields") else typing.get_origin(kind) or kind


def _record(name: str, wanted: Any, value: Any) -> Any:
    """An object with the fields of the NamedTuple `wanted`; keys in any case."""
    if not isinstance(value, dict):
        raise BadParams(f"{name} must hold objects with {' and '.join(wanted._fields)}")
    lowered = {str(key).lower(): item for key, item in value.items() if item is not None}
    found = {}
    for field, kind in typing.get_type_hints(wanted).items():
        if field in lowered:
            found[field] = _convert(f"{name}.{field}", kind, lowered[field])
        elif field not in wanted._field_defaults:
            raise BadParams(f"{name} needs a {field}")
    made = wanted(**found)
    if isinstance(made, Pair) and not made.type:
        raise BadParams(f"{name}.type cannot be empty")
    return made
