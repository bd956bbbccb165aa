"""A full disk, a read-only one, one that fails: a clear error, no half line, reading goes on, and service when it is over.

Nothing of it ends with `this is a bug of ours`, and nobody has to start anything again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests import kit
from tests.faults import powercut, scene, trace, workday
from tests.faults.away import away
from tests.faults.daemons import send, sending, serve, until_it_serves
from tests.sync.house import fsck
from thrum.errors import GitError, RemoteError, StorageError
from thrum.git import place

needs_tracing = pytest.mark.skipif(not trace.IS_POSSIBLE, reason="system calls are stopped on Linux on x86-64 only")
needs_mounts = pytest.mark.skipif(bool(powercut.is_possible()), reason=powercut.is_possible() or "-")
FULL = ("write", "pwrite64", "openat", "open", "mkdir", "link", "symlink", "rename")
"""Calls that a full disk refuses."""
FLUSHES = ("fsync", "fdatasync")
TROUBLES = {
    "ENOSPC": FULL,
    "EDQUOT": FULL,
    "EIO": (*FULL, *FLUSHES, "ftruncate", "unlink"),
    "EROFS": ("openat", "open", "mkdir", "link", "symlink", "rename", "unlink", "truncate"),
    "EINTR": (*FLUSHES, "write", "pwrite64"),
    "short": ("write", "pwrite64"),
}
CODES = {StorageError.code, GitError.code, RemoteError.code}


@needs_tracing
@pytest.mark.parametrize("trouble", sorted(TROUBLES))
@pytest.mark.parametrize("work", ["write_and_read", "hire_and_sync", "several_at_once"])
def test_any_call_on_the_disk_may_fail(ledger, rng, effort, work, trouble):
    short, long = {"write_and_read": (40, 8), "hire_and_sync": (100, 24), "several_at_once": (12, 2)}[work]
    stride = effort(short, long)
    away(
        ledger, sweep_troubles, seconds=3000, work=work, trouble=trouble, stride=stride, first=1 + rng.randrange(stride)
    )


def sweep_troubles(ledger, work, trouble, stride, first):
    """Every `stride`-th call fails once, and in another run from there on; then the disk is well again."""
    for lasting in (False, True) if trouble != "EINTR" else (False,):
        kind = {"what": trouble, "lasting": lasting, "only": TROUBLES[trouble]}
        sweep(ledger, patiently, work, kind, itertools.count(first, stride))


def sweep(ledger, how, work, kind, points):
    """Fails one call after the other of the work. A repository is left after a while: it grows, and so does the work."""
    is_hit = True
    while is_hit:
        with scene.folder() as folder:
            repo = scene.with_people(folder / "shop", folder / "origin.git")
            books = workday.Books(ledger, repo)
            for point in itertools.islice(points, scene.STRETCH):
                at = trace.Point(point, within=repo, **kind)
                tag = f"k{point}x" if kind.get("lasting") else f"k{point}"
                run, said, complaint = workday.play(how, at, getattr(workday, work), repo, tag)
                books.take(said)
                is_hit = bool(run.hit)
                ledger.fault(int(is_hit))
                assert run.code == 0, (point, run.hit, kind, complaint)
                everything_is_whole(repo)
                books.heals(f"{kind} at {point}: {run.hit}", sound=False)
                if not is_hit:
                    break
            fsck(repo)
            books.leaves_no_litter()


def patiently(work, repo, tag):
    """Does the work; a refusal is in order if it is a clear one. Then somebody reads, as well as that is possible."""
    try:
        work(repo, tag)
    except workday.CommandFailed as failed:
        is_a_clear_refusal(*failed.args)
    try:
        workday.thrum(repo, "--name", "bob", "inbox", "--peek")
    except workday.CommandFailed as failed:
        raise AssertionError("reading did not go on") from failed


def is_a_clear_refusal(words, code, said):
    """Exit 1, one of our codes, and a next step."""
    assert code == 1, (words, code, said)
    told = workday.json.loads(said)
    if "error" in told and isinstance(told["error"], dict):
        assert told["error"]["code"] in CODES, (words, told)
        assert told["error"]["hint"], (words, told)
    else:
        assert words[0] == "sync" and told["error"] and told["hint"], (words, told)


def everything_is_whole(repo):
    """No log ends in the middle of a line."""
    for path, data in kit.files(place.find(repo).log_root).items():
        if path.endswith(".jsonl"):
            assert not data or data.endswith(b"\n"), f"{path}: {data[-60:]!r}"


@needs_tracing
@pytest.mark.parametrize("work", ["write_and_read", "hire_and_sync"])
def test_any_read_may_fail(ledger, rng, effort, work):
    stride = effort(
        {"write_and_read": 80, "hire_and_sync": 160}[work], {"write_and_read": 16, "hire_and_sync": 60}[work]
    )
    away(ledger, sweep_reads, seconds=3000, work=work, stride=stride, first=1 + rng.randrange(stride))


def sweep_reads(ledger, work, stride, first):
    """Every `stride`-th read of a file in the repository fails once: nothing is taken for empty, nothing is lost by it."""
    kind = {"what": "EIO", "only": tuple(trace.READS)}
    sweep(ledger, again, work, kind, itertools.count(first, stride))


def again(work, repo, tag):
    """Does the work, and reads; whichever met the failure is refused clearly. That it works afterwards is looked at later."""
    try:
        work(repo, tag)
        workday.thrum(repo, "--name", "bob", "inbox", "--peek")
    except workday.CommandFailed as failed:
        is_a_clear_refusal(*failed.args)


@needs_tracing
def test_a_flush_that_failed_is_never_acknowledged_though_the_next_one_works(ledger, effort):
    away(ledger, fail_flushes)


def fail_flushes(ledger):
    """The line is cut off again; a reader who saw it meanwhile forgets it; the same request later is one message."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop")
        books = workday.Books(ledger, repo)
        for number, point in enumerate(("fdatasync", "fsync")):
            at = trace.Point(1, "EIO", only=(point,), within=f"{repo}/.git/thrum-sync/a-sync/messages")
            run, said, _ = workday.play(send_under, at, repo, f"r{number}")
            ledger.fault()
            if run.hit:
                assert "ACK" not in said and "REFUSED" in said
            made = {
                workday.thrum(repo, "--name", "ann", "send", "--request-id", f"r{number}", "x")["message_id"]
                for _ in "ab"
            }
            assert len(made) == 1
            books.take(f"ACK send {made.pop()}\n")
        books.leaves_no_litter()


def send_under(repo, request):
    try:
        made = workday.thrum(repo, "--name", "ann", "send", "--request-id", request, "x")
        workday.acknowledge("send", made["message_id"])
    except workday.CommandFailed as failed:
        is_a_clear_refusal(*failed.args)
        os.write(1, b"REFUSED\n")


@contextlib.contextmanager
def memory(path: str, options: str) -> Iterator[str]:
    """A small file system in memory."""
    mounted = f"{path}/mounted"
    os.makedirs(mounted, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], check=True)
    try:
        yield mounted
    finally:
        os.chdir("/")
        subprocess.run(["umount", "-l", mounted], check=True)


@needs_mounts
@pytest.mark.parametrize(("options", "fill"), [("size=12m", "fill_room"), ("size=64m,nr_inodes=1200", "fill_inodes")])
def test_a_disk_that_fills_up_under_a_daemon(ledger, effort, outlet, options, fill):
    away(ledger, fill_up, seconds=3000, outlet=outlet, options=options, fill=fill, steps=effort(6, 15))


def fill_up(ledger, outlet, options, fill, steps):
    """What is left of it shrinks step by step. Sends are refused clearly, reading goes on, and with room all is as before."""
    with memory(outlet, options) as mounted:
        repo = scene.with_people(powercut.Path(mounted, "shop"), powercut.Path(mounted, "origin.git"))
        books = workday.Books(ledger, repo)
        daemon = trace.spawn(lambda: serve(repo), err=2)
        try:
            until_it_serves(repo)
            for step in range(steps):
                books.take(f"ACK send {asked(repo, 'message.send', content='before')['result']['message_id']}\n")
                globals()[fill](mounted, left=step)
                ledger.fault()
                refused = use_a_full_disk(books, repo)
                assert refused, "it was never full"
                everything_is_whole(repo)
                empty(mounted)
                answer = asked(repo, "message.send", content="room again")
                books.take(f"ACK send {answer['result']['message_id']}\n")
        finally:
            os.kill(daemon, signal.SIGTERM)
            assert os.waitpid(daemon, 0)[1] == 0
        books.heals("with room again")
        books.leaves_no_litter()


def use_a_full_disk(books, repo):
    """Sends through the daemon until it refuses, then by a command, reads by both, and syncs; how often it was refused."""
    refused = 0
    for number in range(400):
        answer = asked(repo, "message.send", content=f"{number} " + "x" * 3000)
        if "error" in answer:
            assert answer["error"]["code"] == StorageError.code, answer
            assert answer["error"]["data"]["hint"], answer
            refused += 1
            break
        books.take(f"ACK send {answer['result']['message_id']}\n")
    assert "result" in asked(repo, "message.list"), "the daemon does not read any more"
    for words in (
        ["--name", "ann", "inbox", "--peek"],
        ["--name", "ann", "sent"],
        ["status", "--name", "ann"],
        ["search", "before"],
    ):
        workday.thrum(repo, "--name", "ann", *[word for word in words if word not in ("--name", "ann")])
    with contextlib.suppress(workday.CommandFailed):
        workday.thrum(repo, "sync", "force")
    with workday.engine_on(repo) as engine:
        books.check(engine)
    return refused


def asked(repo, method, **params):
    import json

    asking = json.loads(sending(repo, "ann", ""))
    return send(repo, {**asking, "method": method, "params": {**params, "caller": {"cwd": repo, "name": "ann"}}})


def fill_room(mounted, left):
    """Fills the disk up to `left` pages."""
    with contextlib.suppress(OSError), open(f"{mounted}/ballast", "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    size = max(os.path.getsize(f"{mounted}/ballast") - left * 4096, 0)
    os.truncate(f"{mounted}/ballast", size)


def fill_inodes(mounted, left):
    made = []
    with contextlib.suppress(OSError):
        while True:
            made.append(f"{mounted}/ballast{len(made)}")
            open(made[-1], "x").close()
    for path in made[-1 - left : -1]:
        os.unlink(path)


def empty(mounted):
    for name in os.listdir(mounted):
        if name.startswith("ballast"):
            os.unlink(f"{mounted}/{name}")


@needs_mounts
def test_a_disk_that_becomes_read_only_under_a_daemon(ledger, outlet):
    away(ledger, become_read_only, outlet=outlet)


def become_read_only(ledger, outlet):
    """Sends are refused and say why, reading goes on in the daemon and in commands; with the disk writable all is as before."""
    with memory(outlet, "size=64m") as mounted:
        repo = scene.with_people(powercut.Path(mounted, "shop"), powercut.Path(mounted, "origin.git"))
        books = workday.Books(ledger, repo)
        daemon = trace.spawn(lambda: serve(repo), err=2)
        try:
            until_it_serves(repo)
            books.take(f"ACK send {asked(repo, 'message.send', content='before')['result']['message_id']}\n")
            subprocess.run(["mount", "-o", "remount,ro", mounted], check=False)
            read_only = os.statvfs(mounted).f_flag & os.ST_RDONLY
            if read_only:
                ledger.fault()
                use_a_read_only_disk(books, repo)
                subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
            answer = asked(repo, "message.send", content="again")
            books.take(f"ACK send {answer['result']['message_id']}\n")
        finally:
            os.kill(daemon, signal.SIGTERM)
            assert os.waitpid(daemon, 0)[1] == 0
        subprocess.run(["mount", "-o", "remount,ro", mounted], check=True)
        ledger.fault()
        use_a_read_only_disk(books, repo, with_daemon=False)
        subprocess.run(["mount", "-o", "remount,rw", mounted], check=True)
        books.heals("writable again")
        books.leaves_no_litter()


def use_a_read_only_disk(books, repo, with_daemon=True):
    if with_daemon:
        answer = asked(repo, "message.send", content="no")
        assert answer["error"]["code"] == StorageError.code and "read-only" in str(answer["error"]), answer
        assert asked(repo, "message.list")["result"]["messages"]
    with pytest.raises(workday.CommandFailed) as failed:
        workday.thrum(repo, "--name", "ann", "send", "no")
    is_a_clear_refusal(*failed.value.args)
    assert "read-only" in failed.value.args[2].lower()
    assert workday.thrum(repo, "--name", "bob", "inbox", "--peek")["messages"]
    with pytest.raises(workday.CommandFailed) as failed:
        workday.thrum(repo, "quickstart", "--role", "x", "--module", "x", "--name", "xxx")
    is_a_clear_refusal(*failed.value.args)
    with workday.engine_on(repo) as engine:
        books.check(engine)


@pytest.mark.skipif(os.name != "posix", reason="needs limits")
def test_a_limit_on_the_size_of_files_at_any_byte_of_a_line(ledger, effort):
    away(ledger, limit_sizes, seconds=3000, stride=effort(97, 11))


def limit_sizes(ledger, stride):
    """RLIMIT_FSIZE lets a write take some bytes of a line and no more, at every `stride`-th byte of it."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop")
        books = workday.Books(ledger, repo)
        while os.path.getsize(tail_of(repo, "ann")) < 40_000:
            books.take(f"ACK send {workday.thrum(repo, '--name', 'ann', 'send', 'x' * 9000)['message_id']}\n")
        size = os.path.getsize(tail_of(repo, "ann"))
        for more in range(0, 2000, stride):
            out, err = os.memfd_create("out"), os.memfd_create("err")
            child = trace.spawn(lambda limit=size + more: send_limited(repo, limit), out=out, err=err)
            status = os.waitpid(child, 0)[1]
            assert status == 0, os.pread(err, 1 << 16, 0).decode()
            said = os.pread(out, 1 << 16, 0).decode()
            books.take(said)
            ledger.fault("REFUSED" in said)
            everything_is_whole(repo)
            size = os.path.getsize(tail_of(repo, "ann")) if "ACK" in said else size
            assert os.path.getsize(tail_of(repo, "ann")) == size
        books.leaves_no_litter()


def tail_of(repo, name):
    here = place.find(repo)
    with workday.engine_on(repo) as engine:
        return f"{here.log_root}/messages/{name}/{engine.origin}/0000/00.jsonl"


def send_limited(repo, size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    send_under(repo, "")


def test_few_descriptors_are_a_refusal_and_no_spin(ledger):
    away(ledger, limit_descriptors)


def limit_descriptors(ledger):
    """Whatever is missing first, it ends soon, with a sentence; and nothing is left half done."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop", folder / "origin.git")
        books = workday.Books(ledger, repo)
        for most in range(6, 26):
            err = os.memfd_create("err")
            child = trace.spawn(lambda most=most: send_with_few(repo, most), err=err)
            began = time.monotonic()
            assert os.waitpid(child, 0)[1] == 0, (most, os.pread(err, 1 << 16, 0).decode())
            assert time.monotonic() - began < 60
            ledger.fault()
            everything_is_whole(repo)
        books.heals("with descriptors")
        books.leaves_no_litter()


def send_with_few(repo, most):
    out = os.memfd_create("out")
    os.chdir(repo)
    os.dup2(out, 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    code = workday.main(["--name", "ann", "send", "few", "--json"])
    assert code in (0, 1), os.pread(out, 1 << 16, 0)


def test_a_reader_that_is_gone_or_full_leaves_the_messages_unread(ledger):
    away(ledger, lose_the_output)


def lose_the_output(ledger):
    """What went into /dev/full or a closed pipe was not read."""
    with scene.folder() as folder:
        repo = scene.with_people(folder / "shop")
        books = workday.Books(ledger, repo)
        for with_daemon in (False, True):
            if with_daemon:
                daemon = trace.spawn(lambda: serve(repo), err=2)
                until_it_serves(repo)
            for words in (["inbox"], ["wait", "--timeout", "5s"], ["--json", "inbox"]):
                sent = workday.thrum(repo, "--name", "ann", "send", "unread", "--to", "@bob")["message_id"]
                books.take(f"ACK send {sent}\n")
                for output in (full, closed):
                    child = trace.spawn(lambda words=words, output=output: show(repo, words, output), err=2)
                    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in (1, 2)
                    ledger.fault()
                    unread = workday.thrum(repo, "--name", "bob", "inbox", "--unread", "--page-size", "100")["messages"]
                    assert sent in {message["message_id"] for message in unread}
        os.kill(daemon, signal.SIGTERM)
        os.waitpid(daemon, 0)
        books.leaves_no_litter()


def show(repo, words, output):
    os.chdir(repo)
    os.dup2(output(), 1)
    return workday.main(["--name", "bob", *words])


def full():
    return os.open("/dev/full", os.O_WRONLY)


def closed():
    reader, writer = os.pipe()
    os.close(reader)
    return writer
