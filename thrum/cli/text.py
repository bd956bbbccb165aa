"""Text for people: safe to print, aligned by what a terminal shows, with colours only where they are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from thrum.cli.plan import Style
from thrum.core import clock
from thrum.core.printable import safe as safe

_COLORS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_PAINT = re.compile("\x1b\\[[0-9]*m")
_TAB = 4
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))


def line(text: str) -> str:
    """`text` safe and on one line: for names, intents, titles and other things that have one."""
    return " ".join(safe(text).split())


def width(text: str) -> int:
    """How many columns a terminal gives `text`; our own colours take none."""
    text = _PAINT.sub("", text)
    if text.isascii() and text.isprintable():
        return len(text)
    from wcwidth import wcswidth, wcwidth  # a command that meets no other text does without its tables

    measured: int = wcswidth(text)
    return measured if measured >= 0 else sum(max(wcwidth(character), 0) for character in text)


def cut(text: str, columns: int) -> str:
    """`text`, or as much of its beginning as fits into `columns` with `…` behind it."""
    if width(text) <= columns:
        return text
    kept = text
    while kept and width(kept) > columns - 1:
        kept = kept[: min(len(kept) - 1, columns)]
    return kept + "…" if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """`text` and as many spaces as make it `columns` wide."""
    return text + " " * (columns - width(text))


def wrap(text: str, columns: int, indent: str = "") -> str:
    """`text` in lines of at most `columns`, each behind `indent`; its own line breaks and indentation stay.

    A word that is too long for a line is left whole, so that it can be copied.
    """
    lines = [
        piece for own in text.split("\n") for piece in _fold(own.expandtabs(_TAB), max(columns - width(indent), 20))
    ]
    return "\n".join((indent + piece).rstrip() for piece in lines)


def _fold(own: str, columns: int) -> list[str]:
    if width(own) <= columns:
        return [own]
    lead = own[: len(own) - len(own.lstrip(" "))]
    margin, folded = lead[: columns // 2], []
    current, used, is_empty = [lead], width(lead), True
    for word in own.split():  # each is measured once: a line of a megabyte takes as long as its words
        wide = width(word)
        if not is_empty and used + 1 + wide > columns:
            folded.append("".join(current))
            current, used, is_empty = [margin], width(margin), True
        current.append(word if is_empty else " " + word)
        used, is_empty = used + wide + (not is_empty), False
    return [*folded, "".join(current)]


def flow(pieces: Iterable[str], columns: int, indent: str) -> str:
    """`pieces` two spaces apart, on as few lines as `columns` allow; further lines begin with `indent`."""
    lines: list[str] = []
    for piece in pieces:
        if piece and lines and width(lines[-1]) + 2 + width(piece) <= columns:
            lines[-1] += "  " + piece
        elif piece:
            lines.append((indent if lines else "") + piece)
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> str:
    """Rows under a head, aligned; the last column is cut where the terminal ends."""
    everything = [head, *rows]
    wide = [max(width(row[at]) for row in everything) for at in range(len(head))]
    left = max(columns - sum(w + 2 for w in wide[:-1]), 10)
    lines = ["  ".join([*map(pad, row[:-1], wide), cut(row[-1], left)]).rstrip() for row in everything]
    return "\n".join(lines)


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """`label  value` lines, aligned; pairs without a value are left out."""
    kept = [(label, value) for label, value in pairs if value]
    wide = max((width(label) for label, _ in kept), default=0)
    return "\n".join(f"{pad(label, wide)}  {value}" for label, value in kept)


def color(text: str, name: str, style: Style) -> str:
    """`text` in a colour, if colours are wanted."""
    return f"\x1b[{_COLORS[name]}m{text}\x1b[0m" if style.color and text else text


def count(number: int, one: str, many: str = "") -> str:
    """`1 agent`, `3 agents`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def when(written: str | None, style: Style) -> str:
    """A time as people tell it: `3m ago`; with `--verbose` in full."""
    instant = clock.instant(written or "")
    if instant is None:
        return safe(written or "")
    if style.verbose:
        return (written or "")[:19].replace("T", " ") + " UTC" if (written or "").endswith("Z") else safe(written or "")
    return ago(style.now - instant)


def ago(nanoseconds: int) -> str:
    """`just now`, `3m ago`, `5h ago`, `2d ago`."""
    seconds = nanoseconds // clock.SECOND
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return "just now"


def volume(size: int) -> str:
    """A number of bytes as people tell it: `812 B`, `64 kB`, `3.2 MB`."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def lasting(seconds: float) -> str:
    """A length of time: `12s`, `3m`, `2h5m`, `3d4h`; below a second `250ms`."""
    whole = int(seconds)
    if 0 < seconds < 1:
        return f"{max(round(seconds * 1000), 1)}ms"
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m" + (f"{whole % 60}s" if whole % 60 else "")
    big, small, first, second = (86400, 3600, "d", "h") if whole >= 86400 else (3600, 60, "h", "m")
    rest = whole % big // small
    return f"{whole // big}{first}" + (f"{rest}{second}" if rest else "")
