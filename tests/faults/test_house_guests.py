"""Other tools that hook into git, before us and after us: theirs run as they would without us, and so does ours."""

import os

import pytest

from tests.faults.guests import GUESTS, House
from thrum.git import hooks
from thrum.git.context import mark_time
from thrum.git.place import find

ALONE = [name for name in GUESTS if name != "own"]
TOGETHER = [("git-lfs", "pre-commit"), ("pre-commit", "lefthook"), ("git-lfs", "lefthook")]


@pytest.fixture(autouse=True)
def older_git(monkeypatch):
    """Config hooks live beside everybody; what is at stake here are the files."""
    if hooks.version() >= hooks.CONFIG_HOOKS:
        pytest.skip("this git has hooks in its configuration, and ours are there")


class Marks:
    """After every command, our mark is new."""

    def __init__(self, house):
        self.place = find(str(house.work))

    def __call__(self, command):
        assert mark_time(self.place), f"{command} left no mark: {hooks.status(self.place)}"
        os.unlink(self.place.mark)


def invited(*names):
    guests = [GUESTS[name] for name in names]
    for guest in guests:
        if guest.missing:
            pytest.skip(guest.missing)
    return guests


def move_in(house, order):
    """Everybody in order; "thrum" is us, and whatever the doctor says from then on is done, to the letter."""
    for name in order:
        if name == "thrum":
            house.run("git thrum init --quiet")
        else:
            GUESTS[name].install(house)
        if "thrum" in order[: order.index(name) + 1]:
            do_what_the_doctor_says(house)


def do_what_the_doctor_says(house):
    for _ in range(3):
        fix = hooks.remedy(hooks.status(find(str(house.work))))
        if not fix:
            return
        assert fix in house.run("git thrum doctor --verbose", check=False)
        assert f"try: {fix}" in house.run("git thrum hooks status")
        house.run(fix)
    raise AssertionError(f"the remedy does not help: {fix}")


def move_out(house, order):
    for name in order:
        if name == "thrum":
            house.run("git thrum hooks uninstall")
        else:
            GUESTS[name].uninstall(house)


def keep_books(ledger, told, expected):
    """What their hooks did without us was promised; what they did with us is found."""
    for books, outcome in ((ledger.acknowledge, expected), (ledger.find, told)):
        for number, (command, _, lines, lfs) in enumerate(outcome):
            books(*(f"{number} {command}: {line}" for line in (*lines, *lfs)))
    ledger.balance()


def cohabit(tmp_path, ledger, order, out, shape="main"):
    names = [name for name in order if name != "thrum"]
    guests = invited(*names)
    control, house = House(tmp_path / "without", shape), House(tmp_path / "with", shape)
    for each in (control, house):
        each.prepare(*guests)
    move_in(control, names)
    move_in(house, order)
    ledger.fault()
    expected, told = control.live(), house.live(Marks(house))
    keep_books(ledger, told, expected)
    assert told == expected
    move_out(control, [name for name in out if name != "thrum"])
    move_out(house, out)
    assert house.furniture() == control.furniture()


@pytest.mark.parametrize("first", ["tool", "thrum"])
@pytest.mark.parametrize("name", GUESTS)
def test_a_tool_and_thrum_in_one_house(tmp_path, ledger, name, first):
    order = [name, "thrum"]
    again = [name] if name == "own" else []  # whoever looks for his own hooks by hand does not see them behind our stub
    cohabit(tmp_path, ledger, order if first == "tool" else order[::-1], [*order, *again])


@pytest.mark.parametrize("shape", ["linked", "submodule"])
@pytest.mark.parametrize("name", GUESTS)
def test_a_tool_and_thrum_in_a_worktree_or_a_submodule(tmp_path, ledger, name, shape):
    cohabit(tmp_path, ledger, [name, "thrum"], ["thrum", name], shape)


@pytest.mark.parametrize("pair", TOGETHER, ids="+".join)
@pytest.mark.parametrize("place", range(3))
def test_several_tools_and_thrum_in_any_order(tmp_path, ledger, pair, place):
    order = [*pair]
    order.insert(place, "thrum")
    out = [order, order[::-1], [pair[1], "thrum", pair[0]]][place]
    cohabit(tmp_path, ledger, order, out)
