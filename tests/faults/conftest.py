"""The fault suites' own fixtures: books to keep, seeds to replay, and how hard to try."""

import os
import random
import tempfile
import time

import pytest

from tests.faults import powercut
from tests.faults.crowd import Daemon
from tests.faults.ledger import PROPERTY, Ledger, table
from tests.sync.conftest import pair, team  # noqa: F401 (fixtures)
from thrum.store import disk

IS_SOAK = bool(os.environ.get("THRUM_SOAK"))
"""`make soak`: the long form."""
_SEED = os.environ.get("THRUM_SEED")
_FIXED = 20260210


@pytest.fixture
def ledger(request, record_property):
    """The test's books; whatever the test says in them is a row of the table at the end of the run."""
    books = Ledger(request.node.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", " "))
    yield books
    record_property(PROPERTY, books.as_json())


@pytest.fixture
def rng(record_property):
    """A source of chance whose seed is printed at the end of the run; `THRUM_SEED=n` replays it."""
    return _fresh(record_property)


def _fresh(record_property):
    seed = int(_SEED) if _SEED else random.SystemRandom().randrange(1 << 32)
    record_property("seed", str(seed))
    return random.Random(seed)


@pytest.fixture(params=["fixed", "fresh"])
def rngs(request, record_property):
    """For a test that runs twice: once with the same chances in every run, once with others, as `rng` gives them."""
    return random.Random(_FIXED) if request.param == "fixed" else _fresh(record_property)


@pytest.fixture
def effort():
    """`effort(short, long)`: how often in `make test`, and how often in `make soak`."""
    return lambda short, long: long if IS_SOAK else short


@pytest.fixture
def patience():
    """`patience(seconds)`: a clock that runs out; false in a while loop's condition."""

    def until(seconds):
        end = time.monotonic() + seconds
        return lambda: time.monotonic() < end

    return until


@pytest.fixture
def daemon(repository):
    """A daemon, which in the end is as it was in the beginning."""
    made = Daemon(repository)
    yield made
    try:
        made.check()
    finally:
        made.close()


@pytest.fixture
def outlet():
    """A folder for file systems, unmounted and removed whatever happens; one test at a time has one on this machine."""
    with disk.locked(f"{tempfile.gettempdir()}/thrum-power.lock"):
        path = tempfile.mkdtemp(prefix="thrum-power-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
        yield path
        powercut.clear(path)


def pytest_terminal_summary(terminalreporter):
    """Prints the table, and the seeds that were fresh."""
    every = [report for kind in terminalreporter.stats.values() for report in kind]
    reports = [report for report in every if getattr(report, "when", "") == "teardown"]
    kept = [
        (report.nodeid, name, value) for report in reports for name, value in getattr(report, "user_properties", ())
    ]
    rows = [value for _, name, value in kept if name == PROPERTY]
    if rows:
        terminalreporter.section("faults")
        for line in table(rows):
            terminalreporter.write_line(line)
        for node, name, value in kept:
            if name == "seed":
                terminalreporter.write_line(f"seed {value}  {node}")
