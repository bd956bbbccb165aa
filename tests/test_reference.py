"""The reference pages, the man page and the OpenRPC document say what the declarations say."""

import json
import os
import shutil
import subprocess

import pytest

from docs.generate import __main__ as generate
from docs.generate import declared, manual, openrpc, rpc, schema, words
from tests import kit
from thrum.cli.commands import COMMANDS, Command
from thrum.methods import registry
from thrum.methods.registry import Pair

_OF_DESCRIPTORS = {"name", "summary", "required", "schema"}
_NUMBERS = {"type": "array", "items": {"type": "integer"}}
_OF_METHODS = {"name", "summary", "description", "paramStructure", "params", "result"}


@pytest.mark.parametrize("name", generate.PAGES)
def test_no_page_is_stale(name):
    with open(generate.ROOT / name, encoding="utf-8") as file:
        assert file.read() == generate.PAGES[name](), "run `make docs`"


def test_stale_pages_are_named_and_written_anew(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert generate.main(["--check"]) == 1
    assert "docs/openrpc.json is stale\n  try: make docs" in capsys.readouterr().err
    assert generate.main([]) == 0
    assert generate.main(["--check"]) == 0


def test_every_command_and_every_option_is_in_the_manual_and_the_reference():
    pages = [manual.page().replace("\\-", "-"), generate.PAGES["docs/reference/cli.md"]()]
    names = [
        f"{name} {own}".strip()
        for name, entry in COMMANDS.items()
        for own, command in (entry if isinstance(entry, dict) else {"": entry}).items()
        if isinstance(command, Command) and not command.hidden
    ]
    assert [command.name for command in declared.commands()] == names
    for command in declared.commands():
        for page in pages:
            assert f"git thrum {command.name}" in page
            assert all(word.spelling in page for word in [*command.arguments, *command.options])


def test_every_method_parameter_and_refusal_is_in_the_reference():
    page = rpc.page()
    for method in registry.load().values():
        assert f"### {method.name}\n\n{method.summary}" in page
        assert method.details in page
        assert all(parameter.about in page for parameter in method.parameters)
    for refusal in declared.refusals():
        assert f"| {refusal.code} | `{refusal.kind}` | {refusal.about} |" in page


def test_every_parameter_has_a_meaning_and_every_result_its_fields():
    for method in registry.load().values():
        assert all(parameter.about for parameter in method.parameters), method.name
        refers = "`" in method.details and schema.fields(method.details) == []
        assert schema.fields(method.details) or refers, method.name


def test_the_openrpc_document_is_one():
    document = json.loads(openrpc.page())
    assert document["openrpc"] == "1.3.2"
    assert {"openrpc", "info", "servers", "methods", "components"} == set(document)
    names = [method["name"] for method in document["methods"]]
    assert names == sorted(registry.load())
    for method in document["methods"]:
        assert set(method) <= _OF_METHODS
        assert method["paramStructure"] == "by-name"
        for one in [*method["params"], method["result"]]:
            assert set(one) == {"$ref"} or ({"name", "schema"} <= set(one) <= _OF_DESCRIPTORS)
        mine = [one for one in method["params"] if "name" in one]
        assert len({one["name"] for one in mine}) == len(mine)
        refs = [one["$ref"].rpartition("/")[2] for one in method["params"] if "$ref" in one]
        assert set(refs) <= set(document["components"]["contentDescriptors"])
    for error in document["components"]["errors"].values():
        assert (type(error["code"]), type(error["message"])) == (int, str)


@pytest.mark.parametrize(
    ("kind", "told", "written"),
    [
        (str, "text", {"type": "string"}),
        (bool, "bool", {"type": "boolean"}),
        (float | None, "number", {"type": "number"}),
        (list[int] | str | None, "list of whole number or text", {"oneOf": [_NUMBERS, {"type": "string"}]}),
        (dict[str, str], "object", {"type": "object"}),
        (
            list[Pair],
            "list of {type, value}",
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "value": {"type": "string"}},
                    "required": ["type"],
                },
            },
        ),
    ],
)  # fmt: skip
def test_types_in_words_and_as_schema(kind, told, written):
    assert schema.in_words(kind) == told
    assert schema.of(kind) == written


@pytest.mark.parametrize(
    ("details", "fields"),
    [
        ("Gives `{a, b?}`, each `{c}`.", ["a", "b?"]),
        ("Gives `{a: [{x, y}], b: {c?}, d}`.", ["a", "b", "d"]),
        ("Gives `{message}` with `{more}`", ["message"]),
        ("Gives nothing.", []),
    ],
)
def test_the_fields_of_a_result_are_read_from_its_docstring(details, fields):
    assert schema.fields(details) == fields


def test_notifications_have_the_parameters_that_are_told(engine, repository):
    ann, bob = (kit.hire(engine, repository, name) for name in ("ann", "bob"))
    bob("subscribe", all=True)
    cursor, session = engine.cursor(), bob("agent.whoami")["session_id"]
    sent = ann("message.send", content="hi", to=["bob"])
    answer = bob("message.reply", message_id=sent["message_id"], content="yes")
    ann("message.reply", message_id=answer["message_id"], content="and more")
    ann("message.edit", message_id=sent["message_id"], content="hello")
    told = engine.notices("bob", session, cursor).items
    declared_ones = {name: parameters for name, _, parameters in words.NOTIFICATIONS}
    assert {item["method"] for item in told} == set(declared_ones)
    for item in told:
        names = {name for name, _, _ in declared_ones[item["method"]]}
        optional = {name for name, kind, _ in declared_ones[item["method"]] if "optional" in kind}
        assert names - optional <= set(item["params"]) <= names


@pytest.mark.skipif(not shutil.which("man"), reason="no man")
def test_man_reads_the_page_without_a_word_of_complaint():
    env = {**os.environ, "MANWIDTH": "100"}
    page = str(generate.ROOT / "man/man1/git-thrum.1")
    done = subprocess.run(
        ["man", "--warnings", "-l", page], capture_output=True, text=True, env=env, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "git thrum send [OPTIONS] [TEXT]" in done.stdout
