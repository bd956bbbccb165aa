import inspect

import pytest

from thrum import errors
from thrum.errors import BadParams, ThrumError, UsageError

REFUSALS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ThrumError)]


def test_every_refusal_has_a_code_of_its_own():
    codes = [kind.code for kind in REFUSALS if kind not in (UsageError, BadParams)]
    assert len(codes) == len(set(codes)) and -32602 not in codes
    assert UsageError.code == BadParams.code == -32602


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_says_what_it_is_and_what_to_do_next(kind):
    assert kind.__doc__ and kind.__doc__.strip().endswith(".")
    document = kind("It is so.", "do this").as_json()["error"]
    assert document == {"code": kind.code, "kind": kind.__name__, "message": "It is so.", "hint": "do this"}
