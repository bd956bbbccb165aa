"""A daemon without a command line in front of it: `child.py WORKTREE [fail|hang|plain]`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from thrum.caller import Claim
from thrum.config import Settings
from thrum.daemon import app, web
from thrum.daemon.dispatch import Execute
from thrum.errors import StorageError
from thrum.git.place import find

Json = dict[str, Any]


async def run_cli(params: Json, execute: Execute) -> Json:
    """The first word is a method."""
    result = await execute(params["argv"][0], {}, Claim(cwd=params["cwd"]))
    return {"stdout": str(result), "stderr": "", "exit": 0}


def main() -> None:
    if "hang" in sys.argv:
        time.sleep(60)
    if "die" in sys.argv:
        raise SystemExit("a plain sentence")
    if "plain" in sys.argv:
        sys.modules["uvloop"] = None  # type: ignore[assignment]  # as where it is not installed
    place = find(sys.argv[1])

    def load() -> Settings:
        if "fail" in sys.argv:
            raise StorageError("the disk is made of cheese", "buy another")
        return Settings.load(place.common_dir, place.worktree, os.environ)

    app.run(place, load, run_cli, (web.door,), warm=lambda: print("warm", flush=True))


main()
