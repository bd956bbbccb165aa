"""What other processes do is seen; our own noise is not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests import kit
from thrum import eventloop
from thrum.daemon import watch
from thrum.daemon.watch import Callbacks, Watch, agree
from thrum.git.place import Place, find

from .conftest import until


class Ears:
    def __init__(self) -> None:
        self.logs = 0
        self.marks: list[frozenset[str]] = []
        self.refs = 0

    def hear_logs(self) -> None:
        self.logs += 1

    def hear_refs(self) -> None:
        self.refs += 1

    @property
    def callbacks(self) -> Callbacks:
        return Callbacks(self.hear_logs, self.marks.append, self.hear_refs)

    @property
    def marked(self) -> set[str]:
        return {git_dir for marks in self.marks for git_dir in marks}


Scene = Callable[[Place, Ears], Awaitable[None]]


@pytest.fixture(params=["inotify", "polling"])
def eyes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways to look must see the same."""
    if request.param == "polling":
        monkeypatch.setattr(watch, "Observer", refuse)
        monkeypatch.setattr(watch, "POLL", 0.05)
    yield request.param


def refuse() -> None:
    raise OSError(24, "inotify instance limit reached")


def play(place: Place, scene: Scene, remote: str | None = None, remote_dir: str | None = None) -> None:
    async def whole() -> None:
        ears = Ears()
        eyes = Watch(place, remote, remote_dir, ears.callbacks)
        try:
            await scene(place, ears)
        finally:
            eyes.close()

    eventloop.run(whole())


def append(path: str, data: bytes = b"{}\n") -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as file:
        file.write(data)


def test_a_line_in_a_log_is_seen_whether_its_folder_is_old_or_new(place: Place, eyes: str) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        path = f"{place.log_root}/messages/ann/0000000000aa/0000/00.jsonl"
        append(path)
        await until(lambda: ears.logs)
        await asyncio.sleep(0.3)
        before = ears.logs
        append(path)
        await until(lambda: ears.logs > before)

    play(place, scene)


def test_v010s_logs_are_seen(place: Place, eyes: str) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        append(f"{place.log_root}/events.jsonl")
        await until(lambda: ears.logs == 1 or ears.logs > 1)
        before = ears.logs
        append(f"{place.log_root}/messages/old.jsonl")
        await until(lambda: ears.logs > before)

    play(place, scene)


def test_a_file_that_is_replaced_is_seen(place: Place, eyes: str) -> None:
    path = f"{place.log_root}/messages/ann/0000000000aa/0000/00.jsonl"
    append(path)

    async def scene(place: Place, ears: Ears) -> None:
        append(path + ".tmp", b"{}\n{}\n")
        os.replace(path + ".tmp", path)
        await until(lambda: ears.logs)

    play(place, scene)


def test_a_hooks_mark_is_seen_in_every_worktree(place: Place, eyes: str) -> None:
    assert place.worktree
    linked = find(str(kit.add_worktree(Path(place.worktree), "linked")))

    async def scene(place: Place, ears: Ears) -> None:
        for here in (place, linked):
            for _ in range(2):  # made, then written again
                ears.marks.clear()
                Path(here.mark).write_bytes(b"")
                await until(lambda here=here: here.git_dir in ears.marked)
                await asyncio.sleep(0.01)

    play(place, scene)


def test_the_first_linked_worktree_is_watched_too(repository: Path) -> None:
    place = find(str(repository))
    os.makedirs(place.log_root)

    async def scene(place: Place, ears: Ears) -> None:
        linked = await asyncio.to_thread(lambda: find(str(kit.add_worktree(repository, "late"))))
        ears.marks.clear()
        await asyncio.sleep(0.3)
        Path(linked.mark).write_bytes(b"")
        await until(lambda: linked.git_dir in ears.marked)

    play(place, scene)


def test_without_hooks_a_commit_and_a_checkout_are_seen_all_the_same(place: Place, eyes: str) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        assert place.worktree
        await asyncio.to_thread(kit.git, place.worktree, "commit", "-q", "--allow-empty", "-m", "second")
        await until(lambda: place.git_dir in ears.marked)
        ears.marks.clear()
        await asyncio.to_thread(kit.git, place.worktree, "checkout", "-q", "-b", "other")
        await until(lambda: place.git_dir in ears.marked)

    play(place, scene)


def test_many_marks_are_told_together(place: Place) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        for _ in range(200):
            Path(place.mark).write_bytes(b"")
        await until(lambda: ears.marks)
        await asyncio.sleep(0.3)
        assert len(ears.marks) < 20

    play(place, scene)


def test_marks_that_never_stop_are_told_within_seconds(place: Place) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        end = time.monotonic() + 20
        while not ears.marks and time.monotonic() < end:
            Path(place.mark).write_bytes(b"")
            await asyncio.sleep(0.01)
        assert ears.marks

    play(place, scene)


def test_our_own_noise_is_not_told(place: Place, eyes: str) -> None:
    async def scene(place: Place, ears: Ears) -> None:
        metadata = find_metadata(place)
        await asyncio.sleep(0.2)
        before = (ears.logs, ears.refs)
        for path in (
            f"{place.common_dir}/index.lock",
            f"{place.common_dir}/config.lock",
            f"{place.sync_dir}/sync.lock",
            f"{place.log_root}/.git.tmp",
            f"{metadata}/index",
            f"{metadata}/HEAD",
            f"{metadata}/logs/HEAD",
            f"{place.common_dir}/refs/heads/main",
        ):
            append(path, b"")
        with contextlib.suppress(FileNotFoundError):
            Path(f"{place.log_root}/messages/ann/x.jsonl").read_bytes()
        assert place.worktree
        await asyncio.to_thread(kit.git, place.worktree, "status")
        await asyncio.sleep(0.4)
        assert (ears.logs, ears.refs) == before
        assert metadata not in ears.marked

    play(place, scene)


def find_metadata(place: Place) -> str:
    """The git directory of the logs' own worktree."""
    return kit.git(place.log_root, "rev-parse", "--absolute-git-dir").strip()


def test_a_move_of_the_remotes_branch_is_seen(place: Place, bare_remote: Path, eyes: str) -> None:
    assert place.worktree
    kit.git(place.worktree, "remote", "add", "origin", str(bare_remote))
    assert not agree(place, "origin", str(bare_remote))

    async def scene(place: Place, ears: Ears) -> None:
        assert place.worktree
        await asyncio.to_thread(kit.git, place.worktree, "push", "-q", "origin", "a-sync")
        await until(lambda: ears.refs)
        assert agree(place, "origin", str(bare_remote))

    play(place, scene, "origin", str(bare_remote))


def test_a_fetch_by_hand_is_seen(place: Place, bare_remote: Path, eyes: str) -> None:
    assert place.worktree
    kit.git(place.worktree, "push", "-q", str(bare_remote), "a-sync")
    kit.git(place.worktree, "remote", "add", "origin", str(bare_remote))

    async def scene(place: Place, ears: Ears) -> None:
        assert place.worktree
        await asyncio.to_thread(kit.git, place.worktree, "fetch", "-q", "origin")
        await until(lambda: ears.refs)

    play(place, scene, "origin")


def test_where_nothing_can_be_watched_it_says_so_and_polls(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Exhausted(watch._Seen):
        def _add(self, *args: object, **kwargs: object) -> None:
            raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(watch, "_Seen", Exhausted)

    async def whole() -> None:
        eyes = Watch(place, None, None, Ears().callbacks)
        assert eyes.is_polling
        eyes.close()

    eventloop.run(whole())
    assert "inotify watch limit" in caplog.text


def test_a_folder_of_logs_that_was_healed_is_watched_again(place: Place, eyes: str) -> None:
    async def whole() -> None:
        ears = Ears()
        eyes = Watch(place, None, None, ears.callbacks)
        shutil.rmtree(place.log_root)
        eyes.renew()
        assert not os.path.exists(place.log_root)
        append(f"{place.log_root}/messages/ann/0000000000aa/0000/00.jsonl")
        eyes.renew()
        await until(lambda: ears.logs)
        await asyncio.sleep(0.3)
        before = ears.logs
        append(f"{place.log_root}/messages/ann/0000000000aa/0000/00.jsonl")
        await until(lambda: ears.logs > before)
        eyes.close()

    eventloop.run(whole())


def test_closing_leaves_no_thread(place: Place) -> None:
    import threading

    before = threading.active_count()

    async def scene(place: Place, ears: Ears) -> None:
        assert threading.active_count() > before

    play(place, scene)
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() == before
