"""Other tools that hook into git, before us and after us: theirs run as they would without us, and so does ours."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest

from tests import kit
from tests.faults.guests import BIN, GUESTS, MODULES, House
from tests.git.kit import ALL_HOOKS, script
from thrum.config import LOCAL_VARIABLES
from thrum.git import hooks
from thrum.git.context import mark_time
from thrum.git.place import find

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


def test_a_new_worktree_beside_husky(tmp_path):
    """husky's folder is ignored by git: a new worktree has no hooks at all, until husky is set up in it."""
    house = House(tmp_path / "house")
    house.prepare(*invited("husky"))
    move_in(house, ["husky", "thrum"])
    kit.git(house.work, "worktree", "add", "-q", "-b", "new", str(tmp_path / "new"), check=False)
    house.work = tmp_path / "new"
    (house.work / "node_modules").symlink_to(MODULES)
    house.run("git thrum setup")
    assert "npx husky" in hooks.remedy(hooks.status(find(str(house.work))))
    do_what_the_doctor_says(house)
    told = house.live(Marks(house))
    assert all(lines for _, _, lines, _ in told) and told[2][1] == 1


@pytest.mark.parametrize("scope", ["--local", "--global"])
@pytest.mark.parametrize("name", ["own", "git-lfs"])
def test_hooks_of_a_folder_of_the_users(tmp_path, ledger, scope, name):
    (guest,) = invited(name)
    control, house = House(tmp_path / "without"), House(tmp_path / "with")
    for each in (control, house):
        each.prepare(guest)
        kit.git(each.work, "config", scope, "core.hooksPath", str(each.top / "my hooks"))
        guest.install(each)
        before = kit.files(each.top / "my hooks")
        if each is house:
            move_in(house, ["thrum"])
            expected, told = expected, house.live(Marks(house))  # noqa: F821
            keep_books(ledger, told, expected)
            assert told == expected
            house.run("git thrum hooks uninstall")
        else:
            expected = control.live()
        assert kit.files(each.top / "my hooks") == before
        kit.git(each.work, "config", scope, "--unset", "core.hooksPath")


# Nothing that happens to us is noticed by git

DAY = (
    "commit -q --allow-empty -m one",
    "commit -q --allow-empty --amend -m two",
    "checkout -q -b side",
    "commit -q --allow-empty -m three",
    "rebase -q --force-rebase HEAD~1",
    "checkout -q main",
    "cherry-pick --allow-empty side",
    "merge -q --no-ff --no-edit side",
    "stash -q",
    "bisect start",
    "bisect reset",
    "worktree add -q ../beside",
    "worktree remove ../beside",
    "branch -q -D side",
    "branch -q -D beside",
    "checkout nowhere",
    "hook run --ignore-missing post-commit",
)
QUIET = {"GIT_AUTHOR_DATE": "2026-02-10T12:00:00Z", "GIT_COMMITTER_DATE": "2026-02-10T12:00:00Z"}
BARE = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
ME = {f"GIT_{who}_{what}": "me@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def a_day(work, env, before="", commands=DAY):
    """Each command's exit code and output; `before`: shell that runs first, with the mounts of the day its own."""
    script = before + "".join(f"git {command}\necho rc $?\n" for command in commands)
    namespace = ["unshare", "-m"] if before else []
    shell = [*namespace, "/bin/sh", "-c", script]
    env = {**BARE, **ME, **QUIET, **env}
    done = subprocess.run(shell, cwd=work, env=env, capture_output=True, text=True, timeout=120)
    return [
        re.sub(rf"{re.escape(str(work.parent))}|\b[0-9a-f]{{7}}\b", "", text) for text in (done.stdout, done.stderr)
    ]


def can_mount():
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def thrum_gone(work):
    shutil.rmtree(work / ".thrum")
    shutil.rmtree(work / ".git" / "thrum-sync")


def mark_in_the_way(work):
    (work / ".git" / "thrum-mark").mkdir()


READ_ONLY = "mount --bind .git/hooks .git/hooks && mount -o remount,ro,bind .git/hooks || exit 9\n"
FULL = (
    "mount -t tmpfs -o size=3m none {top}/small || exit 9\ncp -a . {top}/small/repo && cd {top}/small/repo || exit 9\n"
    "cat /dev/zero >../fill 2>/dev/null\n"
)
TROUBLES = {
    "a bare environment": ({}, None, ""),
    "no search path and no home": ({"PATH": "/usr/lib/git-core:/usr/bin:/bin", "HOME": ""}, None, ""),
    "thrum's folders gone": ({}, thrum_gone, ""),
    "a folder in the mark's place": ({}, mark_in_the_way, ""),
    "read-only hooks": ({}, None, READ_ONLY),
    "a full disk": ({}, None, FULL),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_git_notices_nothing(tmp_path, ledger, trouble):
    env, harm, before = TROUBLES[trouble]
    if before and not can_mount():
        pytest.skip("mounting is not allowed here")
    control, house = House(tmp_path / "without"), House(tmp_path / "with")
    house.run("git thrum init --quiet")
    if harm:
        harm(house.work)
    ledger.fault()
    told = []
    for each in (control, house):
        (each.top / "small").mkdir()
        told.append(a_day(each.work, env, before.format(top=each.top)))
    assert told[1] == told[0]
    assert told[0][0].count("rc ") == len(DAY)


def test_git_notices_nothing_of_a_daemon_that_stands_still(tmp_path, ledger):
    control, house = House(tmp_path / "without"), House(tmp_path / "with")
    house.run("git thrum init --quiet && git thrum daemon start")
    place = find(str(house.work))
    pid = json.loads(house.run("git thrum daemon status --json"))["pid"]
    try:
        os.kill(pid, signal.SIGSTOP)
        ledger.fault()
        assert a_day(house.work, {}) == a_day(control.work, {})
        assert mark_time(place)
    finally:
        os.kill(pid, signal.SIGCONT)
        house.run("git thrum daemon stop")


# We are a guest ourselves


def possessions(work):
    """Everything of the user's that git keeps, but for what is ours by name."""
    git = work / ".git"
    refs = [line for line in kit.git(work, "for-each-ref").splitlines() if "a-sync" not in line]
    ours = ("thrum-sync", "thrum-mark", "worktrees/a-sync", "objects", "refs", "logs/refs/heads/a-sync", "packed-refs")
    kept = {
        path: data
        for path, data in kit.files(git).items()
        if not path.startswith(ours) and path != "info/exclude" and "origin/a-sync" not in path
    }
    modes = {path: os.lstat(git / path).st_mode for path in kept}
    tree = {path: data for path, data in kit.files(work).items() if not path.startswith((".git/", ".thrum/"))}
    said = [
        kit.git(work, *command.split())
        for command in ("--no-optional-locks status --porcelain=v2 --branch", "stash list", "log -g")
    ]
    return {"refs": refs, "files": sorted(kept), "modes": modes, "tree": tree, "said": said, **kept}


@pytest.mark.parametrize("where", ["here", "global"])
def test_a_day_of_ours_leaves_everything_of_theirs_as_it_was(tmp_path, bare_remote, ledger, where):
    """Their hooks all fail, they sign every commit, and the environment points somewhere else."""
    house = House(tmp_path / "house")
    work, folder = house.work, house.common / "hooks"
    kit.git(work, "remote", "add", "origin", str(bare_remote))
    kit.git(bare_remote, "config", "core.hooksPath", "/dev/null")
    kit.git(work, "push", "-q", "origin", "main")
    (work / "readme").write_text("stashed\n")
    kit.git(work, "stash", "-q")
    (work / "readme").write_text("changed\n")
    (work / "staged").write_text("staged\n")
    kit.git(work, "add", "staged")
    for name, value in {
        "commit.gpgsign": "true",
        "gpg.program": script(str(tmp_path / "gpg"), f"echo gpg >>{house.log}; exit 1\n"),
        "core.fsmonitor": script(str(tmp_path / "monitor"), f"echo fsmonitor >>{house.log}; exit 1\n"),
        "core.sparseCheckout": "true",
        "merge.ff": "false",
    }.items():
        kit.git(work, "config", name, value)
    if where == "global":
        folder = tmp_path / "all hooks"
        kit.git(work, "config", "--global", "core.hooksPath", str(folder))
    for event in ALL_HOOKS:
        script(str(folder / event), f"echo {event} >>{house.log}; exit 1\n")
    kit.git(work, "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "status")
    house.log.write_text("")
    before, there = possessions(work), kit.files(folder)
    house.log.write_text("")  # what looking at them said
    poison = " ".join(f"{name}={tmp_path}/nowhere" for name in sorted(LOCAL_VARIABLES - {"GIT_CONFIG_COUNT"}))
    thrum = f"env -u PYTHONPATH {poison} GIT_CONFIG_COUNT=0 {BIN}/git-thrum"
    house.run(f"{thrum} init --quiet")
    house.run(f"{thrum} quickstart --role planner --module auth --name ann")
    for number in range(3):
        ledger.fault(len(ALL_HOOKS))
        sent = json.loads(house.run(f"{thrum} send {number} --json"))
        ledger.acknowledge(sent["message_id"])
        house.run(f"{thrum} sync force")
    house.run(f"{thrum} hooks uninstall")
    assert house.log.read_text() == "", "something of theirs ran"
    assert kit.git(bare_remote, "rev-parse", "a-sync") == kit.git(work, "rev-parse", "a-sync")
    found = kit.git(bare_remote, "grep", "-h", "-o", '"message_id":"msg_[^"]*"', "a-sync")
    ledger.find(*(line.split('"')[3] for line in found.splitlines()))
    ledger.balance()
    after = possessions(work)
    for name in before:
        assert after[name] == before[name], name
    assert kit.files(folder) == there
