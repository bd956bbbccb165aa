"""The read model is a cache: whatever happens to its files, and whenever, the next answer is the one from before."""

import contextlib
import itertools
import os
import shutil
import sqlite3
import time

import pytest

from tests import kit
from tests.faults import story
from tests.faults.story import Cast, look, settled, tell
from tests.test_doors import Socket
from thrum.engine import database_path
from thrum.errors import StorageError
from thrum.store import schema


@pytest.fixture
def told(repository, ledger):
    """A story told once, and how it looks: `(cast, database, answers)`."""
    (repository / "readme").write_text("changed\n")
    cast = Cast(kit.set_up(repository), repository)
    sent = tell(cast)
    ledger.acknowledge(*sent)
    before = look(cast)
    yield cast, database_path(cast.engine.place), before
    cast.engine.close()


def seen(answers):
    """The ids of every message in somebody's `message.list` of everything."""
    return {
        message["message_id"] for _, method, told in answers if method == "message.list" for message in told["messages"]
    }


class Round:
    """One fault after the other on one story: after each of them the answers are those from before."""

    def __init__(self, ledger, rng, path, before):
        self.ledger, self.rng, self.path, self.before = ledger, rng, path, before

    def suffer(self, fault):
        """Lets it happen."""
        fault(self.path, self.rng)
        self.ledger.fault()

    def expect(self, cast, fault):
        """Looks, and says in the books what was there."""
        began = time.monotonic()
        try:
            after = look(cast)
        except Exception as error:
            raise AssertionError(f"{fault.__name__}: {error!r}") from error
        self.ledger.recovered(time.monotonic() - began)
        lost = seen(self.before) - seen(after)
        assert not lost and after == self.before, (fault.__name__, lost)


@pytest.fixture
def round(told, ledger, rng):
    _, path, before = told
    yield Round(ledger, rng, path, before)
    ledger.find(*seen(before))
    ledger.balance()


# What happens to the files


def gone(path, rng):
    lock_gone(path, rng)
    for name in (path, path + "-wal", path + "-shm"):
        if os.path.isdir(name):
            shutil.rmtree(name)
        elif os.path.lexists(name):
            os.unlink(name)


def only_the_database_gone(path, rng):
    os.unlink(path)


def lock_gone(path, rng):
    if os.path.isdir(path + ".lock"):
        os.rmdir(path + ".lock")
    elif os.path.lexists(path + ".lock"):
        os.unlink(path + ".lock")


def lock_a_folder(path, rng):
    lock_gone(path, rng)
    os.mkdir(path + ".lock")


def lock_a_link(path, rng):
    lock_gone(path, rng)
    os.symlink("/nowhere/at/all", path + ".lock")


def log_gone(path, rng):
    for name in (path + "-wal", path + "-shm"):
        if os.path.exists(name):
            os.unlink(name)


def log_noise(path, rng):
    overwrite(path + "-wal", rng.randbytes(20_000))


def overwrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def cut(share):
    def cut(path, rng):
        os.truncate(path, share if share > 1 else int(os.path.getsize(path) * share))

    cut.__name__ = f"cut_to_{share}"
    return cut


def noise(path, rng):
    overwrite(path, rng.randbytes(os.path.getsize(path)))


def a_text(path, rng):
    overwrite(path, b"a shopping list\n")


def zeros(path, rng):
    overwrite(path, bytes(os.path.getsize(path)))


def pages(make):
    def pages(path, rng):
        size = os.path.getsize(path)
        with open(path, "r+b") as file:
            for number in rng.sample(range(size // 8192), min(6, size // 8192)):
                file.seek(number * 8192)
                file.write(make(rng))

    return pages


pages_zeroed, pages_noise = pages(lambda rng: bytes(8192)), pages(lambda rng: rng.randbytes(8192))
pages_zeroed.__name__, pages_noise.__name__ = "pages_zeroed", "pages_noise"


def swapped_in(*statements):
    """Another database in its place, by rename as careful programs do."""

    def swap(path, rng):
        other = sqlite3.connect(path + ".other")
        for statement in statements:
            other.execute(statement)
        other.commit()
        other.close()
        log_gone(path, rng)
        os.replace(path + ".other", path)

    return swap


another_programs = swapped_in("CREATE TABLE bookmark (url TEXT)", "INSERT INTO bookmark VALUES ('x')")
looks_like_ours = swapped_in(
    "CREATE TABLE state (key TEXT, value)", f"INSERT INTO state VALUES ('version', {schema.VERSION})"
)
older = swapped_in(
    "CREATE TABLE state (key TEXT, value)", f"INSERT INTO state VALUES ('version', {schema.VERSION - 1})"
)
newer = swapped_in("CREATE TABLE state (key TEXT, value)", "INSERT INTO state VALUES ('version', 9999)")
marked_newer = swapped_in("PRAGMA user_version = 9999", "CREATE TABLE x (y)")
with_traps = swapped_in(
    "CREATE TABLE state (key TEXT, value)", f"INSERT INTO state VALUES ('version', {schema.VERSION})",
    "CREATE TABLE folder (path TEXT, mtime, ends)", "CREATE TABLE segment (path TEXT, inode, position, mtime, proof)",
    "CREATE TABLE other (x)", "CREATE VIEW message AS SELECT * FROM other",
    "CREATE TRIGGER trap AFTER INSERT ON segment BEGIN DELETE FROM folder; END",
)  # fmt: skip
for name, swap in dict(globals()).items():
    if getattr(swap, "__name__", "") == "swap":
        swap.__name__ = name


def a_folder(path, rng):
    gone(path, rng)
    os.makedirs(path + "/inside")


def a_link(path, rng):
    gone(path, rng)
    overwrite(path + ".target", b"precious")
    os.symlink(path + ".target", path)


def a_pipe(path, rng):
    gone(path, rng)
    os.mkfifo(path)


def the_folder_gone(path, rng):
    shutil.rmtree(os.path.dirname(path))


FAULTS = [
    gone, only_the_database_gone, lock_gone, lock_a_folder, lock_a_link, log_gone, log_noise, cut(0), cut(0.5), cut(0.97),
    cut(4096), cut(100), noise, a_text, zeros, pages_zeroed, pages_noise, another_programs, looks_like_ours, older, newer,
    marked_newer, with_traps, a_folder, a_link, a_pipe, the_folder_gone,
]  # fmt: skip


def test_a_cold_start_finds_everything(told, round):
    cast, path, _ = told
    for fault in FAULTS:
        cast.engine.close()
        round.suffer(fault)
        round.expect(cast, fault)
        if fault is a_link:
            with open(path + ".target", "rb") as file:
                assert file.read() == b"precious"


def test_an_engine_that_has_it_open_answers_as_before_and_so_does_the_next(told, round):
    cast, _, _ = told
    for fault in FAULTS:
        round.suffer(fault)
        round.expect(cast, fault)
        another = Cast(kit.open_engine(cast.repository), cast.repository, hired=True)
        try:
            round.expect(another, fault)
        finally:
            another.engine.close()


@pytest.mark.parametrize(
    "fault", [gone, cut(0), cut(0.5), noise, zeros, log_gone, newer, a_folder], ids=lambda f: f.__name__
)
def test_it_happens_between_any_two_statements_of_one_call(told, round, fault, effort):
    """Before the nth statement that SQLite runs for a question, for every n until the question is through."""
    cast, _, _ = told
    questions = [("bob", "message.list", {"page_size": 100}), ("ann", "message.sent", {"page_size": 100})]
    wanted = [settled(cast(who, method, **params)) for who, method, params in questions]
    for (who, method, params), answer in zip(questions, wanted, strict=True):
        for number in itertools.count(1, effort(3, 1)):
            trap = Trap(cast.engine, number, lambda: round.suffer(fault))
            assert settled(cast(who, method, **params)) == answer, (fault.__name__, number)
            if not trap.release():
                break
    round.expect(cast, fault)


class Trap:
    """Something that happens before the nth statement on an engine's connection from now on."""

    def __init__(self, engine, number, happens):
        self.left, self.happens, self.connection = number, happens, engine.projection.connection
        self.connection.set_trace_callback(self._count)

    def _count(self, statement):
        self.left -= 1
        if self.left == 0:
            self.happens()

    def release(self):
        """Whether it has happened."""
        with contextlib.suppress(sqlite3.ProgrammingError):
            self.connection.set_trace_callback(None)
        return self.left <= 0


def test_what_is_said_while_the_database_goes_is_stored_once(told, round, ledger):
    """A send whose answer is lost with the database says so, and was stored; any other is answered."""
    cast, _, _ = told
    texts = []
    for fault in FAULTS:
        for number in (1, 4, 9, 14):
            text = f"{fault.__name__} before statement {number}"
            trap = Trap(cast.engine, number, lambda fault=fault: round.suffer(fault))
            try:
                cast("ann", "message.send", content=text)
            except StorageError as error:
                assert "what you said is stored" in error.hint, (text, error)
            trap.release()
            texts.append(text)
    found = [m["body"]["content"] for m in cast("ann", "message.sent", page_size=100)["messages"]]
    found += [m["body"]["content"] for m in cast("ann", "message.sent", page_size=100, page=2)["messages"]]
    assert sorted(text for text in found if "before statement" in text) == sorted(texts)


def test_a_running_daemon_answers_as_before(repository, told, round):
    cast, _, _ = told
    cast.engine.close()
    door = Socket(repository)
    try:
        for fault in FAULTS:
            round.suffer(fault)
            round.expect(door.call, fault)
    finally:
        door.close()


@pytest.mark.skipif(not story.MAY_BE_REFUSED, reason="root reads what it may not: needs setpriv to give that up")
def test_a_database_that_may_not_be_read_or_written_is_replaced(told, round):
    cast, path, before = told
    cast.engine.close()
    for mode in (0o000, 0o200, 0o400):
        os.chmod(path, mode)
        ended = story.refused(cast.repository, "inbox", "--all", "--peek", "--page-size", "100", "--name", "bob")
        assert ended.returncode == 0, (mode, ended.stdout)
        assert {message["message_id"] for message in ended.json["messages"]} == seen(before[:1]), mode
