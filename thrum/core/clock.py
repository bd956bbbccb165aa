"""Instants as integers (nanoseconds since 1970, UTC) and as RFC 3339 text with nine fractional digits.

The clock itself is not here: whoever needs the time is given it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

SECOND = 1_000_000_000
LATEST = 2**63 - 1
SETTLED = 2 * SECOND
"""After so long a later change of a file or folder surely has another time: the coarsest clock of a file system."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AGE = re.compile(r"(\d{1,6})([smhdw])\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-])(\d\d):(\d\d))\Z", re.ASCII
)


def text(instant: int) -> str:
    """`instant` as `2026-02-10T09:31:00.120000000Z`: always nine digits, so that text order is time order."""
    seconds, fraction = divmod(instant, SECOND)
    return f"{_second(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=256)
def _second(seconds: int) -> str:
    """`2026-02-10T09:31:00`; what is said at one time mostly shares it."""
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}"


def instant(written: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 text, capped to 63 bits; None if it is not one."""
    if len(written) == 30 and written[19] == "." and written[29] == "Z":
        fast = _parse_own(written)
        if fast is not None:
            return fast
    return _parse_any(written)


def moment(written: str, now: int) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 text, a date (UTC) or an age before `now` (`45m`, `3h`, `2d`, `1w`)."""
    age = _AGE.match(written)
    if age:
        return max(now - int(age[1]) * _UNITS[age[2]] * SECOND, 0)
    return instant(f"{written}T00:00:00Z" if _DATE.match(written) else written)


def _parse_own(written: str) -> int | None:
    minute, rest = _minute(written[:17]), written[17:19] + written[20:29]
    if minute is None or not (rest.isascii() and rest.isdigit()) or rest > "59999999999":
        return None
    return min(minute + int(rest), LATEST)


@lru_cache(maxsize=4096)
def _minute(prefix: str) -> int | None:
    """Nanoseconds of `2026-02-10T09:31:`; neighbours in a log mostly share it."""
    return _parse_any(prefix + "00Z")


def _parse_any(written: str) -> int | None:
    match = _RFC3339.match(written)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    try:
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    fraction = int((match[7] or "").ljust(9, "0"))
    if match[8]:
        offset = (int(match[9]) * 60 + int(match[10])) * 60 * SECOND
        return min(_nanoseconds(moment, fraction) - (offset if match[8] == "+" else -offset), LATEST)
    return _nanoseconds(moment, fraction)


def _nanoseconds(moment: datetime, fraction: int) -> int:
    past = moment - _EPOCH
    return min((past.days * 86400 + past.seconds) * SECOND + fraction, LATEST)
