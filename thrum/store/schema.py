"""The tables of the read model. Never migrated: another version number is another file, built anew from the logs.

A message's row holds the line that created it; `content`, `structured`, `updated_at` and `changed` (the same in nanoseconds)
are those of its last revision.
`at` is nanoseconds since 1970. `rank` orders competing statements about one thing without asking a clock: the statement's
own version, then (for v0.1.0's, which have none) its time, then its event id.
`purge` holds the marks (see core/purging.py) of the lines that are gone from a file, and `purged_root` the first commits of the
histories that still have them.
`activity` holds every thread there is, created or only named by messages, with the time of the last thing that happened in it.
`tally` and `seen` are what fold_tally.py and unread.py remember, so that nobody has to count; `skip` are unread.py's spans.
`change` is to edits and deletions what `message.seq` is to messages: the order in which they came in here; `after` is the
newest message then.
"""

from __future__ import annotations

import sqlite3

VERSION = 5

TABLES = """
CREATE TABLE purge (claim TEXT NOT NULL, path TEXT NOT NULL, marks BLOB NOT NULL, PRIMARY KEY (path, claim)) WITHOUT ROWID;
CREATE TABLE purged_root (oid TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE folder (path TEXT PRIMARY KEY, mtime INTEGER NOT NULL, ends TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (path TEXT PRIMARY KEY, inode INTEGER NOT NULL, position INTEGER NOT NULL,
  mtime INTEGER NOT NULL, proof BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE bad_line (path TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (path, offset)) WITHOUT ROWID;

CREATE TABLE message (
  seq INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, agent_id TEXT NOT NULL,
  thread_id TEXT, everyone INTEGER NOT NULL, at INTEGER NOT NULL, priority TEXT NOT NULL,
  line BLOB NOT NULL, content TEXT, structured TEXT, updated_at TEXT, changed INTEGER, edits INTEGER NOT NULL DEFAULT 0,
  deleted_at TEXT, delete_reason TEXT, path TEXT NOT NULL, ends INTEGER NOT NULL);
CREATE INDEX message_thread ON message (thread_id, at, message_id) WHERE thread_id IS NOT NULL;
CREATE TABLE revision (message_id TEXT NOT NULL, owner TEXT NOT NULL, rank TEXT NOT NULL, edited_at TEXT NOT NULL,
  content TEXT NOT NULL, structured TEXT, PRIMARY KEY (message_id, owner, rank)) WITHOUT ROWID;
CREATE TABLE deletion (message_id TEXT NOT NULL, owner TEXT NOT NULL, rank TEXT NOT NULL, deleted_at TEXT NOT NULL,
  reason TEXT, PRIMARY KEY (message_id, owner)) WITHOUT ROWID;
CREATE TABLE audience (address TEXT NOT NULL, at INTEGER NOT NULL, message_id TEXT NOT NULL, author TEXT NOT NULL,
  PRIMARY KEY (address, at, message_id)) WITHOUT ROWID;
CREATE TABLE tally (topic TEXT NOT NULL, address TEXT NOT NULL, author TEXT NOT NULL, messages INTEGER NOT NULL,
  PRIMARY KEY (topic, address, author)) WITHOUT ROWID;
CREATE TABLE tag (kind TEXT NOT NULL, type TEXT NOT NULL, value TEXT NOT NULL, at INTEGER NOT NULL,
  message_id TEXT NOT NULL, PRIMARY KEY (kind, type, value, at, message_id)) WITHOUT ROWID;
CREATE TABLE thread (thread_id TEXT PRIMARY KEY, title TEXT NOT NULL, created_by TEXT NOT NULL, created_at TEXT NOT NULL,
  at INTEGER NOT NULL, claim TEXT NOT NULL, scopes TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE activity (thread_id TEXT PRIMARY KEY, latest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE change (seq INTEGER PRIMARY KEY, message_id TEXT NOT NULL, after INTEGER NOT NULL, event_id TEXT NOT NULL);
CREATE TABLE participant (thread_id TEXT NOT NULL, agent_id TEXT NOT NULL, PRIMARY KEY (thread_id, agent_id)) WITHOUT ROWID;
CREATE TABLE read_mark (message_id TEXT NOT NULL, agent_id TEXT NOT NULL, PRIMARY KEY (message_id, agent_id)) WITHOUT ROWID;
CREATE TABLE seen (agent_id TEXT PRIMARY KEY, messages INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE skip (agent_id TEXT NOT NULL, hi INTEGER NOT NULL, lo INTEGER NOT NULL, PRIMARY KEY (agent_id, hi)) WITHOUT ROWID;

CREATE TABLE agent (agent_id TEXT PRIMARY KEY, kind TEXT NOT NULL, role TEXT NOT NULL, module TEXT NOT NULL,
  display TEXT NOT NULL, worktree TEXT NOT NULL, origin TEXT NOT NULL, registered_at TEXT NOT NULL, at INTEGER NOT NULL,
  version INTEGER NOT NULL, rank TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE retirement (agent_id TEXT PRIMARY KEY, version INTEGER NOT NULL, rank TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE presence (agent_id TEXT PRIMARY KEY, last_seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE session (session_id TEXT PRIMARY KEY, agent_id TEXT NOT NULL, started_at TEXT NOT NULL, at INTEGER NOT NULL,
  claim TEXT NOT NULL, origin TEXT NOT NULL, worktree TEXT NOT NULL, is_open INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE session_end (session_id TEXT NOT NULL, agent_id TEXT NOT NULL, rank TEXT NOT NULL, ended_at TEXT NOT NULL,
  reason TEXT NOT NULL, PRIMARY KEY (session_id, agent_id)) WITHOUT ROWID;
CREATE TABLE session_field (session_id TEXT NOT NULL, agent_id TEXT NOT NULL, field TEXT NOT NULL, rank TEXT NOT NULL,
  value TEXT NOT NULL, changed_at TEXT NOT NULL, PRIMARY KEY (session_id, agent_id, field)) WITHOUT ROWID;
CREATE TABLE session_pair (session_id TEXT NOT NULL, agent_id TEXT NOT NULL, kind TEXT NOT NULL, type TEXT NOT NULL,
  value TEXT NOT NULL, rank TEXT NOT NULL, present INTEGER NOT NULL,
  PRIMARY KEY (session_id, agent_id, kind, type, value)) WITHOUT ROWID;
CREATE TABLE context (agent_id TEXT NOT NULL, origin TEXT NOT NULL, slot TEXT NOT NULL, rank TEXT NOT NULL,
  document TEXT NOT NULL, PRIMARY KEY (agent_id, origin, slot)) WITHOUT ROWID;
"""

INDEXES = """
CREATE INDEX message_at ON message (at, message_id);
CREATE INDEX message_author ON message (agent_id, at, message_id);
CREATE INDEX activity_latest ON activity (latest DESC, thread_id);
CREATE INDEX session_agent ON session (agent_id, at);
CREATE INDEX session_open ON session (agent_id, at) WHERE is_open;
"""

SEARCH = frozenset({"words", "words_config", "words_content", "words_data", "words_docsize", "words_idx"})
"""The index of words and what FTS5 keeps it in; made at the first search."""
COUNTED = frozenset({"tally", "seen"})
"""Tables of counts; one of nothing says the same as none."""
LOCAL = frozenset({"state", "folder", "segment", "skip", "change"}) | SEARCH
"""Tables that say how far and in which order this database has read, not what the logs say."""


def database_in(folder: str) -> str:
    """The read model's file; its schema's version is part of the name, so versions never fight over one file."""
    return f"{folder}/thrum-{VERSION}.db"


def create(connection: sqlite3.Connection) -> None:
    """Makes the tables; `finish` makes the rest once they are filled."""
    connection.executescript(TABLES)


def empty(connection: sqlite3.Connection) -> None:
    """Takes every row away that came from the logs."""
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if name != "state":
            connection.execute(f"DELETE FROM {name}")


def finish(connection: sqlite3.Connection) -> None:
    """Makes the indexes that nobody needs while the tables are filled."""
    connection.executescript(INDEXES)
