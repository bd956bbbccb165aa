"""General options stand anywhere on the line; a command's own stay its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thrum.cli.options import FLAGS, OWN, VALUED, Options, guess, hoist, read
from thrum.errors import UsageError

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8).filter(
    lambda word: not word.startswith("-")
)
GENERAL = st.one_of(
    st.sampled_from(FLAGS).map(lambda flag: [flag]),
    st.tuples(st.sampled_from(VALUED), WORDS).map(lambda pair: [f"{pair[0]}={pair[1]}"]),
    st.tuples(st.sampled_from(VALUED), WORDS).map(list),
)
LOCAL = st.one_of(WORDS.map(lambda word: [word]), st.sampled_from([["--to", "@x"], ["--thread=t"], ["-b"]]))


@pytest.mark.parametrize(
    ("argv", "hoisted"),
    [
        (["send", "hi", "--json"], ["--json", "send", "hi"]),
        (["--json", "send", "hi"], ["--json", "send", "hi"]),
        (["send", "--", "--json"], ["send", "--", "--json"]),
        (["send", "hi", "--repo", "../x y"], ["--repo=../x y", "send", "hi"]),
        (["send", "hi", "--name=bob", "--to", "@x"], ["--name=bob", "send", "hi", "--to", "@x"]),
        (["quickstart", "--role", "r", "--module=m", "--json"], ["--json", "quickstart", "--role=r", "--module=m"]),
        (["--role", "r", "quickstart", "--module", "m"], ["quickstart", "--role=r", "--module=m"]),
        (["--name", "x", "agent", "--quiet", "register"], ["--quiet", "agent", "register", "--name=x"]),
        (["agent", "list", "--role", "r", "--name", "me"], ["--name=me", "agent", "list", "--role=r"]),
        (["agent", "whoami", "--role", "r"], ["--role=r", "agent", "whoami"]),
        ([], []),
    ],
)
def test_general_options_move_to_the_front(argv, hoisted):
    assert hoist(argv) == hoisted


@given(st.lists(st.one_of(GENERAL, LOCAL), max_size=6), st.lists(WORDS, max_size=3))
def test_hoisting_loses_nothing_and_keeps_the_order_of_the_rest(pieces, tail):
    argv = ["send", *(word for piece in pieces for word in piece), "--", *tail]
    hoisted = hoist(argv)
    general = [piece for piece in pieces if piece[0].partition("=")[0] in (*FLAGS, *VALUED)]
    rest = [word for piece in pieces if piece not in general for word in piece]
    spelled = ["=".join(piece) for piece in general]
    assert hoisted == [*spelled, "send", *rest, "--", *tail]


@given(st.lists(st.one_of(GENERAL, LOCAL), max_size=6))
def test_hoisting_twice_is_hoisting_once(pieces):
    argv = ["send", *(word for piece in pieces for word in piece)]
    assert hoist(hoist(argv)) == hoist(argv)


@given(st.permutations([["--json"], ["--name=bob"], ["--repo", "x"], ["send"]]))
def test_where_an_option_stands_does_not_matter(pieces):
    hoisted = hoist([word for piece in pieces for word in piece])
    assert read(hoisted) == Options(json=True, name="bob", repo="x")


@given(st.sampled_from(sorted(OWN)), st.permutations(["--role=r", "--json"]))
def test_a_commands_own_words_stay_behind_it(command, options):
    hoisted = hoist([*options, *command])
    assert hoisted == ["--json", *command, "--role=r"]
    assert read(hoisted) == Options(json=True)


def test_a_missing_value_is_named():
    with pytest.raises(UsageError, match="--repo needs a value"):
        hoist(["send", "hi", "--repo"])


def test_the_last_value_wins():
    assert read(hoist(["--name=a", "inbox", "--name", "b"])).name == "b"


def test_a_line_that_makes_no_sense_is_still_refused_as_json():
    assert guess(["send", "--json", "--repo"]) == Options(json=True)
