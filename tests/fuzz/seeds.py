"""What the fuzzers begin with: good input of every kind, poison of every kind, and words that parsers look for."""

import json

from tests import kit

POISON = [
    rb'{"a":"\ud800"}', rb'{"\udfff":1}', b'{"a":"\\u0000"}', '{"a":"\u2028"}'.encode(), b'{"a":' + b"9" * 5000 + b"}",
    b"[" * 5000, b'{"a":' * 200 + b"1" + b"}" * 200, b'{"a":1,"a":2}', b'{"a":9223372036854775808}', b'{"a":1e999}',
    b'{"a":NaN}', b'{"a":-0}', b'{"a":-0.0}', b'{"a":1E2}', b'\xef\xbb\xbf{}', b"\xff\xfe", b"\0" * 9, b"{}\r", b" {}\t", b"",
    b'{"a":18446744073709551616}', b'{"a":0.1e1}', b'{"a":9007199254740993.0}',
]  # fmt: skip
_EVENTS = [
    kit.message("ann", "hello", to=["bob"], scopes=[{"type": "module", "value": "core"}], seq=1, version=2),
    kit.message("ann", "x", 2, refs=[{"type": "mention", "value": "bob"}], thread_id="thr_1", structured="{}"),
    kit.event("message.edit", message_id="msg_1", body={"content": "y", "format": None}, version=3),
    kit.event("message.delete", message_id="msg_1", reason="z"),
    kit.event("message.read", agent_id="ann", message_ids=["msg_1"]),
    kit.event("thread.create", thread_id="thr_1", title="t", created_by="ann"),
    kit.register("ann"),
    kit.event("agent.cleanup", agent_id="ann"),
    kit.event("agent.session.start", session_id="ses_1", agent_id="ann", scopes=[]),
    kit.event("agent.session.update", session_id="ses_1", agent_id="ann", intent="i", add_refs=[], remove_refs=[]),
    kit.event("agent.session.end", session_id="ses_1", agent_id="ann"),
    kit.event("agent.update", agent_id="ann", work_contexts=[{"branch": "main", "unmerged_commits": [{"sha": "1"}]}]),
    {"type": "message.read", "timestamp": "2026-02-10T12:00:00Z", "agent_id": "ann", "message_ids": []},
]
EVENTS = [kit.raw(event) for event in _EVENTS]
_IDENTITY = {"version": 1, "agent": {"Name": "ann", "Role": "r", "Module": "m", "Display": "Ann"}}
_HOOKS = {"version": 1, "hooks": {"post-commit": {"path": "/x", "stub": "0", "original": None}}}
_STATE = {"remote": "origin", "reached": {"messages/ann/0000000000aa": [0, 7]}, "last_success": "x", "error": ""}
_SUBSCRIPTIONS = {"last": 1, "subscriptions": [{"id": 1, "session_id": "ses_1", "created_at": "x", "all": True}]}
_TREE = b"100644 a.jsonl\0" + bytes(20) + b"40000 messages\0" + bytes(range(20))

SEEDS = {
    "line": [*EVENTS, *POISON],
    "event": [*EVENTS, *POISON],
    "log": [EVENTS[0] + b"\n" + EVENTS[1] + b"\n\xfe" + EVENTS[0] + b"\n", b"a\nb\n\xfeb\nc"],
    "request": [
        b'{"jsonrpc":"2.0","id":1.50,"method":"m","params":{"a":1}}', b'[{"jsonrpc":"2.0","id":"x","method":"m"}]',
        b'{"jsonrpc":"2.0","id":null,"method":"\\ud800"}', *POISON,
    ],
    "stream": [b"\x05\x01\x02\x03ab\ncdef\n\ng", b"\0\0\0\0" + b"x" * 40 + b"\nab\n"],
    "tree": [
        _TREE, b"120000 ..\0" + bytes(20), b"128000 a\0" + bytes(20), b"100644 a/b\0" + bytes(20) + b"100644 \0" + bytes(20),
    ],
    "path": [b"messages/ann/0000000000aa/0000/00.jsonl", b"messages/ann.jsonl", b"events.jsonl", b"../events.jsonl"],
    "identity": [json.dumps(_IDENTITY).encode(), *POISON],
    "records": [
        *(json.dumps(value).encode() for value in (_HOOKS, _STATE, _SUBSCRIPTIONS)), b"17",
        b'{"tokens":[{"digest":"0","user_id":"user:leon"}]}', b'{"pid":1,"birth":"1"}',
        b'{"origin":"0000000000aa","path":"x","inode":1}', *POISON,
    ],
    "shown": ["a\x1b[31mred\u202e\u200b\U000e0041 caf\u00e9 \ud83d".encode("utf-8", "surrogatepass"), b"\x9b1m\xff"],
    "moment": [b"2026-02-10T12:00:00.5Z", b"2026-02-10", b"45m", b"0001-01-01T00:00:00+23:59", b"9999-12-31T23:59:60Z"],
    "address": [b"https://user:pass@host/x.git", b"git@host:a/b.git", b"ssh://git@[::1]:22/x?token=y", b"file:///x", b"//["],
    "options": [b"1h30m", b"300ms", b"1e9", b"module:auth", b'{"a":1}', b"nan"],
    "pointer": [b"gitdir: ../x\n", b"[core]\n\tbare = true\n\tworktree = /x\n", b"/x/.thrum\n", b"a\0b"],
    "staged": [b"\0\0\0\x01" + bytes(60) + b"\0\x01a" + bytes(7), b"DIRC\0\0\0\x02\0\0\0\0" + bytes(20)],
    "search": [b'"two words" merg* c++', b"NOT AND OR NEAR(", b'"', "\u65e5\u672c".encode(), b"a:b ^c -d"],
}  # fmt: skip
TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\u", b"\\ud83d", b"null", b"true", b"-0", b"1e999", b"9" * 20, b".", b"..",
    b"/", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b" ", b"@", b"://", b"[", b"Z", b"\xe2\x80\xa8", b"\xef\xbb\xbf",
    b"\x1b[", "\u202e".encode(), "\u0661".encode(), b"*", b"user:", b"gitdir: ", b"jsonl", b"\xfe",
]  # fmt: skip
