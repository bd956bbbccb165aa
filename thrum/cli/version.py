"""Which version this is."""

from __future__ import annotations

import sys

from thrum import __version__
from thrum.cli.console import tell
from thrum.cli.options import Options
from thrum.cli.plan import Local


def version() -> Local:
    """git thrum version"""
    return Local(_version)


def _version(options: Options) -> int:
    from thrum.git import command

    git = ".".join(map(str, command.version()))
    python = ".".join(map(str, sys.version_info[:3]))
    more = f" (Python {python}, git {git})" if options.verbose else ""
    return tell(
        options, {"version": __version__, "python": python, "git": git}, f"git thrum {__version__}{more}\n", asked=True
    )
