"""Every command there is: where it lives and what it is for. Nothing of it is imported before it is run."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """A command: the module and function that plan it, and its help: a sentence, or the method whose own it shares."""

    where: str
    help: str
    hidden: bool = False


Table = dict[str, "Command | Table"]

_SESSION: Table = {
    "start": Command("session:start", "session.start"),
    "end": Command("session:end", "session.end"),
    "heartbeat": Command("session:heartbeat", "session.heartbeat"),
    "set-intent": Command("session:set_intent", "session.setIntent"),
    "set-task": Command("session:set_task", "session.setTask"),
}

COMMANDS: Table = {
    "init": Command("setup:init", "Set thrum up in this repository."),
    "setup": Command("setup:setup", "Make a worktree for another agent, or set an existing one up."),
    "migrate": Command("migrate:migrate", "Bring what older versions of thrum left behind into today's logs."),
    "quickstart": Command("agent:quickstart", "quickstart"),
    "send": Command("message:send", "message.send"),
    "reply": Command("message:reply", "message.reply"),
    "inbox": Command("message:inbox", "Show your mail, newest first, and mark what was shown as read."),
    "sent": Command("message:sent", "message.sent"),
    "wait": Command("message:wait", "message.wait"),
    "message": {
        "get": Command("message:get", "message.get"),
        "edit": Command("message:edit", "message.edit"),
        "delete": Command("message:delete", "message.delete"),
        "read": Command("message:read", "message.markRead"),
    },
    "search": Command("message:search", "message.search"),
    "thread": {
        "create": Command("thread:create", "thread.create"),
        "list": Command("thread:list_", "thread.list"),
        "show": Command("thread:show_", "thread.get"),
    },
    "subscribe": Command("subscription:subscribe", "subscribe"),
    "unsubscribe": Command("subscription:unsubscribe", "unsubscribe"),
    "subscriptions": Command("subscription:subscriptions", "subscriptions.list"),
    "purge": Command("purge:purge", "purge"),
    "whoami": Command("agent:whoami", "agent.whoami"),
    "agent": {
        "list": Command("agent:list_", "agent.list"),
        "register": Command("agent:register", "agent.register"),
        "whoami": Command("agent:whoami", "agent.whoami"),
        "context": Command("agent:context", "agent.listContext"),
        "delete": Command("agent:delete", "agent.delete"),
        "cleanup": Command("cleanup:cleanup", "agent.cleanup"),
        **_SESSION,
    },
    "session": {**_SESSION, "list": Command("session:list_", "session.list")},
    "who-has": Command("agent:who_has", "agent.whoHas"),
    "ping": Command("agent:ping", "agent.ping"),
    "status": Command("overview:status", "status"),
    "overview": Command("overview:overview", "overview"),
    "sync": {
        "status": Command("sync:status", "sync.status"),
        "force": Command("sync:force", "sync.force"),
    },
    "daemon": {
        "start": Command("daemon:start", "Start the daemon of this repository."),
        "stop": Command("daemon:stop", "Stop the daemon."),
        "status": Command("daemon:status", "Say whether the daemon runs; 1 if it does not."),
        "restart": Command("daemon:restart", "Stop the daemon if it runs, and start it."),
        "logs": Command("daemon:logs", "Show what the daemon wrote into its log."),
        "run": Command("daemon:run", "Be the daemon, in the foreground.", hidden=True),
    },
    "hooks": {
        "install": Command("hooks:install", "Put our git hooks in front of whatever hooks there are."),
        "uninstall": Command("hooks:uninstall", "Take our git hooks away, and leave the others as they were."),
        "status": Command("hooks:status", "Say how each git hook is installed."),
    },
    "mcp": {
        "serve": Command("mcp:serve", "Be an MCP server: thrum as tools for a model, over standard input and output.")
    },
    "log": Command("log:log", "Show the raw history, straight from the logs, newest first."),
    "export": Command("bundle:export", "Write all logs into one file."),
    "import": Command("bundle:import_", "Take in the logs of a file that `export` or `backup` wrote."),
    "backup": Command("bundle:backup", "Keep all logs in a file with the time in its name."),
    "verify": Command(
        "verify:verify", "Read every object, line and row again, and say what is true; 1 if it is not whole."
    ),
    "doctor": Command("doctor:doctor", "Look closely at everything, and say what is wrong; 1 if something is."),
    "rebuild": Command("doctor:rebuild", "Build the read model anew from the logs."),
    "version": Command("version:version", "Say which version this is."),
    "completion": Command("completion:completion", "Print a shell's completion script."),
}

GROUPS = {
    "message": "Single messages.",
    "thread": "Threads: conversations with a title.",
    "agent": "Agents: who there is, who you are, what they work on.",
    "session": "Work periods, with an intent and a task.",
    "sync": "The exchange with the remote.",
    "daemon": "The process that makes everything faster, and syncs.",
    "hooks": "The git hooks that notice what you do.",
    "mcp": "thrum as tools for coding agents that speak MCP.",
}
"""What each group of commands is about."""


def says(help: str) -> str:
    """The help of a command: the first line of its method's docstring, or the sentence itself."""
    if " " in help:
        return help
    from thrum.methods import registry

    return registry.load()[help].summary
