"""What is fuzzed: each target takes any bytes, and raises AssertionError, or anything, when a promise is broken."""

import contextlib
import json
import math
import os
import sqlite3
import tempfile
import unicodedata

from thrum.cli import arguments
from thrum.core import clock, codec, events, ids, jsonrpc, layout, printable, query, union
from thrum.core.codec import BadLine
from thrum.daemon import ownership, tokens
from thrum.errors import GitError, UsageError
from thrum.git import hookfiles, index, place
from thrum.git.command import redact
from thrum.git.objects import decode_tree, encode_tree
from thrum.git.place import Place
from thrum.store import identities, origin, reading, schema, stated, subscriptions
from thrum.store.projection import Fold
from thrum.sync import state

NOW = 1_770_724_800 * clock.SECOND
SOURCES = [
    layout.parse_path(path)
    for path in ("messages/ann/0000000000aa/0000/00.jsonl", "messages/ann.jsonl", "events.jsonl")
]
_FASTER = reading.faster_parse()
_FOLDER = tempfile.TemporaryDirectory(prefix="thrum-fuzz-")


def _words(data):
    return data.decode("utf-8", "surrogateescape")


def _file(name, data):
    path = f"{_FOLDER.name}/{name}"
    with open(path, "wb") as file:
        file.write(data)
    return path


def line(data):
    """Any line is an event or a BadLine; what was read is written on one line, and read again it is the same."""
    try:
        event = codec.decode(data)
    except BadLine:
        return
    with contextlib.suppress(ValueError):
        written = codec.encode(event)
        assert b"\n" not in written and b"\r" not in written
        again = codec.decode(written)
        assert codec.encode(again) == written
        assert set(again) == set(event)


def event(data):
    """Any event is checked, stated and folded, or set aside; both parsers agree on which, and on what it says."""
    data = data.replace(b"\n", b"")
    careful, fast = _parsed(events.parse, data), _parsed(_FASTER, data)
    assert (careful is None) is (fast is None)
    if careful is None:
        return
    assert codec.encode(careful) == codec.encode(fast)
    for field in set(careful) & _USED:
        assert repr(careful[field]) == repr(fast[field]), field
    for source in SOURCES:
        with contextlib.suppress(BadLine):
            statement = stated.read(source, len(data) + 1, data)
            assert isinstance(statement.at, int) and 0 <= statement.at <= clock.LATEST
            _fold(statement)


_USED = {*events._OPTIONAL, "type", "timestamp", "event_id"}
"""Fields whose values have an effect; in others a number may be read with fewer digits."""


def _parsed(parse, data):
    try:
        return parse(data)
    except BadLine:
        return None


def _fold(*statements):
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create(connection)
    schema.finish(connection)
    fold = Fold(connection, is_whole=False)
    fold.take(statements)
    fold.flush()
    connection.close()


def log(data):
    """A union is the same whichever copy is ours, holds every line of both, and is its own union."""
    one, _, other = data.partition(b"\xfe")
    both = union.unite(one, other)
    assert both == union.unite(other, one)
    assert set(union.split(both)) == set(union.split(one)) | set(union.split(other))
    assert union.unite(both, both) == both
    assert both == union.join(union.split(both)) or one == other


def request(data):
    """Any message is a request, a batch or a problem; an answer to it is one line of JSON with its own id."""
    found = jsonrpc.parse(data)
    for one in found if isinstance(found, list) else [found]:
        answer = jsonrpc.failure(one.id, -32600, "no")
        assert b"\n" not in answer
        given = json.loads(answer)
        assert given["error"]["message"] == "no" and ("id" in given) is (one.id is not None)
        if isinstance(one, jsonrpc.Request):
            assert isinstance(one.method, str) and isinstance(one.params, dict)
            one.method.encode()
            jsonrpc.encode(one.params)


def stream(data):
    """However a stream is cut, the lines are the same; one that is too long is told once, and not kept."""
    cuts, body = data[:4], data[4:] * 3
    limit = 8 + (cuts[0] if cuts else 0)
    whole = jsonrpc.Lines(limit).feed(body)
    pieces, found, at = jsonrpc.Lines(limit), [], 0
    for cut in [*cuts, len(body)]:
        found += pieces.feed(body[at : at + cut])
        assert pieces.held <= limit
        at += cut
    found += pieces.feed(body[at:])
    assert found == whole
    short = [part for part in body.split(b"\n")[:-1] if len(part) <= limit]
    assert [part for part in whole if part is not None] == short


def tree(data):
    """Any bytes are a tree or a GitError; a tree is written as it was read."""
    for size in (20, 32):
        with contextlib.suppress(GitError):
            entries = decode_tree(data, size)
            written = encode_tree(entries)
            assert decode_tree(written, size) == entries


def path(data):
    """A path that is taken for a log's stays below the root, names one file in every spelling, and is written back alike."""
    words = _words(data)
    found = layout.parse_path(words)
    if found is None:
        return
    assert os.path.normpath(words) == words and not os.path.isabs(words) and ".." not in words.split("/")
    assert words.isascii() and words.isprintable() and "\\" not in words and len(words) < 255
    assert words.endswith(".jsonl") and not any(part.startswith(".") for part in words.split("/"))
    assert found.is_legacy or layout.segment_path(found.owner, found.origin, found.segment) == words


def identity(data):
    """An identity file holds an identity with names that may stand in a path and in an option, or none."""
    found = identities.read(_file("identity.json", data))
    if found is not None:
        assert ids.is_agent_id(found.agent_id) and ids.is_role(found.role) and ids.is_role(found.module)
        codec.encode({"display": found.display})
        assert "/" not in ids.stem(found.agent_id) and not found.agent_id.startswith("-")


def records(data):
    """Whatever the small files of ours hold, reading them gives something of the right shape."""
    folder = _FOLDER.name
    for name in ("state.json", "subscriptions.json", "tokens.json", "thrum.pid", "origin", "hooks.json"):
        _file(name, data)
    here = Place(folder, folder, folder, folder)
    known = state.load(folder)
    assert isinstance(state.describe(known, folder, "0000000000aa", enabled=True, running=False)["sync_state"], str)
    assert isinstance(state.reached(known, "0000000000aa", SOURCES[0].path, 5), bool)
    subscriptions.Subscriptions(folder).of("ses_1")
    assert all(isinstance(one.user_id, str) for one in tokens._load(folder + "/tokens.json"))
    assert layout.is_part(1, origin.ensure(folder))
    for one in hookfiles.load_records(folder + "/hooks.json").values():
        assert isinstance(one["path"], str)
    os.makedirs(here.var_dir, exist_ok=True)
    with open(ownership.pid_path(here), "wb") as file:
        file.write(data)
    record = ownership._read_pid_file(here)
    assert isinstance(record, dict) and ownership._is_alive(record) in (True, False)


_VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
"""What Unicode counts among the invisible and everybody sees: signs that stand before a number or a name."""


def shown(data):
    """What is made safe holds nothing that steers a terminal or hides; it is safe already, and nothing readable is gone."""
    words = data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace") if _is_text(data) else _words(data)
    safe = printable.safe(words)
    safe.encode()
    assert printable.safe(safe) == safe
    for character in safe:
        assert character in "\n\t" + _VISIBLE or unicodedata.category(character) not in (
            "Cc",
            "Cf",
            "Cs",
            "Zl",
            "Zp",
        ), character
    assert "".join(filter(str.isalnum, words)).isascii() is False or all(c in safe for c in words if c.isalnum())


def _is_text(data):
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def moment(data):
    """A moment is a whole number that fits 63 bits, or none; and what is written of it is read again."""
    found = clock.moment(_words(data), NOW)
    if found is not None:
        assert isinstance(found, int) and found <= clock.LATEST
        assert found < 0 or clock.instant(clock.text(found)) == found


def address(data):
    """An address that is shown has no password in it, and is shown the same again; its normal form has nobody's name."""
    words = _words(data)
    once = redact(words)
    assert redact(once) == once
    secret = "hunter2"
    for shape in (
        "https://user:{}@host/x",
        "http://{}@host",
        "ssh://git:{}@host/x",
        "see https://host/?token={} there",
    ):
        assert secret not in redact(words + " " + shape.format(secret))
    with contextlib.suppress(ValueError):
        assert ids.normalise_url(words).startswith("https://")
        ids.repository_id(words)


def options(data):
    """A length of time is a sane number of seconds; a pair has two sides; anything else is a UsageError."""
    words = _words(data)
    with contextlib.suppress(UsageError):
        seconds = arguments.seconds(words)
        assert math.isfinite(seconds) and 0 <= seconds < 1e9
    with contextlib.suppress(UsageError):
        pair = arguments.pair("--scope", words)
        assert f"{pair['type']}:{pair['value']}" == words and pair["type"] and pair["value"]
    with contextlib.suppress(UsageError):
        assert arguments.structured(words) is None or isinstance(arguments.structured(words), dict)


def pointer(data):
    """A `.git` file, git's settings and a redirect may say anything; the redirect is ours or refused."""
    folder = _FOLDER.name + "/tree"
    os.makedirs(folder + "/.thrum", exist_ok=True)
    here = Place(folder, folder, folder, folder)
    for name in (".git", "commondir", "config", "gitdir", ".thrum/redirect"):
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
    for look in (place._pointed_at, place._read_line):
        found = look(folder + "/.git")
        assert found is None or "\0" not in found
    place._settings(folder)
    place.worktree_of(folder)
    place._common_dir(folder)
    with contextlib.suppress(GitError):
        place._check_redirect(here)
        assert os.path.realpath(os.fsdecode(data).removesuffix("\n")) == os.path.realpath(here.thrum_dir)


def staged(data):
    """An index is ours, and written as it was read, or none."""
    for size in (20, 32):
        body = b"DIRC\0\0\0\x02" + data
        for given in (data, body + index._digest(body, size)):
            same = index.amend(given, {}, size)
            assert same is None or index.amend(same, {}, size) == same


def search(data):
    """Whatever somebody looks for is a question that the index understands."""
    words = codec.settled_text(_words(data))
    expression = query.expression(query.parse(words))
    if expression:
        _WORDS.execute("SELECT COUNT(*) FROM words WHERE words MATCH ?", (expression,)).fetchone()


_WORDS = sqlite3.connect(":memory:", check_same_thread=False)
_WORDS.execute("CREATE VIRTUAL TABLE words USING fts5 (text)")

TARGETS = {
    function.__name__: function
    for function in (
        line, event, log, request, stream, tree, path, identity, records, shown, moment, address, options, pointer, staged,
        search,
    )
}  # fmt: skip
