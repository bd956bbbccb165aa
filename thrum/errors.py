"""Every way thrum can refuse you: a class with a code, a sentence and a next step.

A `ThrumError` changes nothing: it is raised before the first effect. Its `code` is the JSON-RPC error code, its `exit_code`
what the command line ends with. Nobody matches on the text.
"""

from __future__ import annotations


class ThrumError(Exception):
    """A refusal: what happened (`str(error)`) and what to do next (`error.hint`)."""

    code = -32000
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def kind(self) -> str:
        """The refusal's name on the wire, e.g. `NoIdentity`."""
        return type(self).__name__

    def as_json(self) -> dict[str, object]:
        """`{"error": {"code", "kind", "message", "hint"}}`, the document `--json` prints."""
        return {"error": {"code": self.code, "kind": self.kind, "message": str(self), "hint": self.hint}}


class UsageError(ThrumError):
    """The command line or the parameters do not make sense."""

    code = -32602
    exit_code = 2


class BadParams(ThrumError):
    """A parameter is missing, of the wrong type or out of range; the sentence names it."""

    code = -32602


class NotARepository(ThrumError):
    """No git repository holds this directory."""

    code = -32010


class NotInitialised(ThrumError):
    """The repository has no thrum in it yet."""

    code = -32011


class NoIdentity(ThrumError):
    """No agent is set up in this worktree, or several are and none was chosen."""

    code = -32012


class Contradiction(ThrumError):
    """Flags, environment and identity file disagree about who is speaking."""

    code = -32013


class NotFound(ThrumError):
    """The message, thread, session or agent asked for does not exist here."""

    code = -32014


class UnknownMethod(NotFound):
    """There is no method of that name."""

    code = -32601


class NameTaken(ThrumError):
    """The name belongs to an agent somewhere else."""

    code = -32015


class NoSession(ThrumError):
    """The agent has no open session."""

    code = -32016


class UnknownRecipient(ThrumError):
    """A recipient is neither an agent nor a role; nothing was stored."""

    code = -32017


class Forbidden(ThrumError):
    """Only the author, or only the agent itself, may do that."""

    code = -32018


class Refused(ThrumError):
    """The state of things does not allow it (already initialised, already running, not running)."""

    code = -32019


class StorageError(ThrumError):
    """The disk said no: full, read-only, an I/O error. Nothing was acknowledged."""

    code = -32020


class GitError(ThrumError):
    """A git command or a git repository failed us."""

    code = -32021


class RemoteError(GitError):
    """The remote could not be reached, refused us, or wanted a password."""

    code = -32022


class PublicRemote(RemoteError):
    """Anybody may read the remote, and nobody said that this is all right: nothing was pushed."""

    code = -32026


class AlreadyDeleted(ThrumError):
    """The message was deleted; it can neither be edited nor deleted again."""

    code = -32024


class NoUserName(ThrumError):
    """git's configuration does not say who the user is."""

    code = -32025


class DaemonError(ThrumError):
    """The daemon did not start, stop or answer."""

    code = -32023
