"""Pages: v0.1.0's rules, without its negative ones."""

from __future__ import annotations

from typing import Any

from thrum.errors import BadParams


def bounds(page_size: int, page: int, largest: int = 100) -> tuple[int, int]:
    """The size and number to use: 0 means 10 a page and page 1; more than `largest` means `largest`."""
    if page_size < 0 or page < 0:
        raise BadParams("page_size and page cannot be negative")
    return min(page_size or 10, largest), min(page or 1, _LAST)


_LAST = 10**12
"""No list is so long; SQLite counts no further than 2**63."""


def described(total: int, page_size: int, page: int) -> dict[str, Any]:
    """`{total, page, page_size, total_pages}`."""
    return {"total": total, "page": page, "page_size": page_size, "total_pages": -(-total // page_size)}
