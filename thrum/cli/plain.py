"""Words of the command line that are what they look like, taken as they are.

typer has pydantic convert every word, and loading that takes longer than all the rest of a command. Texts and whole numbers
need none of it. Whatever is not plainly one goes typer's own way, so every complaint is typer's.
"""

from __future__ import annotations

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
