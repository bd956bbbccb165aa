"""Lists and their totals against the plainest way to make them: look at every message."""

import itertools
import random
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import kit
from tests.store import scenes
from tests.store.test_projection import Arrival
from thrum.core import events, routing
from thrum.core.selection import Filter
from thrum.store import fold_tally, unread
from thrum.store.listing import Listing

PEOPLE = (*scenes.AGENTS, "user:leon", "nobody", "")
ASKED = [
    Filter(),
    Filter(with_own=True),
    Filter(everything=True),
    Filter(unread=True),
    Filter(unread=True, priority="high"),
    Filter(unread=True, author="ann"),
    Filter(unread=True, scope=("module", "core")),
    Filter(scope=("module", "core")),
    Filter(scope=("module", "core"), with_own=True),
    Filter(scope=("module", "core"), everything=True),
    Filter(scope=("mention", "ann"), author="bob"),
    Filter(mention=("ann",)),
    Filter(mention=("ann", "reviewer"), with_own=True),
    Filter(mention=("bob", "implementer"), everything=True),
    Filter(mention=("bob", "implementer", "ann")),
    Filter(mention=("ann", "core"), author="cat"),
    Filter(mention=("ann",), scope=("module", "core"), everything=True),
    Filter(ref=("mention", "ann"), everything=True),
    Filter(author="ann"),
    Filter(author="bob", with_own=True),
    Filter(author="ann", everything=True),
    Filter(author="ann", thread_id="thr_1", with_own=True),
    Filter(thread_id="thr_1", priority="high", everything=True),
]
COUNTED = [
    wanted
    for wanted in ASKED
    if wanted.ref
    or wanted.thread_id
    or (wanted.unread and wanted != Filter(unread=True))
    or len(wanted.mention) > 2
    or (wanted.mention and wanted.scope)
]
"""Lists that somebody has to count."""


@pytest.fixture(autouse=True, scope="module")
def small():
    """Few are many: what is kept for long runs and for wide messages happens in short logs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unread, "_LONG", 2)
        patch.setattr(unread, "_FEW", 4)
        patch.setattr(fold_tally, "_MOST", 2)
        fold_tally.topics.cache_clear()
        yield
    fold_tally.topics.cache_clear()


class Plain:
    """Everything the read model holds, looked at row by row."""

    def __init__(self, sql):
        self.messages = []
        filed, marked = {}, {}
        for address, message_id in sql.execute("SELECT address, message_id FROM audience"):
            filed.setdefault(message_id, set()).add(address)
        for message_id, agent_id in sql.execute("SELECT message_id, agent_id FROM read_mark"):
            marked.setdefault(message_id, set()).add(agent_id)
        self.roles = dict(sql.execute("SELECT agent_id, role FROM agent"))
        query = "SELECT at, message_id, agent_id, thread_id, priority, line, deleted_at FROM message ORDER BY at, message_id"
        for at, message_id, author, thread_id, priority, line, deleted_at in sql.execute(query):
            if deleted_at is None:
                said, who = events.parse(line), filed.get(message_id, set())
                row = (at, message_id, author, thread_id, priority, said, who, marked.get(message_id, set()))
                self.messages.append(row)

    def ids(self, me, wanted):
        return [row[1] for row in self.messages if self._is_wanted(me, wanted, *row)]

    def _is_wanted(self, me, wanted, at, message_id, author, thread_id, priority, said, filed, read_by):
        scopes = {(pair["type"], pair["value"]) for pair in said.get("scopes") or ()}
        refs = {(pair["type"], pair["value"]) for pair in said.get("refs") or ()}
        named = {value.removeprefix("@") for kind, value in refs if kind == "mention"}
        visible = routing.is_visible(author, filed, me, self.roles.get(me, ""))
        return (
            (
                (visible and me not in read_by)
                if wanted.unread
                else (wanted.everything or visible or (wanted.with_own and author == me))
            )
            and (wanted.scope is None or wanted.scope in scopes)
            and (wanted.ref is None or wanted.ref in refs)
            and (not wanted.mention or not named.isdisjoint(wanted.mention))
            and wanted.author in (None, author)
            and wanted.thread_id in (None, thread_id)
            and wanted.priority in (None, priority)
        )


def assert_lists_are_plain(branch, people=PEOPLE, asked=ASKED):
    sql = branch.projection.connection
    plain = Plain(sql)
    for me, wanted in itertools.product(people, asked):
        ids, listing = plain.ids(me, wanted), Listing(sql, me, wanted)
        assert listing.ids(99, 0, ascending=True) == ids, (me, wanted)
        assert listing.ids(99, 0) == ids[::-1], (me, wanted)
        assert listing.ids(2, 1) == ids[::-1][1:3], (me, wanted)
        assert listing.total() == len(ids), (me, wanted)
        assert branch.mail.page(me, wanted, 3, 2).total == len(ids)
    for me, lo, hi in sql.execute("SELECT agent_id, lo, hi FROM skip").fetchall():
        unseen = {message_id: at for at, message_id, *_ in plain.messages}
        assert not [i for i in plain.ids(me, Filter(unread=True)) if lo <= unseen[i] <= hi], (me, lo, hi)


@settings(print_blob=True, max_examples=40)
@given(scenes.logs(largest=30), st.integers(0, 2**32))
def test_every_list_and_every_total_is_what_looking_at_everything_gives(logs, seed):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        branch.catch_up()
        arrival = Arrival(branch, logs, random.Random(seed))
        while arrival.some():
            branch.catch_up()
            assert_lists_are_plain(branch, scenes.AGENTS[:2], random.Random(seed).sample(ASKED, 3))
        assert_lists_are_plain(branch)
        branch.projection.rebuild()
        assert_lists_are_plain(branch)
        branch.close()


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["to all", "to bob", "in a thread", "by v0.1.0", "read", "read some", "delete", "role", "again"]
        ),
        st.integers(0, 12),
    ),
    max_size=25,
)


@settings(print_blob=True, max_examples=40)
@given(STEPS)
def test_what_is_unread_stays_right_while_mail_of_any_time_comes_and_goes(steps):
    with tempfile.TemporaryDirectory() as folder:
        branch = kit.Branch(folder)
        branch.catch_up()
        said = [kit.message("ann", at=-1)]
        branch.say("ann", said[0])
        branch.catch_up()
        for version, (what, number) in enumerate(steps):
            take(branch, said, what, number, version)
            branch.catch_up()
            assert branch.mail.unread_count("bob") == len(branch.mail.unread_ids("bob"))
            assert_lists_are_plain(branch, ["bob"], [Filter(), Filter(unread=True), Filter(mention=("bob",))])
        assert branch.tables() == branch.rebuilt()
        assert_lists_are_plain(branch)
        branch.close()


def take(branch, said, what, number, version):
    """Does one thing; `number` says when or to which message."""
    chosen = said[number % len(said)]["message_id"]
    sends = {
        "to all": {},
        "to bob": {"to": ["bob"], "refs": [{"type": "mention", "value": "bob"}]},
        "in a thread": {"to": [], "thread_id": "thr_1"},
        "by v0.1.0": {"refs": [{"type": "mention", "value": ("reviewer", "@bob")[number % 2]}]},
    }
    if what in sends:
        said.append(kit.message("ann", at=number, **sends[what]))
        branch.say("ann", said[-1])
    elif what in ("read", "read some"):
        ids = [m["message_id"] for m in said[number:]] if what == "read" else [chosen, f"msg_{number:026d}"]
        branch.say("bob", kit.event("message.read", agent_id="bob", message_ids=ids))
    elif what == "delete":
        branch.say("ann", kit.event("message.delete", message_id=chosen))
    elif what == "role":
        branch.say("bob", kit.register("bob", ("reviewer", "implementer")[number % 2], version=version + 1))
    else:
        branch.say("bob", kit.message("bob", at=number, thread_id="thr_1", to=[]))


@pytest.mark.parametrize("wanted", ASKED, ids=str)
@pytest.mark.parametrize("ascending", [False, True])
def test_a_page_is_read_off_the_end_of_an_index(branch, wanted, ascending):
    sql = branch.projection.connection
    listing = Listing(sql, "ann", wanted)
    plan = plan_of(sql, listing.query(ascending=ascending), listing.arguments(size=10, skip=0))
    for step in plan:
        assert is_cheap(step) or step == "SCAN m USING INDEX message_at", plan


@pytest.mark.parametrize("wanted", [w for w in ASKED if w not in COUNTED], ids=str)
def test_the_totals_of_the_usual_lists_are_remembered(branch, wanted):
    sql, asked = branch.projection.connection, []
    sql.set_trace_callback(asked.append)
    Listing(sql, "ann", wanted).total()
    sql.set_trace_callback(None)
    for query in asked:
        is_small = "'@ann'" in query or "'loose'" in query  # what v0.1.0 addressed to a word; what has too many topics
        plan = [step for step in plan_of(sql, query, {}) if not (is_small and "count(DISTINCT)" in step)]
        assert all(map(is_cheap, plan)), (query, plan)
        assert is_small or not any(" message_" in step or step.startswith("SEARCH c") for step in plan), (query, plan)


def plan_of(sql, query, arguments):
    return [row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {query}", arguments)]


def is_cheap(step):
    """Whether a step of a plan looks up what it needs: no table from end to end, nothing sorted or kept in between."""
    is_whole = step.startswith("SCAN") and step != "SCAN CONSTANT ROW" and "json_each" not in step
    return not (is_whole or "TEMP B-TREE" in step or "MATERIALIZE" in step)


def unread_of(branch, agent_id):
    branch.catch_up()
    newest_first = branch.mail.page(agent_id, Filter(unread=True), 50, 1)
    assert_lists_are_plain(branch, [agent_id], [Filter(), Filter(unread=True)])
    return [m["body"]["content"] for m in newest_first.messages], newest_first.total


@pytest.fixture
def read(branch):
    """A branch on which bob, a reviewer, has read all there is: a span of twelve messages in which nothing is unread."""
    said = [kit.message("ann", f"number {n}", at=10 * n) for n in range(12)]
    marks = kit.event("message.read", agent_id="bob", message_ids=[m["message_id"] for m in said])
    branch.say("bob", kit.register("bob", "reviewer"), marks)
    branch.say("ann", *said)
    assert unread_of(branch, "bob") == ([], 0)
    branch.say("bob", {**marks, "event_id": "evt_again", "message_ids": []})
    return branch


def spans_of(branch):
    return branch.projection.connection.execute("SELECT lo, hi FROM skip WHERE agent_id = 'bob'").fetchall()


@pytest.mark.parametrize("how", [{}, {"to": ["bob"]}, {"refs": [{"type": "mention", "value": "reviewer"}]}])
def test_late_mail_with_an_old_time_is_unread_in_the_middle_of_what_is_read(read, how):
    read.projection.rebuild()
    (whole,) = spans_of(read)
    late = kit.message("ann", "late", at=55, **how)
    read.say("ann", late)
    assert unread_of(read, "bob") == (["late"], 1) and len(spans_of(read)) == 2
    read.say("bob", kit.event("message.read", agent_id="bob", message_ids=[late["message_id"]]))
    assert unread_of(read, "bob") == ([], 0) and spans_of(read) == [whole]


def test_mail_of_a_new_role_is_unread_in_the_middle_of_what_is_read(read):
    read.say("ann", kit.message("ann", "for testers", at=55, refs=[{"type": "mention", "value": "tester"}]))
    read.catch_up()
    read.projection.rebuild()
    assert unread_of(read, "bob") == ([], 0) and len(spans_of(read)) == 1
    read.say("bob", kit.register("bob", "tester", 1, version=2))
    assert unread_of(read, "bob") == (["for testers"], 1)
    read.say("bob", kit.register("bob", "reviewer", 2, version=3))
    assert unread_of(read, "bob") == ([], 0)


def test_a_thread_that_is_joined_late_brings_unread_mail_of_old_times(read):
    said = kit.message("ann", "in a thread", at=55, to=["cat"], thread_id="thr_1")
    read.say("ann", said)
    read.catch_up()
    read.projection.rebuild()
    assert unread_of(read, "bob") == ([], 0) and len(spans_of(read)) == 1
    read.say("bob", kit.message("bob", "me too", at=130, to=["cat"], thread_id="thr_1"))
    assert unread_of(read, "bob") == (["in a thread"], 1)
    read.say("ann", kit.event("message.delete", message_id=said["message_id"]))
    assert unread_of(read, "bob") == ([], 0)


def test_totals_count_what_mentions_two_names_once_and_not_what_is_deleted(branch):
    both = [{"type": "mention", "value": "ann"}, {"type": "mention", "value": "@reviewer"}]
    said = [kit.message("cat", at=n, everyone=True, refs=both) for n in range(3)]
    branch.say("cat", *said)
    branch.catch_up()
    asked = [Filter(mention=("ann", "reviewer"), everything=True), Filter(mention=("ann",)), Filter(everything=True)]
    assert [branch.mail.page("bob", wanted, 9, 1).total for wanted in asked] == [3, 3, 3]
    branch.say("cat", kit.event("message.delete", message_id=said[1]["message_id"]))
    branch.catch_up()
    assert [branch.mail.page("bob", wanted, 9, 1).total for wanted in asked] == [2, 2, 2]


def test_a_message_with_many_topics_is_found_and_counted_under_each(branch):
    scopes = [{"type": "module", "value": f"part {n}"} for n in range(9)]
    branch.say("cat", kit.message("cat", scopes=scopes), kit.message("cat", scopes=scopes[:1]))
    branch.catch_up()
    rows = branch.projection.connection.execute("SELECT COUNT(*) FROM tally").fetchone()[0]
    totals = [branch.mail.page("bob", Filter(scope=("module", f"part {n}")), 9, 1).total for n in range(10)]
    assert totals == [2, *[1] * 8, 0] and rows == 4
