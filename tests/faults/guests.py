"""Tools that put hooks into repositories, installed for real; and houses they live in, with us and without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests import kit
from tests.git.kit import script, write
from thrum.git.place import find

ROOT = Path(__file__).parent.parent.parent
BIN = os.path.dirname(sys.executable)
MODULES = ROOT / ".venv" / "guests" / "node_modules"
EVENTS = ("post-commit", "post-checkout", "post-merge", "post-rewrite")


class Own:
    """No tool: hooks that somebody wrote by hand."""

    name, missing = "own", ""

    def prepare(self, house):
        """Nothing lies in the work tree."""

    def install(self, house):
        """Writes them, post-checkout with an exit code of its own."""
        for event in EVENTS:
            code = 3 if event == "post-checkout" else 0
            body = f'echo "own {event} $# $(cat | wc -w)" >>{house.log}\nexit {code}\n'
            script(f"{house.hooks}/{event}", body)

    def uninstall(self, house):
        """Removes them, as their owner would: only what is his."""
        for event in EVENTS:
            path = house.hooks / event
            if path.exists() and f"own {event}" in path.read_text():
                path.unlink()


class Husky:
    """husky 9: core.hooksPath is .husky/_, and what is there runs .husky/<event>."""

    name = "husky"
    missing = "" if (MODULES / "husky").exists() and shutil.which("node") else "husky is not there: .ci/install-guests"

    def prepare(self, house):
        for event in EVENTS:
            code = 3 if event == "post-checkout" else 0
            body = f'echo "husky {event} $# $(cat | wc -w)" >>{house.log}\nexit {code}\n'
            write(f"{house.work}/.husky/{event}", body)

    def install(self, house):
        house.run("npx husky")

    def uninstall(self, house):
        """What its manual says."""
        house.run("git config --unset core.hooksPath; rm -rf .husky/_")


class Lefthook:
    """lefthook 2: its own script in the place of every hook it is to run; what was there is renamed to .old."""

    name = "lefthook"
    missing = "" if (MODULES / "lefthook").exists() else "lefthook is not there: .ci/install-guests"

    def prepare(self, house):
        jobs = (
            f"{event}:\n  commands:\n    theirs:\n      use_stdin: true\n"
            f'      run: echo "lefthook {event} $(cat | wc -w)" >>{house.log}'
            f"{'; exit 3' if event == 'post-checkout' else ''}\n"
            for event in EVENTS
        )
        write(f"{house.work}/lefthook.yml", "".join(jobs))

    def install(self, house):
        house.run("node_modules/.bin/lefthook install")

    def uninstall(self, house):
        house.run("node_modules/.bin/lefthook uninstall --keep-config", check=False)


class PreCommit:
    """pre-commit 4: its own script; what was there is renamed to .legacy, and run."""

    name = "pre-commit"
    missing = "" if os.path.exists(f"{BIN}/pre-commit") else "pre-commit is not installed"
    types = " ".join(f"-t {event}" for event in EVENTS)

    def prepare(self, house):
        rows = ["repos:", "- repo: local", "  hooks:"]
        for event in EVENTS:
            code = 3 if event == "post-checkout" else 0
            entry = script(f"{house.top}/bin/{event}", f"echo pre-commit {event} >>{house.log}\nexit {code}\n")
            rows.append(
                f"  - {{id: {event}, name: x, entry: {entry}, language: system, always_run: true, "
                f"pass_filenames: false, stages: [{event}]}}"
            )
        write(f"{house.work}/.pre-commit-config.yaml", "\n".join(rows) + "\n")

    def install(self, house):
        house.run(f"pre-commit install {self.types}")

    def uninstall(self, house):
        house.run(f"pre-commit uninstall {self.types}")


class Lfs:
    """git-lfs: hooks of three lines; it will not touch a hook that is not its own."""

    name = "git-lfs"
    missing = "" if shutil.which("git-lfs") else "git-lfs is not installed (apt install git-lfs)"

    def prepare(self, house):
        write(f"{house.work}/.gitattributes", "*.big filter=lfs diff=lfs merge=lfs -text\n")

    def install(self, house):
        house.run("git lfs install --local", check=False)

    def uninstall(self, house):
        house.run("git lfs uninstall --local", check=False)


GUESTS = {guest.name: guest for guest in (Own(), Husky(), Lefthook(), PreCommit(), Lfs())}


class House:
    """A repository where somebody works: `main`, a `linked` worktree of one, or a `submodule`."""

    def __init__(self, top, shape="main"):
        top.mkdir()
        self.top, self.log = top, top / "log"
        self.log.touch()
        self.repository = self.work = kit.make_repository(top / "repo")
        if shape == "linked":
            self.work = kit.add_worktree(self.repository, "linked")
        elif shape == "submodule":
            outer = kit.make_repository(top / "outer")
            kit.git(outer, "submodule", "--quiet", "add", str(self.repository), "sub")
            self.repository = self.work = outer / "sub"
        self.common = Path(find(str(self.work)).common_dir)
        shutil.rmtree(self.common / "hooks", ignore_errors=True)
        (self.common / "hooks").mkdir()
        write(str(self.common / "info" / "exclude"), "node_modules\n.thrum/\n")
        if MODULES.exists():
            (self.work / "node_modules").symlink_to(MODULES)

    @property
    def hooks(self):
        """Where git looks for hooks here."""
        return self.work / kit.git(self.work, "rev-parse", "--git-path", "hooks").strip()

    def prepare(self, *guests):
        """Commits what the tools want to find in the work tree."""
        for guest in guests:
            guest.prepare(self)
        kit.git(self.work, "add", "-A")
        kit.git(self.work, "commit", "-q", "--allow-empty", "--no-verify", "-m", "tools")
        self.log.write_text("")

    def run(self, command, check=True):
        """Runs a line of shell as the user would, `git thrum` and the tools on the PATH."""
        env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "npm_config_offline": "true", "CI": "1"}
        env.pop("PYTHONPATH", None)
        done = subprocess.run(command, shell=True, cwd=self.work, env=env, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def live(self, seen=lambda command: None):
        """A commit, an amend, a new branch, a merge: each one's exit code, and what ran, in order; `seen` after each."""
        told = []
        for command in (
            "commit -q --allow-empty -m one",
            "commit -q --allow-empty --amend -m two",
            "checkout -q -b side",
            "commit -q --allow-empty -m three",
            "checkout -q -",
            "merge -q --no-ff --no-edit side",
        ):
            self.log.write_text("")
            trace = self.top / "trace"
            trace.write_text("")
            env = {**os.environ, "GIT_TRACE": str(trace), "PATH": f"{BIN}:{os.environ['PATH']}"}
            done = subprocess.run(
                ["git", *command.split()], cwd=self.work, env=env, capture_output=True, text=True, timeout=120
            )
            lfs = [f"git-lfs {event}" for event in EVENTS if f"git-lfs {event}" in trace.read_text()]
            told.append((command, done.returncode, self.log.read_text().splitlines(), lfs))
            seen(command)
        kit.git(self.work, "branch", "-D", "side")
        return told

    def furniture(self):
        """Hooks and configuration, byte for byte and bit for bit; only where the house stands is left open."""
        roots = [self.common / "hooks", self.work / ".husky"]
        paths = [self.common / "config", *(path for root in roots for path in root.rglob("*") if path.is_file())]
        return {
            str(path.relative_to(self.top)): (path.stat().st_mode, path.read_text().replace(str(self.top), ""))
            for path in paths
        }
