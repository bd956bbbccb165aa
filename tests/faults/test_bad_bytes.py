"""Damage of every kind to every file of ours: it costs the lines it touches, it is named, and it goes no further."""

import contextlib
import glob
import json
import os
import shutil

import pytest

from tests import kit
from tests.faults import story
from tests.faults.story import Cast, look, tell
from tests.fuzz.seeds import POISON
from tests.sync.house import Clone, agree, broken, content, put, remote_tip, settle
from thrum.core import codec
from thrum.daemon import ownership, tokens
from thrum.engine import database_path
from thrum.errors import NotInitialised, ThrumError
from thrum.store import proof

LEGACY = ("events.jsonl", "messages/old.jsonl")
LINES = 12


@pytest.fixture
def met(pair, bare_remote):
    """Ann and Bob, who have said something that everybody has; v0.1.0's logs are there as well. `(ann, bob, sent)`."""
    ann, bob = pair
    old = [kit.message("old", f"of old {number}", number) for number in range(LINES)]
    threads = [kit.event("thread.create", n, thread_id=f"thr_{n}", title="t", created_by="old") for n in range(LINES)]
    ann.works()
    leaves = {"events.jsonl": threads, "messages/old.jsonl": old}
    written = {path: b"".join(kit.raw(event) + b"\n" for event in events) for path, events in leaves.items()}
    put(bare_remote, written, [remote_tip(bare_remote)])
    sent = [ann.send(f"number {number} " + "x" * number * 9) for number in range(LINES)]
    settle(ann, bob)
    return ann, bob, sent


def lines(data):
    return data.splitlines(keepends=True)


def swapped(data, rng):
    found = lines(data)
    at = rng.randrange(len(found) - 1)
    found[at], found[at + 1] = found[at + 1], found[at]
    return b"".join(found)


def flipped(data, rng, bits=1):
    damaged = bytearray(data)
    for _ in range(bits):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def blotted(data, rng):
    at = rng.randrange(len(data))
    size = min(rng.choice([1, 40, 300, 4096]), len(data) - at)
    return data[:at] + bytes(size) + data[at + size :]


def doubled(data, rng):
    start, end = sorted((rng.randrange(len(data)), rng.randrange(len(data))))
    return data[: data.rfind(b"\n", 0, end) + 1] + data[start:]


def without_one(data, rng):
    found = lines(data)
    del found[rng.randrange(len(found))]
    return b"".join(found)


def cut(data, rng):
    boundary = rng.choice([0, *(sum(map(len, lines(data)[:number])) for number in range(1, len(lines(data)) + 1))])
    return data[: max(boundary + rng.choice([-1, 0, 1]), 0)]


DAMAGE = {
    "cut": cut,
    "flipped": flipped,
    "flipped often": lambda data, rng: flipped(data, rng, 30),
    "blotted": blotted,
    "doubled": doubled,
    "swapped": swapped,
    "without a line": without_one,
    "CRLF": lambda data, rng: data.replace(b"\n", b"\r\n"),
    "BOM": lambda data, rng: b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data, rng: data.decode("utf-8", "replace").encode("utf-16"),
    "empty": lambda data, rng: b"",
    "noise": lambda data, rng: rng.randbytes(len(data)),
    "a line of noise": lambda data, rng: data + rng.randbytes(50).replace(b"\n", b"") + b"\n",
}
EVERY = list(DAMAGE.items())


def put_in_place(path, kind, target):
    """Something else where the file was."""
    os.unlink(path)
    if kind == "folder":
        os.makedirs(f"{path}/inside")
    elif kind == "link":
        os.symlink(target, path)
    elif kind == "dangling":
        os.symlink(f"{target}.nowhere", path)
    else:
        os.mkfifo(path)


def files_of(ann):
    return (ann.log, *LEGACY)


def test_a_damaged_log_is_mended_from_the_branch_and_nothing_spreads(met, bare_remote, rng, ledger, effort):
    """All of it was synced: whatever the damage, one cycle brings back every byte, and nobody else ever sees it."""
    ann, bob, sent = met
    whole = {path: ann.fragments()[path] for path in files_of(ann)}
    before = look_at(bob)
    for name, make in EVERY * effort(1, 6):
        for path in whole:
            damaged = make(whole[path], rng)
            with open(f"{ann.root}/{path}", "r+b") as file:
                file.truncate(0)
                file.write(damaged)
            ledger.fault()
            if rng.random() < 0.5:
                ann.engine.catch_up()
            ann.works()
            after = ann.fragments()[path]
            extra = set(lines(after)) - set(lines(whole[path]))
            assert set(lines(whole[path])) <= set(lines(after)), (name, path)
            if extra:  # a line of noise may stay, as may what stands for no line that is missing
                assert name in ("a line of noise", "doubled", "flipped often"), (name, path, extra)
                assert all(is_no_event(line) for line in extra), (name, path, extra)
                whole[path] = after
            assert proof.check(ann.root, database_path(ann.place), ann.origin) == [], (name, path)
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert look_at(bob) == before == look_at(ann)
    assert broken(ann.root) == []
    ledger.acknowledge(*sent)
    ledger.find(*(message for message in ann.messages() if message in sent))
    ledger.balance()


def look_at(clone):
    """What everybody sees of the messages: the rows without where their lines lie."""
    view = clone.view()
    return [{k: v for k, v in row.items() if k not in ("ends", "path")} for row in view["message"]], view["thread"]


def is_no_event(line):
    try:
        return "event_id" not in codec.decode(line.rstrip(b"\n"))
    except codec.BadLine:
        return True


def test_what_was_never_synced_costs_the_lines_it_touches(met, bare_remote, rng, ledger, effort):
    """Damage where nobody has a copy: the neighbours are read, are sent to everybody, and the doctor says where."""
    ann, bob, sent = met
    ann.works()
    for name, make in EVERY * effort(1, 2):
        fresh = [ann.send(f"fresh {number}") for number in range(4)]
        path = f"{ann.root}/{ann.log}"
        with open(path, "rb") as file:
            data = file.read()
        synced, news = data[: len(content(ann.path, ann.log))], data[len(content(ann.path, ann.log)) :]
        damaged = make(news, rng)
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(synced + damaged)
        ledger.fault()
        kept = set(damaged.split(b"\n")[:-1]) & set(news.split(b"\n"))
        good = [message for message, line in zip(fresh, news.split(b"\n"), strict=False) if line in kept]
        ledger.acknowledge(*good)
        sent += good
        assert set(good) <= set(ann.messages()), name
        sent.append(ann.send("goes on"))
        settle(ann, bob)
        for clone in (ann, bob):
            assert set(sent) <= set(clone.messages()), name
            assert clone.is_sound(), name
    agree(ann, bob, sent=sent, bare=bare_remote)
    ledger.find(*(message for message in bob.messages() if message in ledger.acknowledged))
    ledger.balance()


@pytest.mark.parametrize("where", ["segment", "folder", "origin", "owner", "events.jsonl", "messages/old.jsonl"])
def test_something_else_in_a_logs_place_is_set_aside(met, bare_remote, tmp_path, ledger, where):
    ann, bob, sent = met
    target = tmp_path / "precious"
    target.mkdir()
    (target / "file").write_bytes(b"keep\n")
    depth = {"segment": 5, "folder": 4, "origin": 3, "owner": 2}.get(where)
    path = "/".join(ann.log.split("/")[:depth]) if depth else where
    for number, kind in enumerate(["file" if depth and depth < 5 else "folder", "link", "dangling", "pipe"]):
        shutil.move(f"{ann.root}/{path}", tmp_path / f"away{number}")
        open(f"{ann.root}/{path}", "wb").close()
        if kind != "file":
            put_in_place(f"{ann.root}/{path}", kind, target)
        ledger.fault()
        ann.messages()
        told = broken(ann.root)
        aside = [os.path.basename(kept) for kept in glob.glob(f"{ann.place.sync_dir}/quarantine/*")]
        name = path.removeprefix("messages/").replace("/", ".")
        assert any(path in sentence for sentence in told) or any(kept.startswith(name) for kept in aside), (kind, told)
        if (
            kind == "pipe"
        ):  # without the numbers it had, the log begins again at one: nothing is lost, and doctor says so
            sent.append(ann.send("written at once"))
        ann.works()
        sent.append(ann.send("goes on"))
        agree(ann, bob, sent=sent, bare=bare_remote)
        assert kind == "pipe" or broken(ann.root) == [], kind
    assert (target / "file").read_bytes() == b"keep\n" and os.listdir(target) == ["file"]
    assert len(os.listdir(f"{ann.place.sync_dir}/quarantine")) >= 3


DEEP = b"[" * 100_000
WRONG = {"message.create": {"body": []}, "message.read": {"message_ids": {}}, "agent.update": {"work_contexts": [[]]}}
SHAPED = [kit.raw({**kit.message("mallory"), **fields, "type": kind}) for kind, fields in WRONG.items()]
HUGE = b'{"a":"' + b"x" * (4 * 1024 * 1024) + b'"}'
LARGE = kit.raw(kit.message("mallory", "y" * (4 * 1024 * 1024 - 500)))
TIMES = ["9999-12-31T23:59:59Z", "-1", "NaN", "1e999", "9" * 5000, "0000-00-00T00:00:00Z", "0001-01-01T00:00:00+14:00"]
TIMED = [kit.raw({**kit.message("mallory", f"at {number}"), "timestamp": time}) for number, time in enumerate(TIMES)]
ROUND = {
    one: kit.message(
        "mallory",
        one,
        message_id=f"msg_{one}",
        thread_id=f"thr_{other}",
        refs=[{"type": "reply_to", "value": f"msg_{other}"}],
    )
    for one, other in ("ab", "ba", "cc")
}
CYCLES = [*ROUND.values(), kit.event("thread.create", thread_id="thr_a", title="a", created_by="mallory")]
SURROGATE = kit.raw(kit.message("mallory", "half")).replace(b"half", rb"\ud800 \u0000 half")
TWICE = kit.raw(kit.message("mallory", "twice")).replace(b'"type"', b'"type":"x","type"')
VECTORS = [
    *(line for line in POISON if line and b"\n" not in line), DEEP, *SHAPED, *TIMED, *map(kit.raw, CYCLES), SURROGATE, TWICE,
    b"a\rb", '{"type":"x\u2028","timestamp":"\u0085","event_id":"\u000b"}'.encode(), b"\xed\xa0\x80",
    b'{"seq":9223372036854775808}',
]  # fmt: skip


@pytest.mark.parametrize("planted", ["log", "legacy", "remote"])
def test_poison_stays_where_it_is(met, bare_remote, ledger, planted):
    """Each vector between two honest lines: these arrive everywhere, everything stays byte for byte, the doctor names it."""
    ann, bob, sent = met
    honest = [kit.message("mallory", f"honest {number}", number) for number in range(len(VECTORS) + 1)]
    body = [kit.raw(honest[0])]
    for vector, word in zip([*VECTORS], honest[1:], strict=True):
        body += [vector, kit.raw(word)]
        ledger.fault()
    body += [LARGE, HUGE]
    path = "messages/mallory.jsonl" if planted == "legacy" else "messages/mallory/0000000000ff/0000/00.jsonl"
    data = b"".join(line + b"\n" for line in body)
    if planted == "remote":
        put(bare_remote, {path: data}, [remote_tip(bare_remote)])
    else:
        os.makedirs(os.path.dirname(f"{ann.root}/{path}"), exist_ok=True)
        with open(f"{ann.root}/{path}", "wb") as file:
            file.write(data)
    sent += [ann.send("after"), bob.send("after")]
    settle(ann, bob)
    wanted = [message["message_id"] for message in honest]
    ledger.acknowledge(*sent, *wanted)
    ledger.find(*(m for m in bob.messages() if m in ledger.acknowledged))
    ledger.balance()
    agree(ann, bob, sent=[*sent, *wanted], bare=bare_remote)
    assert set(body) == set(content(bare_remote, path).split(b"\n")) - {b""}
    for clone in (ann, bob):
        told = clone.engine.mail.bad_lines()
        assert len([bad for bad in told if bad["path"] == path]) >= 20
        with open(f"{clone.root}/{path}", "rb") as file:
            stored = file.read()
        for bad in told:
            assert bad["reason"] and stored[bad["offset"] :].partition(b"\n")[0] in body
        for method, params in story.QUESTIONS:
            if method != "subscriptions.list":
                clone.caller(method, **params)
        for thread in ("thr_a", "thr_b", "thr_c"):
            with contextlib.suppress(ThrumError):
                clone.caller("thread.get", thread_id=thread)
        for message in ("msg_a", "msg_c"):
            reply = clone.caller("message.reply", message_id=message, content="round and round")
            clone.caller("message.get", message_id=reply["message_id"], history=True)
    ended = story.program(ann.path, "doctor")
    assert ended.returncode == 1
    assert f"{path} at byte" in next(check["detail"] for check in ended.json["checks"] if check["name"] == "logs")


SMALL = ["state.json", "origin", "subscriptions.json", "tokens.json", "identity", "mark", "daemon.lock", "pid", "ws.port",
         "ws.token", "hooks.json", "sync.lock", "mended"]  # fmt: skip


@pytest.fixture
def house(repository):
    """A repository with a story, hooks and every small file. `(cast, {name: path})`."""
    kit.git(repository, "config", "thrum.wsPort", "0")
    cast = Cast(kit.set_up(repository), repository)
    tell(cast, 8)
    place = cast.engine.place
    sync, var = place.sync_dir, place.var_dir
    paths = {name: f"{sync}/{name}" for name in SMALL}
    paths |= {"mark": place.mark, "pid": ownership.pid_path(place), "ws.port": f"{var}/ws.port"}
    paths |= {"ws.token": tokens.token_path(place), "identity": f"{place.identities_dir}/ann.json"}
    assert story.program(repository, "hooks", "install").returncode == 0
    for path in paths.values():
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(b'{"pid": 1, "tokens": [], "remote": "origin"}\n')
    yield cast, paths
    cast.engine.close()


KINDS = [*DAMAGE, "folder", "link", "dangling", "pipe", "gone", "closed", "deep", "wrong types"]


@pytest.mark.parametrize("name", SMALL)
def test_a_small_file_of_ours_may_hold_anything(house, tmp_path, name, rng, ledger):
    """Never fatal: the next command works, or (identity and origin, which say who we are) says in a sentence what to do."""
    cast, paths = house
    path, repository = paths[name], cast.repository
    with open(path, "rb") as file:
        whole = file.read()
    (tmp_path / "precious").write_bytes(b"keep\n")
    for kind in KINDS:
        restore(path, whole)
        damage_small(path, kind, whole, rng, tmp_path / "precious")
        ledger.fault()
        cast.engine.close()
        if name == "origin":
            begun_again(repository)
        with contextlib.closing(kit.open_engine(repository)) as engine:
            again = Cast(engine, repository, hired=True)
            if name == "identity":
                assert len(look_as("bob", again)) == len(story.QUESTIONS)
                with contextlib.suppress(ThrumError):
                    again("ann", "message.send", content="who am I")
            else:
                assert len(look(again)) == 2 * len(story.QUESTIONS), kind
                again("ann", "message.send", content=f"after {kind}")
                again("ann", "subscribe", mention_role="bob")
                assert "sync_state" in again("ann", "sync.status")
                assert again("ann", "sync.force")["ok"], kind
    assert (tmp_path / "precious").read_bytes() == b"keep\n"
    ended = story.program(repository, "doctor")
    assert ended.returncode in (0, 1), ended


def begun_again(repository):
    """Without an origin, or something like it, nothing is done but what `init` does."""
    try:
        kit.open_engine(repository).close()
    except NotInitialised as refusal:
        assert "init" in refusal.hint
        kit.set_up(repository).close()


def look_as(who, cast):
    return [cast(who, method, **params) for method, params in story.QUESTIONS]


def restore(path, whole):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
    for aside in glob.glob(glob.escape(path) + ".*.aside"):
        shutil.rmtree(aside)
    with open(path, "wb") as file:
        file.write(whole)


def damage_small(path, kind, whole, rng, target):
    if kind in ("folder", "link", "dangling", "pipe"):
        put_in_place(path, kind, target)
    elif kind == "gone":
        os.unlink(path)
    elif kind == "closed":
        os.chmod(path, 0)
    elif kind in DAMAGE and whole:
        with open(path, "wb") as file:
            file.write(damaged_small(kind, whole, rng))
    else:
        with open(path, "wb") as file:
            file.write(DEEP if kind == "deep" else json.dumps(wrongly_typed(whole)).encode())


def damaged_small(kind, whole, rng):
    if kind in ("swapped", "without a line") and len(lines(whole)) < 2:
        return whole * 2
    try:
        return DAMAGE[kind](whole, rng)
    except UnicodeDecodeError:
        return whole


def wrongly_typed(whole):
    """The same document with lists for texts, texts for numbers, numbers for objects."""
    try:
        document = json.loads(whole)
    except ValueError:
        return [[]]
    changed = {str: [], int: "x", dict: 7, list: "y", bool: {}, float: None}
    return {key: changed.get(type(value), 0) for key, value in document.items()} if isinstance(document, dict) else {}


@pytest.mark.skipif(not story.MAY_BE_REFUSED, reason="root reads what it may not: needs setpriv to give that up")
def test_a_log_that_may_not_be_read_is_named_and_its_neighbours_are_read(met):
    ann, _bob, sent = met
    ann.engine.close()
    for path in LEGACY:
        os.chmod(f"{ann.root}/{path}", 0)
    ended = story.refused(ann.path, "sent", "--page-size", "100")
    assert ended.returncode == 0 and {message["message_id"] for message in ended.json["messages"]} == set(sent)
    ended = story.refused(ann.path, "doctor")
    assert ended.returncode == 1 and "messages/old.jsonl" in ended.stdout and "Permission denied" in ended.stdout
    assert story.refused(ann.path, "send", "still").returncode == 0
    assert story.refused(ann.path, "sync", "force").returncode == 0
    assert story.refused(ann.path, "doctor").returncode == 0


def test_newer_data_is_never_rewritten(met, bare_remote):
    """Events of a later version, with a `v`, types and fields of its own: they travel and stay byte for byte."""
    ann, bob, sent = met
    body = [
        kit.raw({**kit.event("weather.report", sunny=True), "v": 2}),
        kit.raw({**kit.message("zoe", "from the future"), "v": 99, "mood": {"a": [1.5, None]}}),
        b'{"v":3,"type":"message.create","timestamp":"2027","event_id":"e","message_id":"m","agent_id":"zoe","body":"compressed"}',
        b'{ "v" : 2, "type":"x.y", "timestamp":"2027-01-01T00:00:00Z", "event_id":"spaced", "n": 1.0e2 }',
    ]  # fmt: skip
    path, other = "messages/zoe/0000000000ff/0000/00.jsonl", "messages/zoe/0000000000ff/manifest.json"
    data = b"".join(line + b"\n" for line in body)
    put(bare_remote, {path: data, other: b'{"format":2}\n'}, [remote_tip(bare_remote)])
    sent += [ann.send("x"), bob.send("y")]
    agree(ann, bob, sent=sent, bare=bare_remote)
    assert set(content(bare_remote, path).split(b"\n")) == {*body, b""}
    assert content(bare_remote, other) == b'{"format":2}\n'
    for clone in (ann, bob):
        with contextlib.closing(Clone(clone.path)) as again:
            assert set(again.fragments()[path].split(b"\n")) == {*body, b""}
