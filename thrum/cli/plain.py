"""Words of the command line that are what they look like, taken as they are; and words that are not there, taken once.

typer has pydantic convert every word, and loading that takes longer than all the rest of a command. Texts and whole numbers
need none of it. Whatever is not plainly one goes typer's own way, so every complaint is typer's. An option that is left out
means the same every time, and most are: what typer made of its absence is remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DIGITS = 18


def lighten(command: Any) -> Any:
    """`command`, with the light way in front of typer's own for each of its parameters."""
    for parameter in command.params:
        lighten_one(parameter)
    return command


def lighten_one(parameter: Any) -> None:
    """The same for one parameter; where typer is another than the one we know, nothing."""
    if getattr(parameter, "_runtime_param", parameter) is None and hasattr(parameter, "type_descriptor"):
        parameter._runtime_param = Plain(parameter)
        if _may_be_left_out(parameter):
            parameter.handle_parse_result = Absent(parameter)


class Absent:
    """What typer calls for one parameter of a line; it asks no further for one that is not there."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._usual = parameter.handle_parse_result
        self._known: tuple[Any, Any] | None = None
        """What is meant by its absence, and what typer calls the source of that."""

    def __call__(self, ctx: Any, opts: Mapping[str, Any], args: list[str]) -> tuple[Any, list[str]]:
        """The value for the command, and the words that are left."""
        name = self._parameter.name
        if opts.get(name) is not None or ctx.default_map or ctx.auto_envvar_prefix or ctx.resilient_parsing:
            found: tuple[Any, list[str]] = self._usual(ctx, opts, args)
            return found
        if self._known is None:
            value, args = self._usual(ctx, opts, args)
            if value is None or isinstance(value, (str, int, tuple)):  # what nobody can change
                self._known = value, ctx.get_parameter_source(name)
            return value, args
        ctx.params[name], source = self._known
        ctx.set_parameter_source(name, source)
        return ctx.params[name], args


def _may_be_left_out(parameter: Any) -> bool:
    """Whether nothing but the line decides what an option is, and nobody has to be asked or told when it is not there."""
    asks = any(getattr(parameter, name, True) for name in ("required", "envvar", "callback", "is_eager", "prompt"))
    return not asks and getattr(parameter, "expose_value", False) and not callable(parameter.default)


class Plain:
    """What typer asks to convert the words of one parameter."""

    def __init__(self, parameter: Any) -> None:
        self._parameter = parameter
        self._kind = parameter.type_descriptor.annotation
        self._limits = parameter.type_descriptor.parameter_info

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value for the command. Raises typer's BadParameter."""
        if value is None:
            return () if param.nargs == -1 or getattr(param, "multiple", False) else None
        if self._kind is str and type(value) is str:
            return value
        if self._kind is int and (number := _whole(value)) is not None and self._is_within(number):
            return number
        if self._kind == list[str] and type(value) in (list, tuple) and all(type(word) is str for word in value):
            return list(value)
        self._parameter._runtime_param = None  # from now on typer's own
        return self._parameter.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _is_within(self, number: int) -> bool:
        least, most = self._limits.min, self._limits.max
        return (least is None or number >= least) and (most is None or number <= most)


def _whole(value: Any) -> int | None:
    if type(value) is int:
        return value
    if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= _DIGITS:
        return int(value)
    return None
