"""Identifiers and names, made from a given time and given randomness.

ULIDs, Crockford base 32 and the deterministic ids follow v0.1.0 (see `fixtures/ids.json` for its test vectors).
"""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote, urlsplit

from thrum.core import clock

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TWO = tuple(high + low for high in ALPHABET for low in ALPHABET)
RESERVED = frozenset({"daemon", "system", "thrum", "all", "broadcast", "everyone"})
_NAME = re.compile(r"[a-z0-9_]{1,64}\Z")
_ROLE = re.compile(r"[a-z0-9_-]{1,64}\Z")
_USER = re.compile(r"user:[a-zA-Z0-9_-]{1,32}\Z")
_LEGACY_HASH = re.compile(r"[0-9A-Z]{10}\Z")


def encode_bits(value: int, digits: int) -> str:
    """The lowest `5 * digits` bits of `value` in Crockford base 32, most significant first."""
    two = "".join([_TWO[(value >> shift) & 1023] for shift in range(5 * (digits - 2), -1, -10)])
    return two if digits % 2 == 0 else two + ALPHABET[value & 31]


def encode_hash(data: bytes) -> str:
    """SHA-256 of `data` in Crockford base 32 (52 characters, RFC 4648 bit order, no padding)."""
    return encode_bits(int.from_bytes(hashlib.sha256(data).digest(), "big") << 4, 52)


def ulid(milliseconds: int, randomness: bytes) -> str:
    """A ULID: 48 bits of Unix milliseconds, then 80 bits of `randomness` (10 bytes)."""
    milliseconds = max(0, min(milliseconds, 2**48 - 1))
    return encode_bits(milliseconds << 80 | int.from_bytes(randomness[:10].ljust(10, b"\0"), "big"), 26)


class Ulids:
    """ULIDs that grow even within one millisecond; give it the time and the randomness of each."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, instant: int, randomness: bytes) -> str:
        """The next ULID at `instant` (nanoseconds); always larger than the one before."""
        fresh = (max(instant, 0) // 1_000_000) << 80 | int.from_bytes(randomness[:10], "big")
        self._last = fresh if fresh > self._last else self._last + 1
        return encode_bits(self._last, 26)


def requested_message_id(agent_id: str, request_id: str) -> str:
    """The id of the message an agent sends under a request id of its choice: the same request is the same message."""
    return "msg_" + _hashed(f"{agent_id}|{request_id}")


def requested_thread_id(agent_id: str, request_id: str) -> str:
    """The id of the thread an agent begins under a request id of its choice."""
    return "thr_" + _hashed(f"thr|{agent_id}|{request_id}")


def _hashed(said: str) -> str:
    """128 bits of the hash of `said`, as long as a ULID."""
    return encode_bits(int.from_bytes(hashlib.sha256(said.encode()).digest()[:16], "big"), 26)


def bound_id(prefix: str, agent_id: str, event_id: str) -> str:
    """The id of what an agent makes in an event, a ULID of the event's time: nobody else can state something of this id.

    Its 80 bits are a hash of the agent's and the event's id, so another's log that claims the id does not prove it.
    """
    digest = hashlib.sha256(f"{prefix}|{agent_id}|{event_id}".encode()).digest()
    return f"{prefix}_{event_id.partition('_')[2][:10]}{encode_bits(int.from_bytes(digest[:10], 'big'), 16)}"


def generated_agent_id(repo_id: str, role: str, module: str) -> str:
    """The id of an agent that was given no name: `<role>_<10 characters>`, the same for the same three inputs."""
    return f"{role}_{encode_hash(f'{repo_id}|{role}|{module}'.encode())[:10].lower()}"


def repository_id(url: str) -> str:
    """`r_` and 12 characters made from a remote's URL. Raises ValueError when the URL is empty or malformed."""
    return "r_" + encode_hash(normalise_url(url).encode())[:12]


def normalise_url(url: str) -> str:
    """v0.1.0's normal form of a remote URL: https, host in lower case, no user, no `.git` at the end."""
    if not url:
        raise ValueError("empty URL")
    if url.startswith("git@"):
        host, colon, path = url[4:].partition(":")
        if not colon:
            raise ValueError(f"no path in {url}")
        return f"https://{host}/{path.removesuffix('.git')}"
    parts = urlsplit(url)
    if parts.scheme and not parts.netloc and not parts.path.startswith("/"):
        return "https://"
    host = parts.netloc.rpartition("@")[2].lower()
    return f"https://{host}{unquote(parts.path).removesuffix('.git')}"


def backfilled_event_id(kind: str, timestamp: str, entity: str) -> str | None:
    """The id v0.1.0 gives an old event that has none; None when the timestamp cannot be read."""
    instant = clock.instant(timestamp)
    if instant is None:
        return None
    digest = hashlib.sha256(f"{kind}:{timestamp}:{entity}".encode()).hexdigest()
    return "evt_" + ulid(instant // 1_000_000, digest[:10].encode())


def is_agent_name(name: str) -> bool:
    """Whether an agent may be called `name`."""
    return bool(_NAME.match(name)) and name not in RESERVED and not name.startswith("user_")


def is_role(word: str) -> bool:
    """Whether `word` may be a role or a module."""
    return bool(_ROLE.match(word)) and not word.startswith("-")


def is_agent_id(agent_id: str) -> bool:
    """Whether `agent_id` can name somebody in a log: an agent's name or `user:<name>`."""
    return is_agent_name(agent_id) or bool(_USER.match(agent_id))


def stem(agent_id: str) -> str:
    """The file name an agent's log goes by: `user:leon` becomes `user_leon`, `agent:planner:X` `planner_X`."""
    return agent_id.removeprefix("agent:").replace(":", "_")


def displayed(agent_id: str) -> str:
    """How people see an agent: `@furiosa`; v0.1.0's `role_HASH` ids show their role."""
    if agent_id.startswith("agent:") and agent_id.count(":") == 2:
        return "@" + agent_id.split(":")[1]
    role, _, rest = agent_id.partition("_")
    return "@" + (role if _LEGACY_HASH.match(rest) else agent_id)
