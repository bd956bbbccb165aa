"""What the suites share: git, a repository with thrum in it, callers, and events written by hand."""

import itertools
import json
import os
import subprocess

from thrum.caller import Claim
from thrum.cli.founding import Founding
from thrum.config import Settings
from thrum.core import clock, codec
from thrum.engine import Engine
from thrum.git import place
from thrum.store import log, schema
from thrum.store.mailbox import Mailbox
from thrum.store.projection import Projection
from thrum.store.roster import Roster

GITCONFIG = """[user]
\tname = Nobody In Particular
\temail = nobody@example.org
[init]
\tdefaultBranch = main
[commit]
\tgpgsign = false
[protocol "file"]
\tallow = always
"""
NOON = 1_770_724_800 * clock.SECOND
"""2026-02-10T12:00:00Z in nanoseconds."""
HERE, THERE = "0000000000aa", "0000000000bb"
"""Two origins for logs written by hand."""
_ids = itertools.count(1)


def git(cwd, *arguments, check=True):
    """Runs git as a person would; its standard output."""
    done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert not check or done.returncode == 0, (arguments, done.stderr)
    return done.stdout


def make_repository(path):
    """A git repository at `path` with one commit on `main`."""
    path.mkdir(parents=True, exist_ok=True)
    git(path, "init", "-q")
    (path / "readme").write_text("hello\n")
    git(path, "add", "readme")
    git(path, "commit", "-q", "-m", "first")
    return path


def set_up(path, **settings):
    """Puts thrum into the repository at `path` the way `init` does, and opens an engine on it."""
    founding = Founding(place.find(str(path)))
    founding.make_house()
    founding.make_worktree_ready()
    founding.make_origin()
    founding.make_branch(None)
    return open_engine(path, **settings)


def open_engine(path, **settings):
    """One more engine on a repository that has thrum in it."""
    return Engine(place.find(str(path)), Settings(sync=False, **settings))


class Caller:
    """Somebody in a worktree who calls methods: `anna("message.send", content="hi")`."""

    def __init__(self, engine, cwd, name="", **environ):
        self.engine = engine
        self.claim = Claim(cwd=str(cwd), name=name, environ=environ)

    def __call__(self, method, /, **params):
        return self.engine.call(method, params, self.claim)


def hire(engine, cwd, name, role="implementer", module="core", session=True):
    """Registers an agent in the worktree `cwd` and, unless told otherwise, starts its session; its caller."""
    caller = Caller(engine, cwd, name)
    caller("agent.register", role=role, module=module, name=name)
    if session:
        caller("session.start")
    return caller


class Ear:
    """A session of `caller` that listens: `hear()` gives what is new since the last time."""

    def __init__(self, engine, caller, name):
        self.engine, self.name = engine, name
        self.session_id = caller("agent.whoami")["session_id"]
        self.cursor = engine.cursor()

    def hear(self):
        told = self.engine.notices(self.name, self.session_id, self.cursor)
        self.cursor = told.cursor
        self.ended = told.ended
        return told.items

    def messages(self):
        return [item["params"] for item in self.hear() if item["method"] == "notification.message"]


def add_worktree(repository, name):
    """A linked worktree beside `repository`, on a branch of that name."""
    path = repository.parent / name
    git(repository, "worktree", "add", "-q", "-b", name, str(path))
    return path


def event(kind, at=0, /, **fields):
    """An event `at` seconds after noon; an id of its own unless one is given."""
    made = {"type": kind, "timestamp": clock.text(NOON + int(at * clock.SECOND)), "event_id": f"evt_{next(_ids):026d}"}
    return {**made, **fields}


def message(author, text="hello", at=0, **fields):
    """A `message.create`; to everyone unless told otherwise."""
    made = event("message.create", at, agent_id=author, body={"format": "markdown", "content": text})
    made["message_id"] = "msg_" + made["event_id"][4:]
    return {**made, **fields}


def register(agent, role="implementer", at=0, **fields):
    """An `agent.register`."""
    return event("agent.register", at, agent_id=agent, kind="agent", role=role, module="core", **fields)


class Branch:
    """A folder of logs written by hand, and the read model of them."""

    def __init__(self, folder, own=HERE):
        self.folder, self.own = str(folder), own
        self.root = f"{folder}/a-sync"
        self.database = f"{folder}/var/thrum.db"
        os.makedirs(self.root, exist_ok=True)
        self.projection = self.open()
        self.mail = Mailbox(lambda: self.projection.connection)
        self.roster = Roster(lambda: self.projection.connection)

    def open(self):
        """One more projection of the same logs into the same database."""
        return Projection(self.root, self.database, self.own)

    def path(self, name):
        """The absolute path of a log file, its folder made."""
        path = f"{self.root}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def append(self, name, *lines):
        """Appends events or raw lines to a log file, as its writer would."""
        with open(self.path(name), "ab") as file:
            file.write(b"".join(raw(line) + b"\n" for line in lines))

    def replace(self, name, *lines):
        """Makes these lines the file's content, by rename, as the sync does."""
        path = self.path(name)
        with open(path + ".new", "wb") as file:
            file.write(b"".join(raw(line) + b"\n" for line in lines))
        os.replace(path + ".new", path)

    def say(self, owner, *stated, origin=HERE, segment=0):
        """Appends events to an agent's log."""
        self.append(f"messages/{owner}/{origin}/0000/{segment:02x}.jsonl", *stated)

    def catch_up(self):
        """What is new is applied."""
        return self.projection.catch_up()

    def close(self):
        """Lets go of the database."""
        self.projection.database.close()

    def tables(self, **options):
        """Everything the logs say, as the read model has it; without arrival numbers."""
        return dump(self.projection.connection, **options)

    def rebuilt(self):
        """What a fold from scratch makes of the same logs."""
        fresh = Projection(self.root, f"{self.folder}/fresh/{next(_ids)}.db", self.own)
        fresh.catch_up()
        try:
            return dump(fresh.connection)
        finally:
            fresh.database.close()


def write_log(root, owner, *stated, origin=THERE):
    """Appends events to an agent's log below `root`, as another clone (or `origin`) would."""
    path = f"{root}/messages/{owner}/{origin}/0000/00.jsonl"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "ab") as file:
        file.write(b"".join(raw(event) + b"\n" for event in stated))


def raw(line):
    """The bytes of a log's line: canonical for an event, as they are for bytes."""
    return line if isinstance(line, bytes) else codec.encode(line)


def chained(events, origin=HERE, start=1, prev=""):
    """Lines of one log, numbered and chained as the log's writer does."""
    lines = []
    for seq, stated in enumerate(events, start):
        line = codec.encode({**stated, "v": 1, "origin": origin, "seq": seq, "prev": prev})
        prev = log.line_hash(line)
        lines.append(line)
    return lines


def dump(connection, *, without=("seq",)):
    """All tables that say what the logs say: {table: sorted rows}; `without`: columns of `message` left out."""
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for name in sorted(set(names) - schema.LOCAL):
        cursor = connection.execute(f"SELECT * FROM {name}")
        columns = [column[0] for column in cursor.description]
        kept = [i for i, column in enumerate(columns) if not (name == "message" and column in without)]
        rows = [{columns[i]: row[i] for i in kept} for row in cursor]
        if name in schema.COUNTED:
            rows = [row for row in rows if row["messages"]]
        found[name] = sorted(rows, key=repr)
    return found


def files(root):
    """{path: content} of everything below `root`."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                found[os.path.relpath(os.path.join(folder, name), root)] = file.read()
    return found


def fixture(name):
    """The JSON document `fixtures/<name>`."""
    with open(os.path.join(FIXTURES, name), encoding="utf-8") as file:
        return json.load(file)


FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fixtures")
