"""Writes every page anew; with `--check` only says which are stale, and ends with 1 if any is."""

from __future__ import annotations

import sys
from pathlib import Path

from docs.generate import cli, manual, openrpc, rpc

ROOT = Path(__file__).parent.parent.parent
PAGES = {
    "docs/reference/cli.md": cli.page,
    "docs/reference/rpc.md": rpc.page,
    "docs/openrpc.json": openrpc.page,
    "man/man1/git-thrum.1": manual.page,
}
"""Each generated file, and what its whole text is."""


def stale() -> list[str]:
    """The files whose text is not what the declarations say."""
    return [name for name, page in PAGES.items() if _read(ROOT / name) != page()]


def write() -> None:
    """Writes what is stale."""
    for name in stale():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote {name}")


def main(words: list[str]) -> int:
    """The exit code."""
    if words != ["--check"]:
        write()
        return 0
    found = stale()
    for name in found:
        print(f"{name} is stale\n  try: make docs", file=sys.stderr)
    return 1 if found else 0


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
