import errno
import json
import os

import pytest

from thrum.core.identity import Identity
from thrum.errors import Contradiction, NoIdentity, StorageError, UsageError
from thrum.store import identities, records
from thrum.store.identities import Wanted

ANN, BOB = Identity("ann", "reviewer", "api"), Identity("bob", "implementer", "core", "Bob B")
AT = "2026-02-10T12:00:00.000000000Z"


@pytest.fixture
def folder(tmp_path):
    return f"{tmp_path}/shop/.thrum/identities"


def settle(folder, *who):
    for identity in who:
        identities.save(folder, identity, "shop", AT)


def choose(folder, environ=None, **flags):
    source = "flags" if flags else ""
    return identities.choose(folder, Wanted(**flags, source=source), environ or {})


def test_what_was_saved_is_read_again_and_only_its_owner_may_read_it(folder):
    settle(folder, BOB)
    assert identities.present(folder) == [BOB]
    assert os.stat(f"{folder}/bob.json").st_mode & 0o777 == 0o600


def test_the_file_is_v010s_to_the_letter(folder):
    settle(folder, BOB)
    with open(f"{folder}/bob.json") as file:
        text = file.read()
    assert text == json.dumps(
        {
            "version": 1,
            "repo_id": "",
            "agent": {"Kind": "agent", "Name": "bob", "Role": "implementer", "Module": "core", "Display": "Bob B"},
            "worktree": "shop",
            "confirmed_by": "",
            "updated_at": AT,
        },
        indent=2,
    )


@pytest.mark.parametrize(
    "document",
    [
        {"agent": {"name": "ann", "role": "reviewer", "module": "api"}},
        {"AGENT": {"NAME": "ann", "ROLE": "reviewer", "MODULE": "api", "DISPLAY": ""}},
        {
            "version": 2,
            "agent": {"Kind": "agent", "Name": "ann", "Role": "reviewer", "Module": "api", "Display": None},
            "more": [],
        },
    ],
)
def test_keys_count_in_any_case_and_more_is_no_fault(folder, document):
    os.makedirs(folder)
    with open(f"{folder}/ann.json", "w") as file:
        json.dump(document, file)
    assert identities.present(folder) == [ANN]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b'{"agent":[]}', b'{"agent":{"Name":"ann"}}',
        b'{"agent":{"Name":7,"Role":"r","Module":"m"}}',
        b'{"agent":{"Name":"../x","Role":"r","Module":"m"}}', b'{"agent":{"Name":"ann","Role":"R!","Module":"m"}}',
        b"[" * 100_000, b"\xff\xfe", b'{"agent":{"Name":"ann","Role":"r","Module":"m"},"x":"' + b"x" * 70_000 + b'"}',
        b'{"agent":{"Name":"ann\\ud800","Role":"r","Module":"m"}}',
    ],
    ids=lambda content: repr(content[:30]),
)  # fmt: skip
def test_a_file_that_is_no_identity_is_passed_over_and_named_as_broken(folder, content):
    settle(folder, BOB)
    with open(f"{folder}/ann.json", "wb") as file:
        file.write(content)
    assert identities.present(folder) == [BOB]
    assert identities.broken(folder) == ["ann.json"]


def test_odd_things_in_the_folder_are_passed_over(folder, tmp_path):
    settle(folder, BOB)
    os.mkdir(f"{folder}/dir.json")
    os.symlink(f"{folder}/bob.json", f"{folder}/ann.json")
    os.symlink(f"{tmp_path}/nothing", f"{folder}/zed.json")
    for name in (".hidden.json", "notes.txt"):
        with open(f"{folder}/{name}", "w") as file:
            file.write("{}")
    assert identities.present(folder) == [BOB]


@pytest.mark.parametrize("display", ["\ud800", "x" * 100_000, "\x1b[31m", 'quote " and \\'])
def test_whatever_the_display_the_identity_that_was_saved_can_be_read(folder, display):
    settle(folder, BOB._replace(display=display))
    assert [identity.agent_id for identity in identities.present(folder)] == ["bob"]


def test_no_folder_holds_nobody(folder, tmp_path):
    assert identities.present(folder) == [] == identities.broken(folder)
    (tmp_path / "shop").write_text("a file")
    assert identities.present(folder) == []


CHOICES = [
    # who is there, flags, environment → whom, by what
    ([ANN], {}, {}, ("ann", "identity_file")),
    ([ANN], {"name": "ann"}, {}, ("ann", "flags")),
    ([ANN], {}, {"THRUM_NAME": "ann"}, ("ann", "environment")),
    ([ANN], {}, {"THRUM_ROLE": "reviewer"}, ("ann", "environment")),
    ([ANN], {"role": "reviewer"}, {}, ("ann", "flags")),
    ([ANN], {}, {"THRUM_NAME": "", "THRUM_ROLE": ""}, ("ann", "identity_file")),
    ([ANN, BOB], {"name": "bob"}, {}, ("bob", "flags")),
    ([ANN, BOB], {"role": "reviewer"}, {}, ("ann", "flags")),
    ([ANN, BOB], {"module": "core"}, {}, ("bob", "flags")),
    ([ANN, BOB], {}, {"THRUM_NAME": "bob"}, ("bob", "environment")),
    ([ANN, BOB], {}, {"THRUM_ROLE": "implementer", "THRUM_MODULE": "core"}, ("bob", "environment")),
    ([ANN, BOB], {"name": "ann"}, {"THRUM_NAME": "bob"}, ("ann", "flags")),
    ([ANN, BOB], {"name": "ann"}, {"THRUM_ROLE": "implementer"}, ("ann", "flags")),
    ([ANN, BOB], {"name": "ann"}, {"THRUM_NAME": "bob", "THRUM_ROLE": "implementer"}, ("ann", "flags")),
    ([ANN, BOB], {"role": "reviewer"}, {"THRUM_ROLE": "implementer"}, ("ann", "flags")),
    ([], {}, {}, NoIdentity),
    ([], {"name": "ann"}, {}, NoIdentity),
    ([ANN, BOB], {}, {}, NoIdentity),
    ([ANN], {"name": "zed"}, {}, NoIdentity),
    ([ANN], {}, {"THRUM_NAME": "zed"}, NoIdentity),
    ([ANN, BOB], {"name": "zed"}, {}, NoIdentity),
    ([ANN], {"name": "ann", "role": "implementer"}, {}, Contradiction),
    ([ANN], {}, {"THRUM_NAME": "ann", "THRUM_MODULE": "core"}, Contradiction),
    ([ANN], {"role": "implementer"}, {}, Contradiction),
    ([ANN], {}, {"THRUM_ROLE": "implementer"}, Contradiction),
    ([ANN, BOB], {"name": "ann", "module": "core"}, {}, Contradiction),
    ([ANN], {"role": "implementer"}, {"THRUM_NAME": "ann"}, Contradiction),
    ([ANN], {}, {"THRUM_NAME": "Not A Name"}, UsageError),
    ([ANN], {}, {"THRUM_NAME": "../ann"}, UsageError),
    ([ANN, BOB, Identity("cat", "reviewer", "web")], {"role": "reviewer"}, {}, NoIdentity),
]


@pytest.mark.parametrize(("there", "flags", "environ", "expected"), CHOICES)
def test_who_speaks_is_decided_by_flags_then_environment_then_the_files(folder, there, flags, environ, expected):
    settle(folder, *there)
    if isinstance(expected, tuple):
        chosen = choose(folder, environ, **flags)
        assert (chosen.agent_id, chosen.source) == expected
    else:
        with pytest.raises(expected) as caught:
            choose(folder, environ, **flags)
        assert caught.value.hint


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ({"role": "implementer"}, {"THRUM_NAME": "ann"}, "THRUM_NAME=ann and --role implementer on one side"),
        ({}, {"THRUM_NAME": "ann", "THRUM_MODULE": "web"}, "THRUM_NAME=ann and THRUM_MODULE=web on one side"),
        ({"name": "ann", "module": "web"}, {}, "--name ann and --module web on one side"),
    ],
)
def test_a_contradiction_names_both_sides(folder, flags, environ, said):
    settle(folder, ANN, BOB)
    with pytest.raises(Contradiction) as caught:
        choose(folder, environ, **flags)
    assert said in str(caught.value)
    assert str(caught.value).endswith("on the other: ann (role reviewer, module api)")


def test_the_environment_may_choose_the_name_for_people(folder):
    settle(folder, BOB)
    assert choose(folder, {"THRUM_DISPLAY": "Bobby"}).display == "Bobby"
    assert choose(folder, {"THRUM_DISPLAY": ""}).display == "Bob B"


def test_of_several_and_no_choice_all_are_named(folder):
    settle(folder, ANN, BOB)
    with pytest.raises(NoIdentity, match=r"ann.*bob"):
        choose(folder)


def test_a_bare_repository_has_no_agents():
    with pytest.raises(NoIdentity):
        choose(None)


def test_an_identity_is_taken_away_and_others_stay(folder):
    settle(folder, ANN, BOB)
    identities.remove(folder, "ann")
    identities.remove(folder, "ann")
    assert identities.present(folder) == [BOB]
    identities.remove(folder + "/none", "ann")


def test_nobody_speaks_as_whoever_is_left_when_the_disk_does_not_give_a_file(folder, monkeypatch):
    settle(folder, ANN, BOB)

    def read(path):
        if path.endswith("bob.json"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    real = records.disk.read
    monkeypatch.setattr(records.disk, "read", read)
    assert choose(folder, name="ann").agent_id == "ann"
    for flags in ({}, {"name": "bob"}, {"role": "reviewer"}):
        with pytest.raises(StorageError, match=r"bob\.json: Input/output error"):
            choose(folder, **flags)


def test_what_a_killed_writer_left_goes_with_the_next_identity_whosever_it_was(folder):
    settle(folder, ANN)
    left = f"{folder}/.eve.json.0123456789ab"
    with open(left, "wb") as file:
        file.write(b"{")
    os.utime(left, (1_600_000_000, 1_600_000_000))
    settle(folder, BOB)
    assert sorted(os.listdir(folder)) == ["ann.json", "bob.json"]


def test_a_file_that_was_long_left_alone_is_read_once_and_anew_when_it_changes(tmp_path, monkeypatch):
    reads, insist = [], identities.records.insist
    monkeypatch.setattr(identities.records, "insist", lambda *asked: reads.append(1) or insist(*asked))
    folder, path = str(tmp_path), tmp_path / "ann.json"

    def who():
        return identities.choose(folder, identities.Wanted(), {}).role

    identities.save(folder, Identity("ann", "tester", "shop", ""), "main", "")
    assert (who(), who(), len(reads)) == ("tester", "tester", 2)  # written a moment ago, it may be written again
    os.utime(path, (1000, 1000))
    reads.clear()
    assert (who(), who(), len(reads)) == ("tester", "tester", 1)
    identities.save(folder, Identity("ann", "planer", "shop", ""), "main", "")
    os.utime(path, (1000, 1000))
    assert who() == "planer"
    path.unlink()
    with pytest.raises(NoIdentity):
        who()
