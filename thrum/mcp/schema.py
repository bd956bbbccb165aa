"""A tool is one typed function with a docstring; what `tools/list` says of it follows from that, in as few words as may be."""

from __future__ import annotations

import types
import typing
from typing import Any

from mcp_types import Tool, ToolAnnotations

from thrum.errors import BadParams
from thrum.methods import registry
from thrum.methods.registry import Method, Parameter

Json = dict[str, Any]
_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def described(tool: Method, *, changes_nothing: bool) -> Tool:
    """The tool as clients are told of it."""
    return Tool(
        name=tool.name,
        description=" ".join((tool.function.__doc__ or "").split()),
        input_schema=_inputs(tool.parameters),
        output_schema=_outputs(tool),
        annotations=ToolAnnotations(read_only_hint=True) if changes_nothing else None,
    )


def bound(tool: Method, arguments: Json) -> Json:
    """A client's arguments as the function wants them. Raises BadParams; a misspelled name must not be passed over."""
    known = [parameter.name for parameter in tool.parameters]
    strange = [name for name in arguments if name not in known]
    if strange:
        raise BadParams(f"{tool.name} has no argument {strange[0][:80]!r}", f"it takes {', '.join(known)}")
    return registry.bind(tool, arguments)


def _inputs(parameters: tuple[Parameter, ...]) -> Json:
    properties = {parameter.name: _property(parameter) for parameter in parameters}
    required = [parameter.name for parameter in parameters if parameter.required]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def _outputs(tool: Method) -> Json:
    fields = typing.get_type_hints(typing.get_type_hints(tool.function)["return"], include_extras=True)
    required = [name for name, kind in fields.items() if typing.get_origin(kind) is not typing.NotRequired]
    bare = {name: typing.get_args(kind)[0] if name not in required else kind for name, kind in fields.items()}
    return {"type": "object", "properties": {n: {"type": _name(k)} for n, k in bare.items()}, "required": required}


def _property(parameter: Parameter) -> Json:
    said = {"description": parameter.about} if parameter.about else {}
    default = parameter.default
    return {**_kind(parameter.kind), **said, **({"default": default} if default not in (None, "") else {})}


def _kind(kind: Any) -> Json:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return _kind(next(one for one in typing.get_args(kind) if one is not type(None)))
    if hasattr(kind, "_fields"):
        return {"type": "object", "properties": {n: _kind(k) for n, k in typing.get_type_hints(kind).items()}}
    if typing.get_origin(kind) is list and typing.get_args(kind)[0] is str:
        return {"type": "array", "items": {"type": "string"}}
    return {"type": _name(kind)}


def _name(kind: Any) -> str:
    return _NAMES[typing.get_origin(kind) or kind]
