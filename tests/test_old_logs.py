"""Logs of past versions, as those programs wrote them, are read by this one: `fixtures/logs/<version>`."""

import os
import random
import shutil
import tempfile

import pytest

from tests import kit
from thrum.core import union
from thrum.core.selection import Filter

FOLDER = os.path.join(kit.FIXTURES, "logs")


@pytest.fixture(params=sorted(os.listdir(FOLDER)))
def old(request, tmp_path):
    """The branch that a past version left behind, folded; `expected` is what must be readable of it."""
    branch = kit.Branch(tmp_path / "branch")
    shutil.copytree(f"{FOLDER}/{request.param}", branch.root, dirs_exist_ok=True)
    branch.expected = kit.fixture(f"logs/{request.param}/expected.json")
    os.unlink(f"{branch.root}/expected.json")
    branch.catch_up()
    yield branch
    branch.close()


def test_every_message_is_there_with_its_author_and_its_last_text(old):
    page = old.mail.page("", Filter(everything=True), 1000, 1, ascending=True)
    live = [message["message_id"] for message in old.expected["messages"] if not message.get("deleted")]
    assert [message["message_id"] for message in page.messages] == live
    for wanted in old.expected["messages"]:
        found = old.mail.get(wanted["message_id"])
        flat = {**found, "content": found["body"]["content"], "length": len(found["body"]["content"])}
        flat["reason"] = found["metadata"].get("delete_reason")
        assert {name: flat.get(name) for name in wanted} == wanted


def test_every_agent_that_was_not_deleted_is_there(old):
    found = {agent["agent_id"]: agent for agent in old.roster.agents()}
    assert set(found) == set(old.expected["agents"])
    for agent_id, wanted in old.expected["agents"].items():
        assert {name: found[agent_id][name] for name in wanted} == wanted


def test_every_session_has_its_agent_and_its_end(old):
    found = {session["session_id"]: session for session in old.roster.sessions()}
    assert set(found) == set(old.expected["sessions"])
    for session_id, wanted in old.expected["sessions"].items():
        assert {name: found[session_id][name] for name in wanted} == wanted


def test_every_thread_has_its_title_and_who_took_part(old):
    for thread_id, wanted in old.expected["threads"].items():
        found = {**old.mail.thread(thread_id), "participants": old.mail.participants(thread_id)}
        assert {name: found[name] for name in wanted} == wanted


def test_every_context_is_the_newest_of_its_session(old):
    found = {
        f"{c['agent_id']} {c['session_id']}": {**c, "files": len(c.get("changed_files") or ())}
        for c in old.roster.contexts()
    }
    assert set(found) == set(old.expected["contexts"])
    for key, wanted in old.expected["contexts"].items():
        assert {name: found[key].get(name) for name in wanted} == wanted


def test_mentions_of_roles_and_names_reach_whom_they_meant(old):
    for agent_id, wanted in old.expected["inboxes"].items():
        page = old.mail.page(agent_id, Filter(), 1000, 1)
        assert [message["message_id"] for message in page.messages] == wanted
        assert page.total == len(wanted) == old.mail.unread_count(agent_id)


def test_what_is_no_event_is_set_aside_and_nothing_else(old):
    found = {}
    for line in old.mail.bad_lines():
        found[line["path"]] = found.get(line["path"], 0) + 1
    assert found == old.expected["bad_lines"]


def test_a_union_keeps_every_byte_of_every_line(old):
    for data in kit.files(old.root).values():
        both = union.unite(data, b"")
        assert sorted(set(union.split(both))) == sorted(set(union.split(data)))
        assert union.unite(both, data) == both


@pytest.mark.parametrize("seed", range(3))
def test_the_same_is_read_whatever_order_the_lines_arrive_in(old, seed):
    rng, wanted = random.Random(seed), old.tables(without=("seq", "path", "ends"))
    wanted.pop("bad_line")
    with tempfile.TemporaryDirectory() as folder:
        other = kit.Branch(folder)
        other.catch_up()
        waiting = [
            (name, line) for name, data in sorted(kit.files(old.root).items()) for line in data.split(b"\n")[:-1]
        ]
        rng.shuffle(waiting)
        while waiting:
            for name, line in waiting[:7]:
                other.append(name, line)
            waiting = waiting[7:]
            other.catch_up()
        found = other.tables(without=("seq", "path", "ends"))
        found.pop("bad_line")
        assert found == wanted
        other.close()


def test_new_agents_work_on_top_of_old_logs(old, repository):
    engine = kit.set_up(repository)
    shutil.copytree(old.root, engine.place.log_root, dirs_exist_ok=True)
    caller = kit.hire(engine, repository, "ann", "reviewer", "api")
    assert caller("message.list", all=True)["total"] == sum(not m.get("deleted") for m in old.expected["messages"])
    before = {path: data for path, data in kit.files(engine.place.log_root).items() if "/ann/" not in path}
    first = old.expected["messages"][0]
    answer = caller("message.reply", message_id=first["message_id"], content="found you")
    assert answer["thread_id"] and caller("message.sent")["total"] == 1
    after = {path: data for path, data in kit.files(engine.place.log_root).items() if "/ann/" not in path}
    assert before == after
    engine.close()
