import os

import pytest

from tests import kit
from thrum.core import codec
from thrum.errors import BadParams, StorageError
from thrum.store import journal as module
from thrum.store.journal import Journal, Statement


@pytest.fixture
def journal(tmp_path):
    return Journal(f"{tmp_path}/sync/a-sync", kit.HERE)


def test_everybodys_words_go_into_a_log_of_their_own(journal):
    journal.append("ann", kit.message("ann"))
    journal.append("user:leon", kit.message("user:leon"))
    journal.append("ann", kit.message("ann"), kit.message("ann"))
    found = kit.files(journal.root)
    assert {path: data.count(b"\n") for path, data in found.items()} == {
        f"messages/ann/{kit.HERE}/0000/00.jsonl": 3,
        f"messages/user_leon/{kit.HERE}/0000/00.jsonl": 1,
    }


def test_what_enters_the_journal_is_what_the_read_model_finds(tmp_path):
    branch = kit.Branch(tmp_path / "b")
    journal = Journal(branch.root, kit.HERE)
    said = kit.message("ann")
    journal.append("ann", said)
    branch.catch_up()
    assert branch.mail.get(said["message_id"])["body"] == said["body"]
    branch.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "message.create", "timestamp": "2026-02-10T12:00:00Z"},
        {"type": "message.delete", "message_id": "msg_1"},
        {"type": "agent.update", "timestamp": "x", "event_id": "e", "agent_id": "ann", "work_contexts": [7]},
        {},
    ],
)
def test_what_is_no_event_does_not_enter_and_takes_its_whole_batch_along(journal, wrong):
    with pytest.raises(BadParams):
        journal.append("ann", kit.message("ann"), wrong)
    assert kit.files(journal.root) == {}


@pytest.mark.parametrize(
    "nobody", ["", "..", "../../evil", "a/b", "a b", "Rev iew_cy8mqg7p7x", "a\nb", "é", "x" * 300, ".hidden"]
)
def test_a_name_that_no_log_can_have_is_refused_and_writes_nowhere(journal, tmp_path, nobody):
    os.makedirs(journal.root)
    before = kit.files(tmp_path)
    with pytest.raises((BadParams, StorageError)):
        journal.append(nobody, kit.message(nobody or "ann"))
    assert kit.files(tmp_path) == before


def test_an_event_without_an_id_gets_one_before_it_is_written(journal):
    said = kit.message("ann")
    del said["event_id"]
    journal.append("ann", said)
    (data,) = kit.files(journal.root).values()
    assert codec.decode(data.strip())["event_id"].startswith("evt_")


def open_logs(journal):
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return sorted({os.readlink(link).split("/")[-4] for link in links if is_a_log(link, journal)})


def is_a_log(link, journal):
    return os.path.exists(link) and os.readlink(link).startswith(f"{journal.root}/messages/")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not show what is open")
def test_files_stay_open_where_that_is_wanted_but_few_and_none_for_long(journal, monkeypatch):
    journal.append("ann", kit.message("ann"))
    assert open_logs(journal) == []
    journal.keeps_open = True
    monkeypatch.setattr(module, "MOST_OPEN", 2)
    for name in ("ann", "bob", "eve", "ann"):
        journal.append(name, kit.message(name))
    assert open_logs(journal) == ["ann", "eve"]
    journal.rest()
    journal.append("ann", kit.message("ann"))
    assert open_logs(journal) == ["ann", "eve"]
    journal.rest()
    assert open_logs(journal) == ["ann"]
    journal.rest()
    assert open_logs(journal) == []
    journal.append("bob", kit.message("bob"))
    journal.close()
    assert open_logs(journal) == []


def test_a_file_that_stays_open_is_not_written_to_when_another_one_is_in_its_place(journal):
    journal.keeps_open = True
    journal.append("ann", kit.message("ann"))
    path = f"{journal.root}/messages/ann/{kit.HERE}/0000/00.jsonl"
    with open(path, "rb") as file:
        before = file.read()
    os.rename(path, path + ".aside")
    with open(path, "wb") as file:
        file.write(before)
    journal.append("ann", kit.message("ann"))
    with open(path, "rb") as file:
        assert file.read().startswith(before) and os.path.getsize(path + ".aside") == len(before)
    assert os.path.getsize(path) > len(before)
    journal.close()


def test_what_one_append_is_refused_for_is_no_matter_of_the_others(journal):
    wrong = {"type": "message.create", "timestamp": "2026-02-10T12:00:00Z"}
    said = [Statement("ann", [kit.message("ann")]), Statement("ann", [wrong]), Statement("bob", [kit.message("bob")])]
    paths, outcomes = journal.append_all([*said, Statement("../evil", [kit.message("ann")])])
    assert paths == [f"messages/{name}/{kit.HERE}/0000/00.jsonl" for name in ("ann", "bob")]
    assert [type(outcome) for outcome in outcomes] == [type(None), BadParams, type(None), BadParams]
    assert {path: data.count(b"\n") for path, data in kit.files(journal.root).items()} == dict.fromkeys(paths, 1)
