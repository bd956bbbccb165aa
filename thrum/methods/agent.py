"""Agents: who there is, who I am, who works on what."""

from __future__ import annotations

import posixpath
from typing import Annotated, Any

from thrum.core import clock, events, ids
from thrum.core.identity import Identity
from thrum.errors import BadParams, NameTaken
from thrum.methods import parameters, presence
from thrum.methods.context import Context
from thrum.methods.registry import method

Json = dict[str, Any]
_LONGEST_DISPLAY = 200
_NAME_RULE = "1 to 64 lower-case letters, digits and _; not user_…, " + ", ".join(sorted(ids.RESERVED))


@method("agent.register")
def register(
    ctx: Context,
    role: parameters.Role,
    module: parameters.Module,
    name: parameters.AgentName = "",
    display: parameters.Display = "",
    force: Annotated[bool, "the agent has moved here from the worktree or clone that has its name"] = False,
    re_register: Annotated[bool, "state the registration anew though nothing changed"] = False,
) -> Json:
    """Register an agent and make it an identity of the caller's worktree.

    Registering again is harmless, and updates role, module and display. Several agents may have the same role and module, and
    a worktree may be home to several. A name that another worktree or clone uses is refused (NameTaken), unless forced. Gives
    `{agent_id, status, role, module, display}`, `status` being `registered` or `updated`.
    """
    _check_words(role, module, name)
    check_display(display)
    agent_id = name or _generate(ctx, role, module)
    known = ctx.roster.agent(agent_id)
    if not force:
        _check_free(ctx, agent_id, known)
    display = display or (known["display"] if known else "")
    changed = known is None or re_register or (role, module, display, ctx.origin) != _facts(known)
    instant = ctx.now()
    if changed or (ctx.home.worktree and known and known["worktree"] != ctx.home.worktree):
        version = ctx.roster.last_version(agent_id) + 1
        ctx.append(agent_id, [_registration(ctx, instant, agent_id, role, module, name, display, version)])
    ctx.home.save(Identity(agent_id, role, module, display), clock.text(instant))
    status = "registered" if known is None or not changed else "updated"
    return {"agent_id": agent_id, "status": status, "role": role, "module": module, "display": display}


@method("agent.list")
def list_(
    ctx: Context, role: Annotated[str, "only this role"] = "", module: Annotated[str, "only this module"] = ""
) -> Json:
    """List every agent, newest registration first, with who is online.

    Users are listed too. Gives `{agents}`, each `{agent_id, kind, role, module, display, registered_at, last_seen_at?, status,
    worktree?, here, session_id?, intent?, current_task?}`: `status` is online or offline, `here` whether it
    lives in this clone.
    """
    wanted = [
        agent
        for agent in presence.everyone(ctx)
        if (not role or agent["role"] == role) and (not module or agent["module"] == module)
    ]
    return {"agents": wanted}


@method("agent.whoami")
def whoami(ctx: Context) -> Json:
    """Say who the caller is, and what decided it.

    Gives `{agent_id, role, module, display, source, registered, worktree?, session_id?, session_start?}`; `source` is flags,
    environment, identity_file or caller. Nobody, or several and none chosen: NoIdentity. Two that differ: Contradiction.
    """
    identity = ctx.identify()
    agent_id = identity.agent_id
    registered = ctx.roster.agent(agent_id)
    session = ctx.roster.open_session(agent_id, ctx.origin) or ctx.roster.open_session(agent_id)
    who = {
        "agent_id": agent_id,
        "role": identity.role or (registered or {}).get("role", ""),
        "module": identity.module or (registered or {}).get("module", ""),
        "display": identity.display or (registered or {}).get("display", ""),
        "source": identity.source,
        "registered": registered is not None,
        "worktree": ctx.home.worktree or None,
        "session_id": session["session_id"] if session else None,
        "session_start": session["started_at"] if session else None,
    }
    return {name: value for name, value in who.items() if value is not None}


@method("agent.listContext", reads_git=True)
def list_context(
    ctx: Context,
    agent_id: Annotated[str, "only this agent, or this role"] = "",
    branch: Annotated[str, "only this branch"] = "",
    file: Annotated[
        str, "only who has this path changed, from the top of the repository; a folder: anything in it"
    ] = "",
) -> Json:
    """List what agents work on: branch, unmerged commits, changed and uncommitted files, intent, task.

    Gives `{contexts}`, the freshest first, each `{session_id, agent_id, branch?, worktree?, worktree_path?, uncommitted_files?,
    changed_files?, unmerged_commits?: [{sha, message, files}], git_updated_at?, intent?, intent_updated_at?, current_task?,
    task_updated_at?}`; a path is told of this clone's worktrees only.
    """
    word, path = agent_id.removeprefix("@"), _normal(file)
    roles = {agent.agent_id: agent.role for agent in ctx.roster.known()}
    wanted = [
        context
        for context in presence.contexts(ctx)
        if (not word or word in (context["agent_id"], roles.get(context["agent_id"])))
        and (not branch or context.get("branch") == branch)
        and (not file or _touches(context, path))
    ]
    return {"contexts": wanted}


@method("agent.whoHas", reads_git=True)
def who_has(
    ctx: Context,
    file: Annotated[str, "a path from the top of the repository; a folder: everything in it; a bare name: anywhere"],
) -> Json:
    """Say who is editing a file: uncommitted, or in commits that are not merged yet.

    A bare name is looked for everywhere when nothing has exactly that path. Gives `{file, holders, contexts}`; a holder is
    `{agent_id, role, status, branch, uncommitted, committed, intent, git_updated_at}`.
    """
    if not file.strip():
        raise BadParams("file is required", "git thrum who-has PATH")
    path = _normal(file)
    online = {agent["agent_id"]: agent for agent in presence.everyone(ctx)}
    everything = presence.contexts(ctx)
    holders = [_holder(c, online, lambda name: _covers(path, name)) for c in everything]
    if not any(holders) and "/" not in path:
        holders = [_holder(c, online, lambda name: posixpath.basename(name.rstrip("/")) == path) for c in everything]
    found = [holder for holder in holders if holder]
    return {"file": path, "holders": found, "contexts": [h.pop("context") for h in found]}


@method("agent.ping", reads_git=True)
def ping(ctx: Context, agent: Annotated[str, "an agent, or a role that only one has"]) -> Json:
    """Say whether an agent is at work, and on what.

    Gives `{agent, context}`, as in `agent.list` and `agent.listContext`. Nobody by that name: NotFound.
    """
    agent_id = ctx.agent_id(agent)
    described = next(a for a in presence.everyone(ctx) if a["agent_id"] == agent_id)
    found = [context for context in presence.contexts(ctx) if context["agent_id"] == agent_id]
    return {"agent": described, "context": found[0] if found else None}


def check_display(display: str) -> None:
    """Raises BadParams for a display name that is too long."""
    if len(display) > _LONGEST_DISPLAY:
        raise BadParams(f"display has {len(display)} characters, {_LONGEST_DISPLAY} are allowed")


def _check_words(role: str, module: str, name: str) -> None:
    for field, word in (("role", role), ("module", module)):
        if not word:
            raise BadParams(f"{field} is required", f"--{field} {'reviewer' if field == 'role' else 'auth'}")
        if not ids.is_role(word):
            raise BadParams(f"{word[:80]!r} is no {field}", "1 to 64 lower-case letters, digits, - and _")
    if name and not ids.is_agent_name(name):
        raise BadParams(f"{name[:80]!r} cannot be an agent's name", _NAME_RULE)


def _generate(ctx: Context, role: str, module: str) -> str:
    """The name of an agent that gave none: the same each time in one worktree, another in another."""
    shared, own = ctx.home.repository_id, f"{ctx.home.repository_id}/{ctx.origin}/{ctx.home.worktree}"
    candidates = [_made_name(seed, role, module) for seed in (shared, own)]
    here = {identity.agent_id for identity in ctx.home.identities()}
    for candidate in candidates:
        if candidate in here:
            return candidate
    first, second = candidates
    is_free = ctx.roster.agent(first) is None and not ctx.home.elsewhere(first)
    return first if is_free else second


def _made_name(seed: str, role: str, module: str) -> str:
    made = role.replace("-", "_")[:40] + ids.generated_agent_id(seed, role, module)[len(role) :]
    return made if ids.is_agent_name(made) else "agent_" + made


def _check_free(ctx: Context, agent_id: str, known: Json | None) -> None:
    other = ctx.home.elsewhere(agent_id)
    hint = "choose another --name, or --force if this agent has moved here"
    if other:
        raise NameTaken(f"{agent_id} already works in the worktree {other}", hint)
    if known is not None and known["origin"] != ctx.origin:
        raise NameTaken(f"{agent_id} is already registered in another clone ({known['role']}, {known['module']})", hint)


def _facts(known: Json) -> tuple[str, str, str, str]:
    return known["role"], known["module"], known["display"], known["origin"]


def _registration(
    ctx: Context, instant: int, agent_id: str, role: str, module: str, name: str, display: str, version: int
) -> Json:
    return ctx.event(
        events.AGENT_REGISTER,
        instant,
        agent_id=agent_id,
        kind="agent",
        role=role,
        module=module,
        name=name,
        display=display,
        worktree=ctx.home.worktree,
        version=version,
    )


def _normal(file: str) -> str:
    """A path from the top of the repository in its plainest form. Raises BadParams for one that leads out of it."""
    path = posixpath.normpath(file.replace("\\", "/")) if file else ""
    if path.startswith("/") or path.split("/")[0] == "..":
        raise BadParams(f"{file[:200]} is not in this repository", "give a path from its top, e.g. src/auth.py")
    return path


def _covers(path: str, name: str) -> bool:
    return path in (name, ".") or name.startswith(path + "/") or (name.endswith("/") and path.startswith(name))


def _touches(context: Json, path: str) -> bool:
    return any(_covers(path, name) for _, name in _files(context))


def _files(context: Json) -> list[tuple[str, str]]:
    files = [("uncommitted", name) for name in context.get("uncommitted_files") or ()]
    files += [("committed", name) for name in context.get("changed_files") or ()]
    return files


def _holder(context: Json, online: dict[str, Json], matches: Any) -> Json:
    found = [(how, name) for how, name in _files(context) if matches(name)]
    if not found:
        return {}
    agent = online.get(context["agent_id"], {})
    return {
        "agent_id": context["agent_id"],
        "role": agent.get("role", ""),
        "status": agent.get("status", "offline"),
        "branch": context.get("branch", ""),
        "uncommitted": sorted({name for how, name in found if how == "uncommitted"}),
        "committed": sorted({name for how, name in found if how == "committed"}),
        "intent": context.get("intent", ""),
        "git_updated_at": context.get("git_updated_at", ""),
        "context": context,
    }
