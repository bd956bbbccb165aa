from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from thrum.errors import GitError
from thrum.git import branch, context
from thrum.git.objects import open_objects
from thrum.git.place import find

from .kit import git, make, script, settle, write

ODD = [
    " lead",
    "trail ",
    "two words",
    'quo"te',
    "ünïcode",
    "new\nline",
    "\nfirst",
    "tab\t",
    "-dash",
    "back\\slash",
    "#1",
]


def commit(repo: str, subject: str, *files: str) -> str:
    for name in files:
        write(f"{repo}/{name}", subject)
    git(repo, "add", "-A", "--", *files)
    git(repo, "commit", "-q", "-m", subject, "--allow-empty")
    return git(repo, "rev-parse", "HEAD")


def test_a_feature_branch_is_measured_against_main(repo: str, linked: str) -> None:
    one = commit(linked, "One\n\nwith a body", "a", "dir/b")
    two = commit(linked, "Two", "a")
    commit(repo, "elsewhere", "unrelated")
    write(f"{linked}/a", "dirty")
    write(f"{linked}/new/file", "x")
    assert context.read(find(linked)) == {
        "branch": "feature",
        "head": two,
        "unmerged_commits": [
            {"sha": two, "message": "Two", "files": ["a"]},
            {"sha": one, "message": "One", "files": ["a", "dir/b"]},
        ],
        "changed_files": ["a", "dir/b"],
        "uncommitted_files": ["a", "new/file"],
    }


def test_odd_names_come_through_everywhere(repo: str, linked: str) -> None:
    commit(linked, "odd", *ODD)
    read = context.read(find(linked))
    assert sorted(read["changed_files"]) == sorted(ODD) == sorted(read["unmerged_commits"][0]["files"])
    for name in ODD:
        write(f"{linked}/{name}", "changed")
        write(f"{linked}/untracked {name}", "new")
    found = context.read(find(linked))["uncommitted_files"]
    assert sorted(found) == sorted(ODD + [f"untracked {name}" for name in ODD])


def test_an_untracked_folder_is_told_by_its_files_when_they_are_few(repo: str) -> None:
    write(f"{repo}/.gitignore", "*.log\n")
    for name in ("new/cart.py", "new/deep/tax.py", "new/noise.log", "odd [x]*/é", *(f"many/{n}" for n in range(201))):
        write(f"{repo}/{name}", "x")
    git(repo, "init", "-q", f"{repo}/nested")
    write(f"{repo}/nested/inside", "x")
    found = context.read(find(repo))["uncommitted_files"]
    assert found == [".gitignore", "many/", "nested/", "new/cart.py", "new/deep/tax.py", "odd [x]*/é"]


def test_names_that_are_not_utf8_survive(repo: str) -> None:
    write(os.fsdecode(os.fsencode(repo) + b"/\xff\xfe"), "x")
    assert context.read(find(repo))["uncommitted_files"] == ["\udcff\udcfe"]


def test_a_rename_counts_under_both_names(repo: str, linked: str) -> None:
    git(linked, "mv", "readme", "liesmich")
    assert sorted(context.read(find(linked))["uncommitted_files"]) == ["liesmich", "readme"]
    git(linked, "commit", "-q", "-m", "rename")
    read = context.read(find(linked))
    assert sorted(read["changed_files"]) == ["liesmich", "readme"] == sorted(read["unmerged_commits"][0]["files"])


def test_staged_deleted_and_conflicting_files_are_uncommitted(repo: str, linked: str) -> None:
    commit(repo, "theirs", "readme")
    commit(linked, "ours", "readme", "gone", "staged")
    write(f"{linked}/staged", "more")
    git(linked, "add", "staged")
    os.unlink(f"{linked}/gone")
    git(linked, "commit", "-q", "-m", "x", "staged")
    git(linked, "merge", "-q", "main", check=False)
    assert sorted(context.read(find(linked))["uncommitted_files"]) == ["gone", "readme"]


def test_an_unborn_branch_has_a_name_and_no_head(tmp_path: Path) -> None:
    repo = make(str(tmp_path / "unborn"), commit=False)
    write(f"{repo}/x y", "x")
    read = context.read(find(repo))
    assert read["branch"] == "main" and read["head"] == "" and read["uncommitted_files"] == ["x y"]
    assert read["unmerged_commits"] == read["changed_files"] == []


def test_a_detached_head_has_no_branch(repo: str) -> None:
    git(repo, "checkout", "-q", "--detach")
    head = commit(repo, "loose", "x")
    read = context.read(find(repo))
    assert read["branch"] == "" and read["head"] == head and read["changed_files"] == ["x"]


def test_a_bare_repository_has_an_empty_context(bare: str) -> None:
    assert context.read(find(bare))["branch"] == ""


@pytest.mark.parametrize("default", ["main", "trunk", "develop"])
def test_the_base_is_the_remotes_default_branch(tmp_path: Path, default: str) -> None:
    origin = make(str(tmp_path / "origin"), "-b", default)
    git(origin, "branch", "main", check=False)
    commit(origin, "on default", "x")
    git("/", "clone", "-q", origin, str(tmp_path / "clone"))
    clone = str(tmp_path / "clone")
    head = commit(clone, "unpushed", "y")
    read = context.read(find(clone))
    assert [found["sha"] for found in read["unmerged_commits"]] == [head] and read["changed_files"] == ["y"]


def test_without_the_remotes_head_its_main_or_master_is_the_base(tmp_path: Path) -> None:
    origin = make(str(tmp_path / "origin"), "-b", "master")
    git("/", "clone", "-q", "-o", "team", origin, str(tmp_path / "clone"))
    clone = str(tmp_path / "clone")
    git(clone, "remote", "set-head", "team", "--delete")
    commit(clone, "unpushed", "y")
    assert context.read(find(clone))["changed_files"] == ["y"]


def test_a_sync_is_never_the_base(tmp_path: Path) -> None:
    origin = make(str(tmp_path / "origin"))
    settle(origin)
    git("/", "clone", "-q", origin, str(tmp_path / "clone"))
    clone = str(tmp_path / "clone")
    git(clone, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/a-sync")
    commit(clone, "unpushed", "y")
    assert [found["message"] for found in context.read(find(clone))["unmerged_commits"]] == ["unpushed"]
    git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    git(clone, "checkout", "-q", "-b", "work")
    git(clone, "branch", "-q", "-D", "main")
    git(clone, "config", "init.defaultBranch", branch.BRANCH)
    assert context.read(find(clone))["unmerged_commits"] == []


def test_alone_on_the_only_branch_nothing_is_unmerged(repo: str) -> None:
    commit(repo, "more", "x")
    read = context.read(find(repo))
    assert read["unmerged_commits"] == [] == read["changed_files"]


def test_the_configured_default_branch_is_the_last_resort(tmp_path: Path) -> None:
    repo = make(str(tmp_path / "r"), "-b", "develop")
    git(repo, "config", "init.defaultBranch", "develop")
    git(repo, "checkout", "-q", "-b", "work")
    commit(repo, "work", "x")
    assert context.read(find(repo))["changed_files"] == ["x"]


def test_unrelated_histories_do_not_fail(repo: str) -> None:
    git(repo, "checkout", "-q", "--orphan", "island")
    commit(repo, "island", "x")
    read = context.read(find(repo))
    assert len(read["unmerged_commits"]) == 1 and read["changed_files"] == []


def test_a_history_that_became_longer_is_told_anew(repo: str, tmp_path: Path) -> None:
    git(repo, "checkout", "-q", "-b", "feature")
    for number in range(3):
        commit(repo, f"Number {number}", f"file{number}")
    git(repo, "checkout", "-q", "main")
    short = str(tmp_path / "short")
    git(str(tmp_path), "clone", "-q", "--depth", "1", "--no-single-branch", "-b", "feature", f"file://{repo}", short)
    assert [one["message"] for one in context.read(find(short))["unmerged_commits"]] == ["Number 2"]
    git(short, "fetch", "-q", "--unshallow")
    found = context.read(find(short))
    assert len(found["unmerged_commits"]) == 3 and found["changed_files"] == ["file0", "file1", "file2"]


def test_a_comparison_that_was_killed_is_not_remembered(
    repo: str, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(linked, "One", "a")

    def killed(args: list[str], *more: Any, **options: Any) -> Any:
        found = run(args, *more, **options)
        return found._replace(code=-9, out=b"") if args[0] == "diff" else found

    run = context.run
    with monkeypatch.context() as patch:
        patch.setattr(context, "run", killed)
        with pytest.raises(GitError):
            context.read(find(linked))
    assert context.read(find(linked))["changed_files"] == ["a"]


def test_lists_are_bounded(repo: str, linked: str) -> None:
    for number in range(4):
        commit(linked, f"n{number}", *(f"f{number}{part}" for part in range(5)))
    for part in range(5):
        write(f"{linked}/u{part}", "x")
    read = context.read(find(linked), limit_files=3, limit_commits=2)
    assert [found["message"] for found in read["unmerged_commits"]] == ["n3", "n2"]
    assert (
        len(read["changed_files"]) == len(read["uncommitted_files"]) == len(read["unmerged_commits"][0]["files"]) == 3
    )


def test_our_own_files_are_not_the_users_work(repo: str) -> None:
    settle(repo)
    write(f"{repo}/.thrum/identities/a.json", "{}")
    write(f"{repo}/.thrummy", "x")
    assert context.read(find(repo))["uncommitted_files"] == [".thrummy"]


def test_sha256_and_odd_configuration_do_not_matter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    repo = make(str(tmp_path / "s"), "--object-format=sha256")
    for key, value in {
        "log.showSignature": "true",
        "log.date": "relative",
        "diff.renames": "copies",
        "diff.relative": "true",
        "diff.external": "/bin/false",
        "diff.noprefix": "true",
        "color.ui": "always",
        "format.pretty": "oneline",
        "log.decorate": "full",
        "status.showUntrackedFiles": "no",
        "status.relativePaths": "true",
        "core.quotePath": "true",
        "i18n.logOutputEncoding": "latin1",
    }.items():
        git(repo, "config", key, value)
    git(repo, "checkout", "-q", "-b", "feature")
    sha = commit(repo, "ünï", "a b", "c")
    write(f"{repo}/sub/new", "x")
    read = context.read(find(f"{repo}/sub"))
    assert read["unmerged_commits"] == [{"sha": sha, "message": "ünï", "files": ["a b", "c"]}]
    assert read["uncommitted_files"] == ["sub/new"] and read["branch"] == "feature"
    assert capfd.readouterr().err == ""


def test_reading_changes_nothing_and_runs_nothing(repo: str, tmp_path: Path) -> None:
    sentinel = tmp_path / "ran"
    git(repo, "config", "core.fsmonitor", script(str(tmp_path / "monitor"), f"touch {sentinel}"))
    script(f"{repo}/.git/hooks/post-index-change", f"touch {sentinel}")
    os.utime(f"{repo}/readme", (1, 1))
    before = os.stat(f"{repo}/.git/index").st_mtime_ns
    context.read(find(repo))
    assert os.stat(f"{repo}/.git/index").st_mtime_ns == before and not sentinel.exists()


def test_the_marks_time_is_read(repo: str) -> None:
    place = find(repo)
    assert context.mark_time(place) == 0
    write(place.mark, "")
    os.utime(place.mark, ns=(1, 12345))
    assert context.mark_time(place) == 12345


def test_the_branch_of_the_logs_does_not_show(repo: str) -> None:
    settle(repo)
    assert open_objects(f"{repo}/.git").head(branch.REF)
    assert context.read(find(repo))["unmerged_commits"] == []


def test_a_commit_made_while_git_looks_is_in_what_is_told(repo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The history is looked up beside the files, for the commit that HEAD names at the beginning."""
    git(repo, "checkout", "-q", "-b", "feature")
    commit(repo, "one", "a")
    real = context._status

    def slow(worktree: str) -> tuple[str, str, list[str]]:
        git(repo, "checkout", "-q", "-b", "other")
        commit(repo, "two", "b")
        return real(worktree)

    monkeypatch.setattr(context, "_status", slow)
    found = context.read(find(repo))
    assert (found["branch"], found["head"]) == ("other", git(repo, "rev-parse", "HEAD"))
    assert [made["message"] for made in found["unmerged_commits"]] == ["two", "one"]


def test_a_history_that_was_looked_up_for_another_branch_is_not_told(
    repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repo, "checkout", "-q", "-b", "feature")
    commit(repo, "one", "a")
    expected = context.read(find(repo))
    head = git(repo, "rev-parse", "HEAD")
    monkeypatch.setattr(context._Guess, "_look", lambda guess: setattr(guess, "_found", ("other", head, head)))
    assert context.read(find(repo)) == expected
    assert [made["message"] for made in expected["unmerged_commits"]] == ["one"]
