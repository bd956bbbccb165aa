"""The object store through the git program, for repositories libgit2 refuses: sha256, reftable, partial clones."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
import weakref
from typing import IO

from thrum.errors import GitError
from thrum.git.command import DURABLE, SAFE, Result, clean_env, run
from thrum.git.locks import ContendedError, remove_unreadable, with_patience
from thrum.git.objects import AUTHOR, COMMIT, TREE, Entry, check_size, decode_tree, encode_name, missing, split_tree

LOCAL = {
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would otherwise go to the network for a missing object
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_AUTHOR_NAME": AUTHOR[0],
    "GIT_AUTHOR_EMAIL": AUTHOR[1],
    "GIT_COMMITTER_NAME": AUTHOR[0],
    "GIT_COMMITTER_EMAIL": AUTHOR[1],
}
_MOVED = ("but expected", "already exists", "unable to resolve reference")


class PlumbingObjects:
    """`Objects` over the git program; two helper processes stay until `close()`. Raises GitError."""

    def __init__(self, common_dir: str) -> None:
        self.common_dir = common_dir
        result = self._git(["rev-parse", "--show-object-format"])
        self.oid_size = 32 if result.out.strip() == b"sha256" else 20
        self._contents = _CatFile(common_dir, "--batch")
        self._headers = _CatFile(common_dir, "--batch-check")

    def close(self) -> None:
        self._contents.close()
        self._headers.close()

    def head(self, ref: str) -> str | None:
        result = self._git(["rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}"], check=False)
        oid = result.out.decode("ascii").strip()
        if result.code or not oid:
            return None
        try:
            self._expect(self.tree_of(oid), "tree")
        except GitError:
            return None
        return oid

    def tree_of(self, commit: str) -> str:
        return self._headers.ask(f"{commit}^{{tree}}").oid

    def entries(self, tree: str) -> dict[str, Entry]:
        return decode_tree(self._tree(tree), self.oid_size)

    def rows(self, tree: str) -> frozenset[bytes]:
        return split_tree(self._tree(tree), self.oid_size)

    def blob_size(self, oid: str) -> int:
        return self._expect(oid, "blob")

    def blob(self, oid: str) -> bytes:
        self._expect(oid, "blob")
        return self._contents.ask(oid).data

    def write_blob(self, data: bytes) -> str:
        return self._oid(["hash-object", "-w", "--stdin", "--no-filters"], data)

    def write_tree(self, entries: dict[str, Entry]) -> str:
        kinds = {TREE: b"tree", COMMIT: b"commit"}
        lines = [
            b"%06o %s %s\t%s\0" % (entry.mode, kinds.get(entry.mode, b"blob"), entry.oid.encode(), encode_name(name))
            for name, entry in entries.items()
        ]
        return self._oid(["mktree", "-z"], b"".join(lines))

    def empty_tree(self) -> str:
        return self.write_tree({})

    def commit(self, tree: str, parents: list[str], message: str) -> str:
        chain = [word for parent in parents for word in ("-p", parent)]
        now = f"{int(time.time())} +0000"
        dates = {"GIT_AUTHOR_DATE": now, "GIT_COMMITTER_DATE": now}
        return self._oid(["commit-tree", "--no-gpg-sign", tree, *chain, "-F", "-"], message.encode(), dates)

    def move(self, ref: str, new: str, old: str | None) -> bool:
        return with_patience(self.common_dir, ref, lambda: self._swap(ref, new, old))

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        return ancestor == descendant or self._answer(["merge-base", "--is-ancestor", ancestor, descendant]) is not None

    def merge_base(self, one: str, other: str) -> str | None:
        return self._answer(["merge-base", one, other])

    def _answer(self, args: list[str]) -> str | None:
        """The first line of stdout; None for exit code 1, git's way of saying no."""
        result = self._git(args, check=False)
        if result.code > 1:
            raise GitError(f"git {args[0]} failed: {result.err.strip()}", "run `git fsck`")
        return None if result.code else result.out.decode("ascii").partition("\n")[0]

    def _swap(self, ref: str, new: str, old: str | None) -> bool:
        if old is None and self.head(ref) is None:
            remove_unreadable(self.common_dir, ref)
            broken = self._git(["rev-parse", "--verify", "--quiet", ref], check=False)
            old = broken.out.decode("ascii").strip() if broken.code == 0 else None
        args = ["update-ref", "--no-deref", "-m", "git thrum", ref, new, old or "0" * (2 * self.oid_size)]
        result = self._git(args, check=False)
        if result.code == 0:
            return True
        if any(sign in result.err for sign in _MOVED):
            return False
        raise ContendedError(result.err.strip())

    def _tree(self, tree: str) -> bytes:
        check_size(tree, self._expect(tree, "tree"))
        return self._contents.ask(tree).data

    def _expect(self, oid: str, kind: str) -> int:
        found = self._headers.ask(oid)
        if found.kind != kind:
            raise missing(oid)
        return found.size

    def _oid(self, args: list[str], data: bytes, env: dict[str, str] | None = None) -> str:
        return self._git(args, data, env=env).out.decode("ascii").strip()

    def _git(
        self, args: list[str], data: bytes | None = None, *, check: bool = True, env: dict[str, str] | None = None
    ) -> Result:
        return run(
            [*DURABLE, "-c", "i18n.commitEncoding=UTF-8", *args],
            self.common_dir,
            input=data,
            check=check,
            env={**LOCAL, **(env or {})},
        )


class _Answer:
    """What cat-file says about one object."""

    __slots__ = ("data", "kind", "oid", "size")

    def __init__(self, oid: str, kind: str, size: int, data: bytes) -> None:
        self.oid, self.kind, self.size, self.data = oid, kind, size, data


class _CatFile:
    """One long-lived `git cat-file`; started when first asked, again when it died, ended with its owner."""

    def __init__(self, common_dir: str, mode: str) -> None:
        self._command = ["git", *(word for setting in SAFE for word in ("-c", setting)), "cat-file", mode]
        self._with_data = mode == "--batch"
        self._common_dir = common_dir
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._end: weakref.finalize[..., object] | None = None

    def ask(self, name: str) -> _Answer:
        """The object called `name`. Raises GitError when it is missing."""
        with self._lock:
            for _ in range(2):
                process = self._running()
                with contextlib.suppress(OSError, ValueError):
                    answer = self._exchange(process, name)
                    if answer is not None:
                        return answer
                self.close()
        raise missing(name)

    def _exchange(self, process: subprocess.Popen[bytes], name: str) -> _Answer | None:
        """One question and its answer; None when the process died over it."""
        to, back = process.stdin, process.stdout
        if to is None or back is None:
            return None
        to.write(name.encode("ascii") + b"\n")
        to.flush()
        words = back.readline().decode("ascii", "replace").split()
        if words and words[-1] in ("missing", "ambiguous", "excluded"):
            raise missing(name)
        if len(words) != 3:
            return None
        oid, kind, size = words[0], words[1], int(words[2])
        return _Answer(oid, kind, size, _body(back, size) if self._with_data else b"")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                self._command,
                cwd=self._common_dir,
                env={**clean_env(), **LOCAL},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._end = weakref.finalize(self, _stop, self._process)
        return self._process

    def close(self) -> None:
        if self._end is not None:
            self._end()
        self._process = self._end = None


def _body(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size + 1)  # a line end follows
    if len(data) != size + 1:
        raise OSError("cat-file ended early")
    return data[:-1]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()
