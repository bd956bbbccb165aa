"""What parameters mean that several methods share."""

from __future__ import annotations

from typing import Annotated, Any

from thrum.methods.registry import Pair

PageSize = Annotated[int, "how many a page, at most 100; 0 means 10"]
PageNumber = Annotated[int, "which page, from 1"]
Scope = Annotated[Pair | None, "only what carries this scope"]
Scopes = Annotated[list[Pair] | None, "what it is about, e.g. module and core; kept with it and can be filtered by"]
Refs = Annotated[list[Pair] | None, "what it refers to, e.g. pr and 42; kept with it and can be filtered by"]
MessageId = Annotated[str, "the message; a unique beginning of its id is enough, `msg_` may be left out"]
ThreadId = Annotated[str, "the thread; a unique beginning of its id is enough, `thr_` may be left out"]
Content = Annotated[str, "the text, at most 1 MiB"]
Format = Annotated[str, "what the text is: markdown, plain or json"]
Structured = Annotated[dict[str, Any] | None, "an object for programs, beside the text"]
Priority = Annotated[str, "low, normal, high or critical"]
RequestId = Annotated[str, "an id of the caller's choice: the same request twice is one message, another text refused"]
ActingAs = Annotated[str, "users only: the agent in whose name to write; the user is recorded as `authored_by`"]
Disclose = Annotated[bool, "with `acting_as`: readers are told outright who wrote it"]
SessionId = Annotated[str, "the session; the caller's open one when left out"]
Role = Annotated[str, "what the agent does: 1 to 64 lower-case letters, digits, - and _"]
Module = Annotated[str, "what it works on: 1 to 64 lower-case letters, digits, - and _"]
AgentName = Annotated[str, "the agent's name: 1 to 64 lower-case letters, digits and _; made up when left out"]
Display = Annotated[str, "a name for people, at most 200 characters"]
