"""The seeded defects can be seeded: each one's text stands once in the program, and its tests are there."""

import os

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.seeded import MUTANTS, apply


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_defect_finds_its_place_and_its_tests(mutant, tmp_path):
    assert all(os.path.exists(f"{ROOT}/{test.partition('::')[0]}") for test in mutant.tests)
    with open(f"{ROOT}/{mutant.file}", encoding="utf-8") as file:
        before = file.read()
    copy = tmp_path / mutant.file
    copy.parent.mkdir(parents=True)
    copy.write_text(before)
    apply(mutant, str(tmp_path))
    assert copy.read_text() != before
    if mutant.file.endswith(".py"):
        compile(copy.read_text(), mutant.file, "exec")


def test_there_are_enough_of_them():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
