"""What clients are told of a tool follows from its function, and so does what it accepts."""

from typing import Annotated, Any, NamedTuple, NotRequired, TypedDict

import pytest
from jsonschema import Draft202012Validator

from thrum.errors import BadParams
from thrum.mcp import schema, server
from thrum.mcp.tools import TOOLS
from thrum.methods.registry import Method


class Wish(NamedTuple):
    kind: str = "any"
    names: list[str] | None = None


class Given(TypedDict):
    name: str
    parts: list[dict[str, Any]]
    price: NotRequired[float]


async def order(
    desk: object,
    what: Annotated[str, "a thing"],
    count: int = 1,
    fast: bool = False,
    wish: Wish | None = None,
    data: dict[str, Any] | None = None,
) -> Given:
    """Order a
    thing.
    """
    raise NotImplementedError


ORDER = Method("order", order, False)


def test_a_function_is_described():
    told = schema.described(ORDER, changes_nothing=False)
    assert told.name == "order" and told.description == "Order a thing." and told.annotations is None
    assert told.input_schema == {
        "type": "object",
        "properties": {
            "what": {"type": "string", "description": "a thing"},
            "count": {"type": "integer", "default": 1},
            "fast": {"type": "boolean", "default": False},
            "wish": {
                "type": "object",
                "properties": {"kind": {"type": "string"}, "names": {"type": "array", "items": {"type": "string"}}},
            },
            "data": {"type": "object"},
        },
        "required": ["what"],
    }
    assert told.output_schema == {
        "type": "object",
        "properties": {"name": {"type": "string"}, "parts": {"type": "array"}, "price": {"type": "number"}},
        "required": ["name", "parts"],
    }
    assert schema.described(ORDER, changes_nothing=True).annotations.read_only_hint


def test_arguments_are_checked_and_bound():
    bound = schema.bound(ORDER, {"what": "x", "count": 2, "wish": {"kind": "red"}, "data": None})
    assert bound == {"what": "x", "count": 2, "wish": Wish("red")}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "what is required"),
        ({"what": 1}, "what must be a text"),
        ({"what": "x", "count": "2"}, "count must be a whole number"),
        ({"what": "x", "wat": 1}, "order has no argument 'wat'"),
        ({"what": "x", "wish": {"names": "x"}}, "wish.names must be a list"),
    ],
)
def test_what_is_no_argument_is_refused(arguments, sentence):
    with pytest.raises(BadParams, match=sentence):
        schema.bound(ORDER, arguments)


@pytest.mark.parametrize("tool", server.listing(), ids=lambda tool: tool.name)
def test_every_schema_is_valid_json_schema(tool):
    Draft202012Validator.check_schema(tool.input_schema)
    Draft202012Validator.check_schema(tool.output_schema)
    assert set(tool.input_schema["properties"]) == {parameter.name for parameter in TOOLS[tool.name].parameters}
