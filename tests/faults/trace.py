"""Stops a piece of work at its k-th durable call: kills it there, tears the write, fails the call, or cuts the power first.

The work runs in a forked child whose system calls that change a disk are counted: of all its threads, and of the git processes
it starts, in one sequence. So k = 1, 2, 3 ... falls between any two writes. Linux on x86-64, by seccomp and ptrace.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable

CALLS = {
    "write": 1,
    "pwrite64": 18,
    "writev": 20,
    "fsync": 74,
    "fdatasync": 75,
    "truncate": 76,
    "ftruncate": 77,
    "rename": 82,
    "mkdir": 83,
    "rmdir": 84,
    "link": 86,
    "unlink": 87,
    "symlink": 88,
    "mkdirat": 258,
    "unlinkat": 263,
    "renameat": 264,
    "linkat": 265,
    "symlinkat": 266,
    "renameat2": 316,
    "open": 2,
    "openat": 257,
}
"""What is counted; of the openings those that may make a file."""
OPENINGS = {"open": 1, "openat": 2}
"""Which argument of theirs holds the flags."""
READS = {"read": 0, "pread64": 17}
"""What is counted, too, where a point names one of them."""
ON_OPEN_FILES = ("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", *READS)
"""Calls whose first argument is a descriptor."""
WRITES = ("write", "pwrite64")
NAMES = {number: name for name, number in {**CALLS, **READS}.items()}
IS_POSSIBLE = sys.platform == "linux" and platform.machine() == "x86_64"

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_LIBC.ptrace.restype = ctypes.c_long
_TRACEME, _CONT, _GETREGS, _SETREGS, _SYSCALL = 0, 7, 12, 13, 24
_SETOPTIONS, _GETEVENTMSG = 0x4200, 0x4201
_FORK, _VFORK, _CLONE, _SECCOMP = 1, 2, 3, 7
_OPTIONS = 1 << _FORK | 1 << _VFORK | 1 << _CLONE | 1 << 4 | 1 << _SECCOMP | 1 | 1 << 20  # exec, sysgood, exitkill
_WALL = 0x40000000
_REGISTERS = 27
_RAX, _RDX, _RDI, _ORIG_RAX = 10, 12, 14, 15


def _ptrace(request: int, pid: int, address: int = 0, data: object = None) -> int:
    found = int(_LIBC.ptrace(request, pid, address, data))
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"ptrace {request}: {os.strerror(number)}")
    return found


def _filter(calls: dict[str, int]) -> bytes:
    """A seccomp program: these calls go by the tracer, all others pass."""
    load, equal, any_of, give = 0x20, 0x15, 0x45, 0x06
    allow, trace = 0x7FFF0000, 0x7FF00000
    code = [(load, 0, 0, 4), (equal, 1, 0, 0xC000003E), (give, 0, 0, allow), (load, 0, 0, 0)]
    for name, number in calls.items():
        if name in OPENINGS:
            flags = 16 + 8 * OPENINGS[name]
            code += [(equal, 0, 4, number), (load, 0, 0, flags), (any_of, 0, 1, os.O_CREAT)]
            code += [(give, 0, 0, trace), (give, 0, 0, allow)]
        else:
            code += [(equal, 0, 1, number), (give, 0, 0, trace)]
    code.append((give, 0, 0, allow))
    return b"".join(struct.pack("HBBI", *line) for line in code)


def _put_under_trace(point: Point) -> None:
    """In the child: from now on every counted call of it and of its children is seen."""
    calls = {**CALLS, **READS} if READS.keys() & set(point.only) else CALLS
    program = ctypes.create_string_buffer(_filter(calls))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program.raw) // 8, ctypes.addressof(program)))
    _ptrace(_TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    if _LIBC.prctl(38, 1, 0, 0, 0) or _LIBC.prctl(22, 2, head, 0, 0):  # no new privileges; seccomp filter
        raise OSError(ctypes.get_errno(), "seccomp")


class Point:
    """What is done at the k-th call: `kill`, `tear` (half of a write, then the end), `short`, `call` or an errno's name.

    `alone` kills nobody but who makes the call. `lasting`: every later call fails, too. `only`: names of the calls that count;
    `program`: only those of this program do; `within`: only those on files below this folder, of the calls on open files.
    """

    def __init__(
        self,
        at: int,
        what: str = "kill",
        *,
        lasting: bool = False,
        only: tuple[str, ...] = (),
        program: str = "",
        within: str = "",
    ) -> None:
        self.at, self.what, self.lasting, self.only, self.program = at, what, lasting, only, program
        self.within = within
        self.number = getattr(errno, what, 0)

    def counts(self, name: str, pid: int, first: int) -> bool:
        """Whether it is one of the calls that are counted; `first` is its first argument."""
        if (self.only and name not in self.only) or (self.program and self.program != _program(pid)):
            return False
        return not self.within or name not in ON_OPEN_FILES or _is_within(self.within, pid, first)


class Run:
    """One piece of work under trace."""

    def __init__(self, child: int, point: Point, then: Callable[[], object] | None = None) -> None:
        """`then` is called at the point, with the child standing still; after it the child is killed."""
        self.child, self.point, self._then = child, point, then
        self.calls = 0
        self.hit = ""
        self.code = 0
        self._alive: set[int] = {child}
        self._tearing = 0

    def watch(self, seconds: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Lets the child run to its point or its end, and kills what is left of it."""
        os.waitpid(self.child, _WALL)
        _ptrace(_SETOPTIONS, self.child, 0, _OPTIONS)
        _ptrace(_CONT, self.child)
        end = time.monotonic() + seconds
        try:
            while self._alive and not is_over():
                pid, status = os.waitpid(-1, _WALL | os.WNOHANG)
                if pid:
                    self._happened(pid, status)
                elif time.monotonic() > end:
                    raise TimeoutError(f"not done after {seconds} s, at call {self.calls}")
                else:
                    time.sleep(0.0002)
        finally:
            self.kill()

    def kill(self) -> None:
        """Ends everything under trace, and waits for it."""
        for pid in list(self._alive):
            _signal(pid)
        while self._alive:
            try:
                pid, status = os.waitpid(-1, _WALL)
            except ChildProcessError:
                break
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._ended(pid, status)
            else:
                _signal(pid)

    def _happened(self, pid: int, status: int) -> None:
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            self._ended(pid, status)
            return
        self._alive.add(pid)
        number, event = os.WSTOPSIG(status), status >> 16
        if event == _SECCOMP:
            self._called(pid)
        elif self._tearing == pid and number == signal.SIGTRAP | 0x80:
            self.kill()
        else:
            passed_on = 0 if event or number in (signal.SIGTRAP, signal.SIGSTOP) else number
            _continue(pid, passed_on)

    def _ended(self, pid: int, status: int) -> None:
        self._alive.discard(pid)
        if pid == self.child:
            self.code = os.waitstatus_to_exitcode(status)

    def _called(self, pid: int) -> None:
        registers = (ctypes.c_ulonglong * _REGISTERS)()
        try:
            _ptrace(_GETREGS, pid, 0, registers)
            name = NAMES[registers[_ORIG_RAX]]
            if self.point.counts(name, pid, registers[_RDI]):
                self.calls += 1
                if self.calls == self.point.at or (self.point.lasting and self.calls > self.point.at):
                    self._strike(pid, name, registers)
                    return
            _ptrace(_CONT, pid)
        except ProcessLookupError:
            return  # it was killed meanwhile

    def _strike(self, pid: int, name: str, registers: object) -> None:
        self.hit = self.hit or name
        what = self.point.what
        if self.point.number:
            registers[_ORIG_RAX], registers[_RAX] = (1 << 64) - 1, (1 << 64) - self.point.number
            _ptrace(_SETREGS, pid, 0, registers)
            _ptrace(_CONT, pid)
        elif what in ("tear", "short") and name in WRITES:
            registers[_RDX] = max(1, registers[_RDX] // 2)
            _ptrace(_SETREGS, pid, 0, registers)
            self._tearing = pid if what == "tear" else 0
            _ptrace(_SYSCALL if what == "tear" else _CONT, pid)
        elif what == "short":
            _ptrace(_CONT, pid)
        elif what == "alone":
            _signal(pid)
        else:
            if self._then is not None:
                self._then()
            self.kill()


def _program(pid: int) -> str:
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()


def _is_within(folder: str, pid: int, descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}").startswith(folder)
    except OSError:
        return False


def _continue(pid: int, number: int) -> None:
    try:
        _ptrace(_CONT, pid, 0, number)
    except ProcessLookupError:
        return


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def traced(
    work: Callable[[], object],
    point: Point,
    seconds: float = 60,
    then: Callable[[], object] | None = None,
    **places: object,
) -> Run:
    """Runs `work` in a forked child up to the point. `places` are `spawn`'s."""
    run = Run(spawn(lambda: (_put_under_trace(point), work()), **places), point, then)
    run.watch(seconds)
    return run


def spawn(work: Callable[[], object], out: int = -1, err: int = -1) -> int:
    """Forks; the child does the work, with its output going to these descriptors, and ends with what the work gave."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.dup2(out if out >= 0 else os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(err if err >= 0 else os.open(os.devnull, os.O_WRONLY), 2)
        found = work()
        code = found if isinstance(found, int) else 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
