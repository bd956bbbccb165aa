"""Hypothesis strategies for what logs may hold: honest agents, v0.1.0's files, and somebody who pushes what he likes."""

from hypothesis import strategies as st

from tests import kit

AGENTS = ("ann", "bob", "cat")
ROLES = ("reviewer", "implementer", "bob")
MESSAGES = ("msg_1", "msg_2", "msg_3")
THREADS = ("thr_1", "thr_2", "thr_other")
SESSIONS = ("ses_1", "ses_2")
LEGACY = ("events.jsonl", "messages/ann.jsonl", "messages/bob.jsonl", "messages/user_leon.jsonl")

_agents = st.sampled_from(AGENTS)
_anybody = st.sampled_from((*AGENTS, "user:leon", "agent:planner:9F2K3M1Q8Z"))
_messages = st.sampled_from(MESSAGES)
_threads = st.sampled_from(THREADS)
_sessions = st.sampled_from(SESSIONS)
_times = st.sampled_from((0, 0, 1, 1.5, 2, 3, 60))
_texts = st.sampled_from(("hello", "hello again", "", "<b>", "\u2028", "line\nbreak"))
_versions = st.none() | st.integers(0, 4)
_pairs = st.lists(
    st.builds(dict, type=st.sampled_from(("module", "mention")), value=st.sampled_from((*ROLES, "ann", "core", ""))),
    max_size=3,
)
_audiences = st.one_of(
    st.just({"everyone": True}),
    st.just({}),
    st.builds(lambda to: {"to": to}, st.lists(_agents, max_size=2)),
    st.builds(lambda refs: {"refs": refs}, _pairs),
)


def _some(**optional):
    return st.fixed_dictionaries({}, optional=optional)


def _creates(author):
    return st.builds(
        lambda at, text, who, more: kit.message(author, text, at, **{**who, **more}),
        _times,
        _texts,
        _audiences,
        _some(
            message_id=_messages,
            thread_id=_threads,
            scopes=_pairs,
            priority=st.sampled_from(("high", "low")),
            session_id=_sessions,
        ),
    )


def _others(agent):
    body = st.builds(
        lambda text, more: {"content": text, **more}, _texts, _some(structured=st.sampled_from(("{}", "")))
    )
    event = lambda kind, /, **fields: st.builds(  # noqa: E731
        lambda at, chosen, version: kit.event(kind, at, **chosen, **({} if version is None else {"version": version})),
        _times,
        st.fixed_dictionaries(fields),
        _versions,
    )
    me = st.just(agent)
    return st.one_of(
        event("message.edit", message_id=_messages, body=body),
        event("message.delete", message_id=_messages, reason=_texts),
        event("message.read", agent_id=me, message_ids=st.lists(_messages, max_size=3)),
        event("thread.create", thread_id=_threads, title=_texts, created_by=me, scopes=_pairs),
        event(
            "agent.register", agent_id=me, kind=st.just("agent"), role=st.sampled_from(ROLES), module=st.just("core")
        ),
        event("agent.cleanup", agent_id=_agents),
        event("agent.session.start", session_id=_sessions, agent_id=me, scopes=_pairs),
        event("agent.session.update", session_id=_sessions, agent_id=me, intent=_texts, add_scopes=_pairs),
        event("agent.session.update", session_id=_sessions, agent_id=me, remove_scopes=_pairs, current_task=_texts),
        event("agent.session.end", session_id=_sessions),
        event("agent.session.end", session_id=_sessions, agent_id=me, reason=_texts),
        event(
            "agent.update",
            agent_id=me,
            work_contexts=st.lists(
                st.builds(
                    lambda session, branch, at: {"session_id": session, "branch": branch, "git_updated_at": at},
                    _sessions,
                    st.sampled_from(("main", "feature")),
                    st.sampled_from(("", "2026-02-10T12:00:00Z", "2026-02-10T12:00:01Z")),
                ),
                max_size=2,
            ),
        ),
        event("weather.report", sunny=st.booleans()),
    )


def spoken_by(agent):
    """What an agent may state in its own log."""
    return _creates(agent) | _others(agent)


def forged(owner):
    """What somebody may put into a log of `owner` without being asked."""
    return st.one_of(
        st.sampled_from(AGENTS).flatmap(spoken_by),
        _creates(owner).map(lambda event: {**event, "authored_by": "cat"}),
        st.binary(max_size=20).filter(lambda line: b"\n" not in line),
        st.sampled_from([b"{}", b"[]", b'{"type":"message.create"}', b'{"type":"x","timestamp":"y","event_id":7}']),
    )


def _ours(agent, origin):
    return f"messages/{agent}/{origin}/0000/00.jsonl"


PLACES = [*((_ours(a, o), a) for a in AGENTS for o in (kit.HERE, kit.THERE)), *((path, "") for path in LEGACY)]


@st.composite
def logs(draw, hostile=True, largest=24):
    """{path: lines} of a branch on which several agents, v0.1.0 and a forger have been at work."""
    found = {}
    for number in range(draw(st.integers(largest // 3, largest))):
        path, owner = draw(st.sampled_from(PLACES))
        speaker = owner or draw(_anybody)
        said = draw(st.one_of(*[spoken_by(speaker)] * 3, forged(speaker)) if hostile else spoken_by(speaker))
        if isinstance(said, dict):
            said = {**said, "event_id": f"evt_{number:04d}"}
            if said.get("message_id", MESSAGES[0]) not in MESSAGES:
                said["message_id"] = f"msg_of_{number:04d}"
            if owner:
                said = {**said, "seq": len(found.get(path, ())) + 1}
        line = kit.raw(said)
        if line and line not in found.get(path, ()):
            found.setdefault(path, []).append(line)
    return found
