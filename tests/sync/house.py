"""What the tests of the sync share: clones with somebody in them, and questions about what they hold."""

import contextlib
import json
import os
import subprocess
import threading

from tests import kit
from thrum.config import Settings
from thrum.git.objects import open_objects
from thrum.store import chains, history, proof, quarantine
from thrum.sync import state
from thrum.sync.cycle import Cycle

REF = "refs/heads/a-sync"


class Clone:
    """One repository with thrum in it and one agent at work there."""

    def __init__(self, path, name="", **settings):
        """Opens what is at `path`; with a `name`, sets thrum up there and hires somebody of that name."""
        self.path, self.settings = path, settings
        self.engine = kit.set_up(path) if name else kit.open_engine(path)
        self.place, self.origin = self.engine.place, self.engine.origin
        self.root = self.place.log_root
        self.name, self.is_damaged = name, False
        self.caller = kit.hire(self.engine, path, name, session=False) if name else None

    def close(self):
        self.engine.close()

    def send(self, text="hello", **params):
        """Sends to everyone; the message's id."""
        return self.caller("message.send", content=text, **params)["message_id"]

    def cycle(self, **settings):
        return Cycle(self.place, Settings(**{**self.settings, **settings}), self.origin, self.engine.catch_up)

    def sync(self, **settings):
        """One cycle, however it ends."""
        return self.cycle(**settings).run()

    def works(self, **settings):
        """One cycle that has to work; the next one, where the tests' own web server hung up on the first."""
        report = self.sync(**settings)
        if "Empty reply from server" in report.error:
            report = self.sync(**settings)
        assert report.ok, report
        return report

    @property
    def state(self):
        return state.load(self.place.sync_dir)

    def status(self):
        return state.describe(self.state, self.root, self.origin, enabled=True, running=False)

    @property
    def tip(self):
        return kit.git(self.path, "rev-parse", "--verify", "-q", REF, check=False).strip()

    @property
    def tree(self):
        return kit.git(self.path, "rev-parse", REF + "^{tree}").strip()

    @property
    def log(self):
        """The path of this agent's first segment, from the branch's root."""
        return f"messages/{self.name}/{self.origin}/0000/00.jsonl"

    def messages(self):
        """Every message in the read model, in order of id; one entry a row."""
        self.engine.catch_up()
        rows = self.engine.projection.connection.execute("SELECT message_id FROM message ORDER BY message_id")
        return [row[0] for row in rows]

    def view(self):
        """The read model without what is only this clone's own: arrival and place."""
        self.engine.catch_up()
        return kit.dump(self.engine.projection.connection)

    def is_sound(self):
        """The read model is the fold of the logs, the worktree is clean and git finds no fault."""
        from thrum.engine import database_path

        assert proof.check(self.root, database_path(self.place), self.origin) == []
        assert kit.git(self.root, "status", "--porcelain") == ""
        if self.is_damaged:
            kit.git(self.path, "gc", "-q", "--prune=now")
        else:
            fsck(self.path)
        kit.git(self.path, "rev-list", "--objects", "--quiet", REF)
        return True

    def fragments(self):
        """{path: content} on disk, without git's own pointer."""
        return {path: data for path, data in kit.files(self.root).items() if path != ".git"}


def broken(root):
    """A sentence for each place at which a log lacks something or was changed, and for each thing that is no log."""
    wanted = history.logs(root)
    parse = history.parser(root, wanted)
    breaks = (found for log in wanted for found in chains.breaks(history.read(root, log, parse)))
    return [*quarantine.misplaced(root), *(found.sentence for found in breaks)]


def fsck(path):
    done = subprocess.run(["git", "fsck", "--strict", "--no-dangling"], cwd=path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout


def remote_tip(bare):
    return kit.git(bare, "rev-parse", "--verify", "-q", REF, check=False).strip()


def move(bare, to):
    """Puts the remote's branch somewhere, by force; "" deletes it."""
    kit.git(bare, "update-ref", *([REF, to] if to else ["-d", REF]))


def settle(*clones, rounds=6):
    """Syncs in turns until nobody moves any more; how many rounds that took."""
    for number in range(rounds):
        before = [clone.tip for clone in clones]
        for clone in clones:
            clone.works()
        if [clone.tip for clone in clones] == before:
            return number
    raise AssertionError(f"no rest after {rounds} rounds")


def agree(*clones, sent=(), bare=None):
    """After quiet: the same tree and commit, the same bytes, the same read model, everything sent there once."""
    settle(*clones)
    first = clones[0]
    for clone in clones:
        assert clone.tree == first.tree
        assert clone.tip == first.tip
        assert clone.fragments() == first.fragments()
        found = clone.messages()
        assert len(found) == len(set(found))
        assert not set(sent) - set(found)
        assert clone.view() == first.view()
        assert clone.is_sound()
    if bare is not None:
        assert remote_tip(bare) == first.tip
        fsck(bare)


def put(path, tree, parents=(), ref=REF, message="hostile"):
    """Commits a whole tree in a repository: {path: bytes | (mode, bytes) | (mode, oid)}; the commit."""
    commands = []
    for name, leaf in tree.items():
        mode, content = leaf if isinstance(leaf, tuple) else ("100644", leaf)
        quoted = json.dumps(name, ensure_ascii=False).encode()
        if mode == "160000":
            commands.append(b"M 160000 %s %s\n" % (content.encode(), quoted))
        else:
            commands.append(b"M %s inline %s\ndata %d\n%s\n" % (mode.encode(), quoted, len(content), content))
    head = b"commit %s\ncommitter Eve <eve@example.org> 1770724800 +0000\ndata %d\n%s\n" % (
        ref.encode(),
        len(message),
        message.encode(),
    )
    chain = [b"%s %s\n" % (b"from" if not at else b"merge", parent.encode()) for at, parent in enumerate(parents)]
    given = head + b"".join(chain) + b"".join(commands)
    done = subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=path, input=given, capture_output=True)
    assert done.returncode == 0, done.stderr
    return remote_tip(path)


def raw_tree(path, *entries):
    """A tree object with names and modes no honest tool would write: (mode, name, oid) each; its id."""
    data = b"".join(b"%s %s\0%s" % (mode.encode(), name, bytes.fromhex(oid)) for mode, name, oid in entries)
    given = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    return subprocess.run(given, cwd=path, input=data, capture_output=True, check=True).stdout.decode().strip()


def listing(path, rev=REF):
    """{path: (mode, oid)} of every leaf of a commit."""
    out = subprocess.run(["git", "ls-tree", "-r", "-z", rev], cwd=path, capture_output=True, check=True).stdout
    found = {}
    for row in out.split(b"\0")[:-1]:
        head, name = row.split(b"\t", 1)
        mode, _, oid = head.decode().split()
        found[os.fsdecode(name)] = (mode, oid)
    return found


def content(path, name, rev=REF):
    """The bytes of one file of a commit."""
    return subprocess.run(
        ["git", "cat-file", "blob", f"{rev}:{name}"], cwd=path, capture_output=True, check=True
    ).stdout


@contextlib.contextmanager
def objects_of(clone):
    opened = open_objects(clone.place.common_dir)
    try:
        yield opened
    finally:
        opened.close()


def at_once(*works):
    """Runs functions in threads, all at once; the first exception is raised here."""
    failures = []
    barrier = threading.Barrier(len(works))

    def run(work):
        try:
            barrier.wait()
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def loose(path):
    """How many loose objects a repository has."""
    return int(kit.git(path, "count-objects").split()[0])
