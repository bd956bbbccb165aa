from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from thrum.errors import GitError, NotARepository, Refused
from thrum.git.place import Place, common_dir_at, find, locked_away, worktrees

from .kit import git, make, settle, write

Build = Callable[[str], tuple[str, str | None, str, str | None]]
"""(where to stand, worktree, common directory, main worktree), in a fresh folder."""


def in_main(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    return repo, repo, f"{repo}/.git", repo


def in_linked(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    git(repo, "worktree", "add", "-q", f"{top}/wt")
    return f"{top}/wt", f"{top}/wt", f"{repo}/.git", repo


def in_linked_with_redirect(top: str) -> tuple[str, str | None, str, str | None]:
    start, *rest = in_linked(top)
    write(f"{start}/.thrum/redirect", f"{top}/repo/.thrum\n")
    return start, *rest  # type: ignore[return-value]


def in_subdirectory(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    os.makedirs(f"{repo}/a/b c/ü")
    return f"{repo}/a/b c/ü", repo, f"{repo}/.git", repo


def in_linked_subdirectory(top: str) -> tuple[str, str | None, str, str | None]:
    start, *rest = in_linked_with_redirect(top)
    os.makedirs(f"{start}/deep/er")
    return f"{start}/deep/er", *rest  # type: ignore[return-value]


def on_a_file(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    return f"{repo}/readme", repo, f"{repo}/.git", repo


def through_symlink(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    os.symlink(repo, f"{top}/link")
    return f"{top}/link", repo, f"{repo}/.git", repo


def in_symlinked_git_dir(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    os.makedirs(f"{top}/elsewhere")
    os.rename(f"{repo}/.git", f"{top}/elsewhere/.git")
    os.symlink(f"{top}/elsewhere/.git", f"{repo}/.git")
    return repo, f"{top}/elsewhere", f"{top}/elsewhere/.git", f"{top}/elsewhere"


def in_submodule(top: str) -> tuple[str, str | None, str, str | None]:
    inner, outer = make(f"{top}/inner"), make(f"{top}/outer")
    git(outer, "submodule", "--quiet", "add", inner, "libs/sub")
    sub = f"{outer}/libs/sub"
    return sub, sub, f"{outer}/.git/modules/libs/sub", sub


def in_linked_of_submodule(top: str) -> tuple[str, str | None, str, str | None]:
    sub, _, common, _ = in_submodule(top)
    git(sub, "worktree", "add", "-q", "-b", "x", f"{top}/subwt")
    return f"{top}/subwt", f"{top}/subwt", common, sub


def in_nested_clone(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    git("/", "clone", "-q", repo, f"{repo}/nested")
    return f"{repo}/nested", f"{repo}/nested", f"{repo}/nested/.git", f"{repo}/nested"


def in_bare(top: str) -> tuple[str, str | None, str, str | None]:
    git("/", "init", "-q", "--bare", f"{top}/bare.git")
    return f"{top}/bare.git", None, f"{top}/bare.git", None


def inside_bare(top: str) -> tuple[str, str | None, str, str | None]:
    _, *rest = in_bare(top)
    return f"{top}/bare.git/objects/pack", *rest  # type: ignore[return-value]


def in_linked_of_bare(top: str) -> tuple[str, str | None, str, str | None]:
    git("/", "clone", "-q", "--bare", make(f"{top}/repo"), f"{top}/bare.git")
    git(f"{top}/bare.git", "worktree", "add", "-q", f"{top}/wt", "main")
    return f"{top}/wt", f"{top}/wt", f"{top}/bare.git", None


def beside_hidden_bare(top: str) -> tuple[str, str | None, str, str | None]:
    git("/", "clone", "-q", "--bare", make(f"{top}/repo"), f"{top}/project/.bare")
    write(f"{top}/project/.git", "gitdir: ./.bare\n")
    return f"{top}/project", None, f"{top}/project/.bare", None


def in_bare_dot_git(top: str) -> tuple[str, str | None, str, str | None]:
    git("/", "clone", "-q", "--bare", make(f"{top}/repo"), f"{top}/project/.git")
    git(f"{top}/project", "worktree", "add", "-q", f"{top}/project/main", "main")
    return f"{top}/project/main", f"{top}/project/main", f"{top}/project/.git", None


def with_separate_git_dir(top: str) -> tuple[str, str | None, str, str | None]:
    git("/", "init", "-q", "--separate-git-dir", f"{top}/store", f"{top}/tree")
    return f"{top}/tree", f"{top}/tree", f"{top}/store", None


def without_commit(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo", commit=False)
    return repo, repo, f"{repo}/.git", repo


def with_detached_head(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    git(repo, "checkout", "-q", "--detach")
    return repo, repo, f"{repo}/.git", repo


def at_a_long_path(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/{'long' * 12}/{'longer' * 12}/{'longest' * 12}")
    return repo, repo, f"{repo}/.git", repo


def inside_dot_git(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    return f"{repo}/.git/refs/heads", repo, f"{repo}/.git", repo


def inside_thrum_sync(top: str) -> tuple[str, str | None, str, str | None]:
    repo = make(f"{top}/repo")
    settle(repo)
    return f"{repo}/.git/thrum-sync", repo, f"{repo}/.git", repo


def inside_linked_metadata(top: str) -> tuple[str, str | None, str, str | None]:
    in_linked(top)
    return f"{top}/repo/.git/worktrees/wt", f"{top}/wt", f"{top}/repo/.git", f"{top}/repo"


def inside_submodule_git_dir(top: str) -> tuple[str, str | None, str, str | None]:
    _, *rest = in_submodule(top)
    return f"{top}/outer/.git/modules/libs/sub/objects", *rest  # type: ignore[return-value]


TABLE: list[Build] = [
    in_main,
    in_linked,
    in_linked_with_redirect,
    in_subdirectory,
    in_linked_subdirectory,
    on_a_file,
    through_symlink,
    in_symlinked_git_dir,
    in_submodule,
    in_linked_of_submodule,
    in_nested_clone,
    in_bare,
    inside_bare,
    in_linked_of_bare,
    beside_hidden_bare,
    in_bare_dot_git,
    with_separate_git_dir,
    without_commit,
    with_detached_head,
    at_a_long_path,
    inside_dot_git,
    inside_thrum_sync,
    inside_linked_metadata,
    inside_submodule_git_dir,
]


@pytest.fixture
def top(tmp_path: Path) -> str:
    folder = os.path.realpath(tmp_path / "top")
    os.makedirs(folder)
    return folder


@pytest.mark.parametrize("build", TABLE, ids=lambda build: build.__name__)
def test_every_place_is_found(build: Build, top: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start, worktree, common_dir, main = build(top)
    place = find(start)
    assert (place.worktree, place.common_dir, place.main_worktree) == (worktree, common_dir, main)
    monkeypatch.chdir(start if os.path.isdir(start) else os.path.dirname(start))
    assert find(".") == place
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_WORK_TREE", "/nowhere")
    assert find(".") == place
    assert place.log_root == f"{common_dir}/thrum-sync/a-sync"
    assert place.thrum_dir == (f"{main}/.thrum" if main else f"{common_dir}/thrum")
    assert len(os.fsencode(place.socket)) <= 107


HIDDEN = (in_bare, inside_bare, beside_hidden_bare, through_symlink, in_symlinked_git_dir)
"""Where git sees no worktree, or another name for it."""


@pytest.mark.parametrize(
    "build",
    [build for build in TABLE if build not in HIDDEN and not build.__name__.startswith("inside")],
    ids=lambda build: build.__name__,
)
def test_git_agrees(build: Build, top: str) -> None:
    start, worktree, common_dir, _ = build(top)
    cwd = start if os.path.isdir(start) else os.path.dirname(start)
    assert git(cwd, "rev-parse", "--show-toplevel") == worktree
    assert os.path.realpath(os.path.join(cwd, git(cwd, "rev-parse", "--git-common-dir"))) == common_dir
    assert os.path.realpath(os.path.join(cwd, git(cwd, "rev-parse", "--absolute-git-dir"))) == find(start).git_dir


def test_outside_of_a_repository_is_an_error_with_a_next_step(top: str) -> None:
    for start in (top, f"{top}/nowhere"):
        with pytest.raises(NotARepository) as caught:
            find(start)
        assert "--repo" in caught.value.hint


def test_an_empty_dot_git_folder_is_passed_over(top: str) -> None:
    repo = make(f"{top}/repo")
    os.makedirs(f"{repo}/sub/.git")
    assert find(f"{repo}/sub").worktree == repo


def test_a_dot_git_file_that_points_nowhere_is_an_error(top: str) -> None:
    repo = make(f"{top}/repo")
    for content in ("gitdir: /nowhere/at/all\n", "", "gitdir: \0\n", "\0" * 9, "x" * 9999):
        write(f"{repo}/sub/.git", content)
        with pytest.raises(NotARepository, match="points to"):
            find(f"{repo}/sub")


def test_the_log_root_is_nobodys_workplace(repo: str) -> None:
    place, _, _ = settle(repo)
    os.makedirs(f"{place.log_root}/messages/x")
    for start in (place.log_root, f"{place.log_root}/messages/x"):
        with pytest.raises(Refused) as caught:
            find(start)
        assert repo in caught.value.hint
    os.unlink(f"{place.log_root}/.git")
    with pytest.raises(Refused):
        find(place.log_root)


def test_a_redirect_may_name_only_our_own_thrum_folder(top: str, linked: str, repo: str) -> None:
    other = make(f"{top}/other")
    os.makedirs(f"{other}/.thrum")
    os.makedirs(f"{repo}/.thrum")
    os.symlink(f"{other}/.thrum", f"{top}/link")
    own = f"{repo}/.thrum"
    bad = [
        f"{other}/.thrum\n",
        "/tmp\n",
        f"{top}/link\n",
        "../repo/.thrum\n",
        ".thrum\n",
        "",
        f"{top}/missing/.thrum\n",
        f"{own}\n\n",
        f"{own}\n{other}\n",
        f"{own}\0\n",
        f"{linked}/.thrum\n",
        f"{own}/../../other/.thrum\n",
        "/" + "x" * 5000,
    ]
    for content in bad:
        path = write(f"{linked}/.thrum/redirect", content)
        with pytest.raises(GitError) as caught:
            find(linked)
        assert path in str(caught.value)
        assert "setup" in caught.value.hint
    os.unlink(f"{linked}/.thrum/redirect")
    os.symlink("redirect", f"{linked}/.thrum/redirect")
    with pytest.raises(GitError):
        find(linked)
    os.unlink(f"{linked}/.thrum/redirect")
    os.mkfifo(f"{linked}/.thrum/redirect")
    with pytest.raises(GitError):
        find(linked)
    os.unlink(f"{linked}/.thrum/redirect")
    write(f"{linked}/.thrum/redirect", own)
    assert find(linked).thrum_dir == own


def test_a_cloned_redirect_in_the_main_worktree_leads_nowhere(repo: str) -> None:
    write(f"{repo}/.thrum/redirect", "/tmp/.thrum\n")
    with pytest.raises(GitError):
        find(repo)


def test_a_long_path_puts_the_socket_into_the_runtime_directory(
    top: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path_factory.getbasetemp() / "r"
    run.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    short, long = find(make(f"{top}/short")), find(at_a_long_path(top)[0])
    if len(short.thrum_dir) < 80:
        assert short.socket == f"{short.var_dir}/thrum.sock"
    assert os.path.dirname(long.socket) == str(run / "git-thrum")
    assert os.stat(os.path.dirname(long.socket)).st_mode & 0o777 == 0o700
    assert long.socket == find(long.worktree or "").socket != find(make(f"{top}/{'other' * 30}")).socket


def test_a_long_runtime_directory_is_not_used_either(top: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / ("r" * 90)
    run.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    socket = find(at_a_long_path(top)[0]).socket
    assert len(os.fsencode(socket)) < 108 and os.stat(os.path.dirname(socket)).st_mode & 0o777 == 0o700


def test_a_repository_is_initialised_once_it_has_an_origin(repo: str) -> None:
    place = find(repo)
    assert not place.is_initialised
    write(f"{place.sync_dir}/origin", "0123456789abcdef\n")
    assert place.is_initialised


def test_worktrees_are_the_main_one_and_the_linked_ones_that_exist(repo: str, linked: str, top: str) -> None:
    settle(repo)
    for name in ("gone", "moved"):
        git(repo, "worktree", "add", "-q", f"{top}/{name}")
    shutil.rmtree(f"{top}/gone")
    shutil.rmtree(f"{top}/moved")
    make(f"{top}/moved")
    assert [place.worktree for place in worktrees(find(linked))] == [repo, linked]
    assert worktrees(find(repo)) == worktrees(find(linked))
    assert find(linked) in worktrees(find(repo))


def test_worktrees_of_a_bare_repository_are_its_linked_ones(top: str) -> None:
    start, *_ = in_linked_of_bare(top)
    assert [place.worktree for place in worktrees(find(f"{top}/bare.git"))] == [start]


def test_properties_follow_from_the_place() -> None:
    place = Place("/w", "/m/.git/worktrees/w", "/m/.git", "/m")
    assert place.is_linked and not place.is_bare and place.name == "w"
    assert place.mark == "/m/.git/worktrees/w/thrum-mark"
    assert place.database == "/m/.thrum/var/thrum.db"
    assert place.identities_dir == "/w/.thrum/identities"
    bare = Place(None, "/b.git", "/b.git", None)
    assert bare.is_bare and bare.identities_dir is None and bare.thrum_dir == "/b.git/thrum" and bare.name == "b"
    assert "b.git" in repr(bare) and len({place, bare, Place(None, "/b.git", "/b.git", None)}) == 2


def test_common_dir_at_tells_what_is_exactly_there(repo: str, linked: str) -> None:
    assert common_dir_at(repo) == common_dir_at(linked) == common_dir_at(f"{repo}/.git") == f"{repo}/.git"
    assert common_dir_at(os.path.dirname(repo)) is None


def test_import_is_light() -> None:
    heavy = "pygit2 subprocess pathlib re typing dataclasses inspect asyncio platformdirs hashlib collections"
    code = "import sys; sys.path.insert(0, '.'); import thrum.git.place; print(*sys.modules)"
    here = os.path.join(os.path.dirname(__file__), "..", "..")
    out = subprocess.run([sys.executable, "-ISc", code], cwd=here, capture_output=True, text=True, check=True).stdout
    assert not set(heavy.split()) & set(out.split())


def test_a_worktree_that_git_keeps_is_known_by_name_while_it_is_away(repo: str, linked: str) -> None:
    away = os.path.basename(linked)
    assert locked_away(find(repo)) == set()
    git(repo, "worktree", "lock", linked)
    assert locked_away(find(repo)) == set()
    os.rename(linked, linked + ".gone")
    assert locked_away(find(repo)) == {away}
    git(repo, "worktree", "unlock", linked)
    assert locked_away(find(repo)) == set()
