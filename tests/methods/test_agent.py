import json
import os

import pytest

from tests import kit
from thrum.caller import Claim
from thrum.core import ids
from thrum.errors import BadParams, Contradiction, NameTaken, NoIdentity, NotFound, ThrumError, UsageError


def identity_files(folder):
    path = folder / ".thrum" / "identities"
    return sorted(os.listdir(path)) if path.exists() else []


def named(answer):
    return [agent["agent_id"] for agent in answer["agents"]]


def test_registering_makes_an_agent_and_an_identity(engine, repository):
    caller = kit.Caller(engine, repository)
    answer = caller("agent.register", role="reviewer", module="api", name="ann", display="Ann A")
    assert answer == {
        "agent_id": "ann",
        "status": "registered",
        "role": "reviewer",
        "module": "api",
        "display": "Ann A",
    }
    assert identity_files(repository) == ["ann.json"]
    me = caller("agent.whoami")
    assert (me["agent_id"], me["role"], me["module"], me["display"], me["source"]) == (
        "ann",
        "reviewer",
        "api",
        "Ann A",
        "identity_file",
    )
    assert me["registered"] and me["worktree"] == "shop" and "session_id" not in me


def test_registering_again_changes_nothing(ann, logs, repository):
    before, file = logs(), (repository / ".thrum/identities/ann.json").read_text()
    ann("agent.register", role="reviewer", module="api", name="ann")
    assert logs() == before
    was, now = json.loads(file), json.loads((repository / ".thrum/identities/ann.json").read_text())
    assert {**was, "updated_at": ""} == {**now, "updated_at": ""}


def test_registering_again_with_another_role_updates_it(engine, ann, repository):
    assert ann("agent.register", role="planner", module="api", name="ann", display="A")["status"] == "updated"
    assert ann("agent.whoami")["role"] == "planner"
    assert [(a["role"], a["display"]) for a in ann("agent.list")["agents"]] == [("planner", "A")]
    assert ann("agent.register", role="planner", module="api", name="ann")["display"] == "A"


def test_a_name_in_another_worktree_is_refused_and_nothing_is_stored(engine, ann, repository, logs):
    elsewhere = kit.add_worktree(repository, "other")
    before = logs()
    with pytest.raises(NameTaken, match="shop"):
        kit.Caller(engine, elsewhere)("agent.register", role="reviewer", module="api", name="ann")
    assert logs() == before and identity_files(elsewhere) == []


def test_force_moves_an_agent_to_this_worktree(engine, ann, repository):
    elsewhere = kit.add_worktree(repository, "other")
    caller = kit.Caller(engine, elsewhere)
    assert caller("agent.register", role="reviewer", module="api", name="ann", force=True)["agent_id"] == "ann"
    assert caller("agent.whoami")["agent_id"] == "ann"
    assert caller("agent.list")["agents"][0]["worktree"] == "other"


def test_a_name_of_another_clone_is_refused_unless_forced(engine, repository):
    other = kit.chained([kit.register("zed", "planner", version=1)], kit.THERE)
    path = f"{engine.place.log_root}/messages/zed/{kit.THERE}/0000/00.jsonl"
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"".join(line + b"\n" for line in other))
    caller = kit.Caller(engine, repository)
    with pytest.raises(NameTaken):
        caller("agent.register", role="planner", module="core", name="zed")
    assert caller("agent.register", role="planner", module="core", name="zed", force=True)["agent_id"] == "zed"
    assert caller("agent.list")["agents"][0]["here"]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"role": "", "module": "m"}, "role"),
        ({"role": "r", "module": ""}, "module"),
        ({"role": "Rev", "module": "m"}, "role"),
        ({"role": "r", "module": "a b"}, "module"),
        ({"role": "-r", "module": "m"}, "role"),
        ({"role": "r" * 65, "module": "m"}, "role"),
        ({"role": "r", "module": "m", "name": "../../evil"}, "name"),
        ({"role": "r", "module": "m", "name": "user_leon"}, "name"),
        ({"role": "r", "module": "m", "name": "user:leon"}, "name"),
        ({"role": "r", "module": "m", "name": "everyone"}, "name"),
        ({"role": "r", "module": "m", "name": "x" * 65}, "name"),
        ({"role": "r", "module": "m", "name": "a-b"}, "name"),
        ({"role": "r", "module": "m", "name": "ann", "display": "x" * 100_000}, "display"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_no_name_is_refused_by_field_and_nothing_is_stored(engine, repository, logs, params, word):
    before = logs()
    with pytest.raises(BadParams, match=word):
        kit.Caller(engine, repository)("agent.register", **params)
    assert logs() == before and identity_files(repository) == []


ROLES = [
    ("reviewer", "api"),
    ("code-reviewer", "api"),
    ("user", "ui"),
    ("user_x", "ui"),
    ("a", "b"),
    ("x" * 64, "y" * 64),
    ("a-" * 30, "m"),
    ("_", "_"),
]


@pytest.mark.parametrize(("role", "module"), ROLES)
def test_a_generated_name_is_always_one_that_works(engine, repository, role, module):
    caller = kit.Caller(engine, repository)
    made = caller("agent.register", role=role, module=module)["agent_id"]
    assert ids.is_agent_name(made)
    assert caller("agent.whoami")["agent_id"] == made
    assert caller("message.send", content="x")["from"] == made


@pytest.mark.parametrize(("role", "module"), ROLES)
def test_registering_again_without_a_name_is_the_same_agent(engine, repository, role, module):
    caller = kit.Caller(engine, repository)
    made = {caller("agent.register", role=role, module=module)["agent_id"] for _ in range(3)}
    assert len(made) == 1 and len(caller("agent.list")["agents"]) == 1


def test_the_same_role_without_a_name_in_two_worktrees_is_two_agents(engine, repository):
    folders = [repository, kit.add_worktree(repository, "one"), kit.add_worktree(repository, "two")]
    made = [
        kit.Caller(engine, folder)("agent.register", role="reviewer", module="api")["agent_id"] for folder in folders
    ]
    assert len(set(made)) == 3
    assert [
        kit.Caller(engine, folder)("agent.register", role="reviewer", module="api")["agent_id"] for folder in folders
    ] == made


def test_agents_are_listed_by_role_and_module_newest_first(team):
    ann = team[0]
    assert named(ann("agent.list")) == ["cat", "bob", "ann"]
    assert named(ann("agent.list", role="implementer")) == ["cat", "bob"]
    assert named(ann("agent.list", role="implementer", module="core")) == ["bob"]
    assert named(ann("agent.list", module="none")) == []


def settle(folder, name, role, module):
    where = folder / ".thrum" / "identities"
    where.mkdir(parents=True, exist_ok=True)
    (where / f"{name}.json").write_text(
        json.dumps({"version": 1, "agent": {"Name": name, "Role": role, "Module": module}})
    )


@pytest.mark.parametrize(
    ("flags", "environ", "expected"),
    [
        ({}, {}, NoIdentity),
        ({"name": "ann"}, {}, "ann"),
        ({}, {"THRUM_NAME": "bob"}, "bob"),
        ({"name": "ann"}, {"THRUM_NAME": "bob"}, "ann"),
        ({"role": "reviewer"}, {}, "ann"),
        ({}, {"THRUM_MODULE": "core"}, "bob"),
        ({"name": "zed"}, {}, NoIdentity),
        ({"name": "ann", "role": "implementer"}, {}, Contradiction),
        ({}, {"THRUM_NAME": "NO!"}, UsageError),
    ],
)
def test_who_speaks_is_decided_by_flags_environment_and_the_worktrees_files(
    engine, repository, flags, environ, expected
):
    settle(repository, "ann", "reviewer", "api")
    settle(repository, "bob", "implementer", "core")
    claim = Claim(cwd=str(repository), environ=environ, **flags)
    if isinstance(expected, str):
        assert engine.call("agent.whoami", {}, claim)["agent_id"] == expected
    else:
        with pytest.raises(expected):
            engine.call("agent.whoami", {}, claim)


def test_nobody_is_ever_somebody_of_another_worktree(engine, ann, repository):
    stranger = kit.Caller(engine, kit.add_worktree(repository, "other"))
    with pytest.raises(NoIdentity):
        stranger("agent.whoami")
    with pytest.raises(NoIdentity):
        kit.Caller(engine, repository.parent / "other", "ann")("message.send", content="x")


def test_a_folder_below_the_worktree_is_the_worktree(engine, ann, repository):
    below = repository / "src" / "deep"
    below.mkdir(parents=True)
    assert kit.Caller(engine, below)("agent.whoami")["agent_id"] == "ann"


def test_another_repository_is_refused(engine, ann, tmp_path):
    other = kit.make_repository(tmp_path / "another")
    with pytest.raises(Contradiction):
        kit.Caller(engine, other)("agent.whoami")


def test_an_identity_that_nobody_registered_cannot_speak(engine, repository, logs):
    settle(repository, "ghost", "reviewer", "api")
    before = logs()
    with pytest.raises(NotFound, match="ghost"):
        kit.Caller(engine, repository)("message.send", content="x")
    assert logs() == before
    assert not kit.Caller(engine, repository)("agent.whoami")["registered"]


@pytest.mark.parametrize("agent_id", ["nobody", "../../evil", "", "ann\0", "user:leon"])
def test_a_caller_id_that_is_not_registered_cannot_speak(engine, ann, logs, agent_id):
    before = logs()
    with pytest.raises(ThrumError):
        engine.call("message.send", {"content": "x"}, Claim(agent_id=agent_id))
    assert logs() == before


def work(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("work\n")


@pytest.fixture
def at_work(team, repository):
    """Bob has uncommitted files, cat a commit that is not merged."""
    bobs, cats = repository.parent / "bobs", repository.parent / "cats"
    work(bobs, "src/api/server.py", "docs/ü ber.md", "Makefile")
    kit.git(bobs, "add", ".")
    work(cats, "src/web/page.py", "src/api/server.py")
    kit.git(cats, "add", ".")
    kit.git(cats, "commit", "-q", "-m", "page")
    return team


@pytest.mark.parametrize(
    ("file", "holders"),
    [
        ("src/api/server.py", {"bob", "cat"}),
        ("./src/api/server.py", {"bob", "cat"}),
        ("src//api/../api/server.py", {"bob", "cat"}),
        ("src\\api\\server.py", {"bob", "cat"}),
        ("src/api", {"bob", "cat"}),
        ("src/web/", {"cat"}),
        ("src", {"bob", "cat"}),
        (".", {"bob", "cat"}),
        ("server.py", {"bob", "cat"}),
        ("page.py", {"cat"}),
        ("Makefile", {"bob"}),
        ("docs/ü ber.md", {"bob"}),
        ("src/ap", set()),
        ("src/api/server.pyc", set()),
        ("SRC/api/server.py", set()),
        ("nothing.py", set()),
        ("readme", set()),
    ],
)
def test_who_has_a_file_is_told_for_every_form_of_its_path(at_work, file, holders):
    answer = at_work[0]("agent.whoHas", file=file)
    assert {holder["agent_id"] for holder in answer["holders"]} == holders
    assert len(answer["contexts"]) == len(holders)


@pytest.mark.parametrize("file", ["/etc/passwd", "../shop2/readme", "src/../../x", "..", "..\\x"])
def test_who_has_does_not_say_nobody_of_what_is_elsewhere(at_work, file):
    for method in ("agent.whoHas", "agent.listContext"):
        with pytest.raises(BadParams, match="is not in this repository"):
            at_work[0](method, file=file)


def test_who_has_tells_committed_from_uncommitted_and_on_which_branch(at_work):
    holders = {h["agent_id"]: h for h in at_work[0]("agent.whoHas", file="src/api/server.py")["holders"]}
    assert holders["bob"]["uncommitted"] == ["src/api/server.py"] and holders["bob"]["committed"] == []
    assert holders["cat"]["uncommitted"] == [] and holders["cat"]["committed"] == ["src/api/server.py"]
    assert (holders["bob"]["branch"], holders["cat"]["branch"]) == ("bobs", "cats")
    assert {h["status"] for h in holders.values()} == {"online"} and holders["bob"]["role"] == "implementer"


def test_who_has_a_file_in_a_folder_that_git_does_not_know(at_work, repository):
    work(repository.parent / "bobs", "fresh/deep/cart.py")
    for asked in ("cart.py", "fresh/deep/cart.py", "fresh", "fresh/deep/"):
        assert {h["agent_id"] for h in at_work[0]("agent.whoHas", file=asked)["holders"]} == {"bob"}
    listed = at_work[0]("agent.listContext", file="fresh/deep/cart.py")["contexts"]
    assert [context["agent_id"] for context in listed] == ["bob"]
    assert at_work[0]("agent.whoHas", file="fresh/deep/other.py")["holders"] == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"agent_id": "@bob"}, {"bob"}),
        ({"agent_id": "implementer"}, {"bob", "cat"}),
        ({"branch": "cats"}, {"cat"}),
        ({"agent_id": "bob", "branch": "cats"}, set()),
        ({"file": "src/web"}, {"cat"}),
        ({"file": "%"}, set()),
        ({"file": "src/we_"}, set()),
        ({"agent_id": "nobody"}, set()),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_contexts_are_listed_by_agent_or_role_branch_and_file(at_work, asked, found):
    listed = at_work[0]("agent.listContext", **asked)["contexts"]
    assert {context["agent_id"] for context in listed} == found


def test_a_context_of_this_clone_says_where_its_worktree_is(engine, at_work, repository):
    stated = kit.event("agent.update", agent_id="far", work_contexts=[{"branch": "main", "worktree": "bobs"}])
    kit.write_log(engine.place.log_root, "far", kit.register("far"), stated)
    paths = {c["agent_id"]: c.get("worktree_path") for c in at_work[0]("agent.listContext")["contexts"]}
    assert paths == {
        "ann": str(repository),
        "bob": str(repository.parent / "bobs"),
        "cat": str(repository.parent / "cats"),
        "far": None,
    }


def test_several_agents_share_a_role_a_module_and_a_worktree(engine, repository, ann):
    for name in ("eve", "fay"):
        kit.Caller(engine, repository)("agent.register", role="reviewer", module="api", name=name)
    assert [a["agent_id"] for a in ann("agent.list", role="reviewer", module="api")["agents"]] == ["fay", "eve", "ann"]
    assert identity_files(repository) == ["ann.json", "eve.json", "fay.json"]
    with pytest.raises(NoIdentity, match="several"):
        kit.Caller(engine, repository)("agent.whoami")
    assert kit.Caller(engine, repository, "eve")("agent.whoami")["agent_id"] == "eve"


def test_registering_anew_states_it_again_but_takes_nobody_over(engine, ann, repository, logs):
    before = logs()
    assert ann("agent.register", role="reviewer", module="api", name="ann", re_register=True)["status"] == "updated"
    assert logs() != before
    elsewhere = kit.Caller(engine, kit.add_worktree(repository, "other"))
    with pytest.raises(NameTaken):
        elsewhere("agent.register", role="reviewer", module="api", name="ann", re_register=True)


def test_who_has_nothing_in_particular_is_refused(at_work):
    with pytest.raises(BadParams, match="file"):
        at_work[0]("agent.whoHas", file="")


def test_a_context_is_read_afresh_each_time_and_stated_only_when_it_changed(at_work, logs, repository):
    ann = at_work[0]
    ann("agent.listContext")
    before = logs()
    ann("agent.listContext")
    assert logs() == before
    work(repository.parent / "bobs", "src/new.py")
    assert {h["agent_id"] for h in ann("agent.whoHas", file="src/new.py")["holders"]} == {"bob"}
    kit.git(repository.parent / "bobs", "add", ".")
    kit.git(repository.parent / "bobs", "stash", "-q")
    assert ann("agent.whoHas", file="src/new.py")["holders"] == []


@pytest.mark.parametrize(
    ("params", "agents"),
    [
        ({"agent_id": "bob"}, {"bob"}),
        ({"agent_id": "@bob"}, {"bob"}),
        ({"agent_id": "@implementer"}, {"bob", "cat"}),
        ({"branch": "cats"}, {"cat"}),
        ({"file": "src/api"}, {"bob", "cat"}),
        ({"file": "src/web", "branch": "bobs"}, set()),
        ({"agent_id": "zed"}, set()),
    ],
)
def test_contexts_are_listed_by_agent_role_branch_and_file(at_work, params, agents):
    assert {c["agent_id"] for c in at_work[0]("agent.listContext", **params)["contexts"]} == agents


def test_a_context_shows_branch_commits_files_intent_and_task(at_work):
    cat = at_work[2]
    cat("session.setIntent", intent="the page")
    cat("session.setTask", current_task="css")
    (context,) = at_work[0]("agent.listContext", agent_id="cat")["contexts"]
    assert context["branch"] == "cats" and context["intent"] == "the page" and context["current_task"] == "css"
    assert [commit["message"] for commit in context["unmerged_commits"]] == ["page"]
    assert sorted(context["changed_files"]) == ["src/api/server.py", "src/web/page.py"]


def test_thrums_own_files_are_nobodys_work(at_work):
    assert at_work[0]("agent.whoHas", file=".thrum")["holders"] == []


def test_ping_tells_whether_somebody_is_at_work_and_on_what(at_work):
    ann, bob, _ = at_work
    bob("session.setIntent", intent="server")
    answer = ann("agent.ping", agent="@bob")
    assert answer["agent"]["status"] == "online" and answer["context"]["intent"] == "server"
    bob("session.end")
    assert ann("agent.ping", agent="bob")["agent"]["status"] == "offline"
    assert ann("agent.ping", agent="@reviewer")["agent"]["agent_id"] == "ann"
    with pytest.raises(NotFound):
        ann("agent.ping", agent="zed")
    with pytest.raises(BadParams):
        ann("agent.ping", agent="@implementer")
