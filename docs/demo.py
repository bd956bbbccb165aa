"""The main job, played end to end with the real program on a temporary playground: `make demo`.

A bare remote, two clones, a feature worktree in one of them, three agents. Every line that begins with `$` is what a user would
type; what follows is what it printed. The demo fails if anything in the story is not true, and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

BIN = Path(sys.executable).parent


class Playground:
    """A temporary directory with a home of its own; runs commands in it, and shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.env = {
            "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(root / "home"),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "COLUMNS": "100",
        }
        for name in ("home", "run"):
            (root / name).mkdir(mode=0o700)
        (root / "home/.gitconfig").write_text(
            "[init]\n\tdefaultBranch = main\n[user]\n\tname = Ann\n\temail = ann@example.com\n"
        )
        self.timings: list[tuple[str, float]] = []

    def run(self, where: str, command: str, *, code: int = 0, quiet: bool = False) -> str:
        """Runs `command` in the directory `where`, shows it with what it printed, and checks its exit code."""
        start = time.perf_counter()
        done = subprocess.run(
            command, shell=True, cwd=self.root / where, env=self.env, capture_output=True, text=True, timeout=60
        )
        took = time.perf_counter() - start
        said = self.tidy(done.stdout + done.stderr)
        if not quiet:
            self.show(where, command, said, took)
        if done.returncode != code:
            self.fail(f"`{command}` in {where} ended with {done.returncode}, not {code}:\n{said}")
        return said

    def ask(self, where: str, command: str) -> dict:
        """What `git thrum COMMAND --json` answers."""
        return json.loads(self.run(where, f"git thrum {command} --json", quiet=True))

    def show(self, where: str, command: str, said: str, took: float) -> None:
        """Prints one command of the story."""
        if command.startswith("git thrum"):
            self.timings.append((" ".join(command.split()[2:4]), took))
        print(f"{where}$ {command}   [{took * 1000:.0f} ms]")
        print("".join(f"    {line}\n" for line in said.splitlines()), end="", flush=True)

    def tidy(self, text: str) -> str:
        """The text without this machine's temporary directory."""
        return text.replace(str(self.root), "~")

    def fail(self, why: str) -> None:
        """Ends the demo: something in the story is not true."""
        raise SystemExit(f"\nTHE DEMO FAILED: {why}")

    def expect(self, claim: str, holds: object) -> None:
        """Says what has just been seen to be true, or fails."""
        if not holds:
            self.fail(claim)
        print(f"    = {claim}", flush=True)

    def until(self, claim: str, look, seconds: float = 20) -> float:
        """Waits until `look()` is true; the seconds it took."""
        start = time.perf_counter()
        while not look():
            if time.perf_counter() - start > seconds:
                self.fail(f"after {seconds} s still not true: {claim}")
            time.sleep(0.05)
        took = time.perf_counter() - start
        self.expect(f"{claim} ({took:.1f} s)", True)
        return took


def chapter(title: str) -> None:
    print(f"\n== {title}")


def build(play: Playground) -> None:
    chapter("A remote, two clones")
    play.run("", "git init --quiet --bare shop.git && git clone --quiet shop.git ann 2>/dev/null", quiet=True)
    play.run("ann", "printf 'total = 0\\n' > cart.py && git add cart.py && git commit --quiet -m Begin", quiet=True)
    play.run("ann", "git push --quiet origin HEAD:main", quiet=True)
    play.run("", "git clone --quiet --branch main shop.git ben", quiet=True)
    play.run("ann", "git thrum init")
    play.run("ann", "git thrum daemon start")
    play.run("ann", "git thrum quickstart --name lead --role coordinator --module shop --intent 'Ship the cart'")
    play.run("ben", "git thrum init")
    play.run("ben", "git thrum daemon start")
    play.run("ben", "git thrum quickstart --name rita --role reviewer --module shop")


def within_the_machine(play: Playground) -> None:
    chapter("A feature worktree, and an agent in it")
    play.run("ann", "git thrum setup ../cart --branch cart")
    play.run("cart", "git thrum quickstart --name carl --role implementer --module cart --intent 'Round totals'")
    play.run("ann", "git thrum send 'Carl, please round half to even.' --to @carl")
    said = play.run("cart", "git thrum inbox")
    play.expect("the message crossed from worktree to worktree", "half to even" in said and "lead" in said)


def hooks_tell(play: Playground) -> None:
    chapter("Hooks keep everybody's context fresh")
    play.run("cart", "echo 'total = round(total)' >> cart.py", quiet=False)
    said = play.run("ann", "git thrum who-has cart.py")
    play.expect("who-has names the editor of a file that is not committed yet", "carl" in said)
    play.run("cart", "git commit --quiet -am 'Round totals'")
    contexts = play.ask("ann", "agent list --context")["contexts"]
    carl = next(context for context in contexts if context["agent_id"] == "carl")
    subjects = [commit["message"] for commit in carl["unmerged_commits"]]
    play.expect("the commit is known to the others", subjects == ["Round totals"] and carl["branch"] == "cart")
    play.run("ann", "git thrum ping carl")


def between_clones(play: Playground) -> None:
    chapter("From clone to clone, while somebody waits")
    play.until("ben's clone knows carl", lambda: "carl" in play.run("ben", "git thrum agent list", quiet=True))
    play.until("ann's clone knows rita", lambda: "rita" in play.run("ann", "git thrum agent list", quiet=True))
    heard: list[str] = []
    waiting = threading.Thread(target=lambda: heard.append(play.run("ben", "git thrum wait --timeout 30s", quiet=True)))
    waiting.start()
    time.sleep(0.5)
    start = time.perf_counter()
    play.run("cart", "git thrum send 'Rounding is ready on the branch cart.' --to @reviewer --scope module:cart")
    waiting.join()
    play.show("ben", "git thrum wait --timeout 30s", heard[0], time.perf_counter() - start)
    play.expect("a blocked wait in the other clone woke up with the message", "Rounding is ready" in heard[0])
    found = re.search(r"msg_\w+", heard[0])
    play.run("ben", f"git thrum reply {found[0] if found else ''} 'Looks right. Ship it.'")
    play.until("the answer is back", lambda: play.ask("cart", "inbox --unread")["total"] == 1)
    play.run("cart", "git thrum inbox")
    play.until("and the author sees that it was read", lambda: "rita" in play.run("cart", "git thrum sent", quiet=True))


def survive(play: Playground) -> None:
    chapter("The daemon is killed, nothing is lost")
    before = play.ask("ann", "inbox --all --peek")["total"]
    pid = play.ask("ann", "daemon status")["pid"]
    os.kill(pid, signal.SIGKILL)
    print(f"    kill -9 {pid}")
    play.run("ann", "git thrum send 'Sent while the daemon was dead.' --to @carl")
    play.run("cart", "git thrum inbox --peek")
    play.run("ann", "git thrum daemon start")
    after = play.ask("ann", "inbox --all --peek")["total"]
    play.expect(f"all {before} messages from before are there, and the new one", after == before + 1)
    play.run("ann", "git thrum rebuild --check")


def agree(play: Playground) -> None:
    chapter("Both clones agree")
    tree = "git rev-parse a-sync^{tree}"
    play.until(
        "identical trees on both sides and on the remote",
        lambda: len({play.run(where, tree, quiet=True) for where in ("ann", "ben", "shop.git")}) == 1,
    )
    play.run("ben", "git thrum status")
    clean = play.run("ann", "git status --porcelain", quiet=True) + play.run(
        "cart", "git status --porcelain", quiet=True
    )
    play.expect("git status is clean in every worktree", not clean)


def main() -> int:
    """Plays the story; 0 when all of it was true."""
    start = time.perf_counter()
    root = Path(os.path.realpath(tempfile.mkdtemp(prefix="thrum-demo-")))
    play = Playground(root)
    try:
        for scene in (build, within_the_machine, hooks_tell, between_clones, survive, agree):
            scene(play)
    finally:
        for where in ("ann", "ben"):
            subprocess.run(
                ["git", "thrum", "daemon", "stop"], cwd=root / where, env=play.env, capture_output=True, timeout=30
            ) if (root / where).is_dir() else None
        shutil.rmtree(root, ignore_errors=True)
    slowest = max(play.timings, key=lambda timing: timing[1])
    print(
        f"\nAll of it was true: {len(play.timings)} commands in {time.perf_counter() - start:.1f} s, "
        f"the slowest `{slowest[0]}` in {slowest[1] * 1000:.0f} ms. The playground is gone."
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
