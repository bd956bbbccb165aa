"""What no declaration says: exit codes, environment, settings, files, and what a server tells unasked."""

DESCRIPTION = (
    "Agents that work in one repository, in its worktrees and in its clones, send each other mail and see what the others do. "
    "There is no server but the git remote that is there already. `git thrum -h` lists the commands, "
    "`git thrum COMMAND -h` explains one."
)
EXIT_CODES = [
    ("0", "it worked; for `send` and its like: the message is durable on this machine"),
    ("1", "it was refused or failed (also: `wait` without a message in time, `daemon status` without a daemon)"),
    ("2", "the command line makes no sense; for `wait`: any error"),
    ("3", "a bug of ours; the message says where its trace is"),
    ("130", "interrupted with Ctrl-C"),
]
ENVIRONMENT = [
    ("THRUM_NAME", "be the agent of this name, as `--name` says it"),
    ("THRUM_ROLE", "be the one with this role, as `--role` says it; the role of `quickstart` and `agent register`"),
    ("THRUM_MODULE", "be the one that works on this, as `--module` says it; the module of the same two"),
    ("THRUM_DISPLAY", "your name for people"),
    ("THRUM_WS_PORT", "the daemon's WebSocket port, before the setting thrum.wsPort"),
    ("NO_COLOR", "no colours"),
    ("COLUMNS", "how wide the output may be"),
]
IDENTITY = (
    "Who you are is decided by the worktree you stand in: first by the options `--name`, `--role` and `--module`, then by "
    "the environment, then by the identity files in `.thrum/identities`. Several that fit, or a contradiction, is an error "
    "that names both sides; never somebody else."
)
SETTINGS = [
    ("thrum.interval", "seconds between two cycles of the sync when nothing is urgent; 60"),
    ("thrum.remote", "the remote to sync with; origin, or the only one there is"),
    ("thrum.sync", "false: never fetch or push"),
    ("thrum.allowPublic", "true: sync with a remote that anybody may read, too"),
    ("thrum.wsPort", "the WebSocket's port on the loopback; 9999, else the next free one; 0 switches it off"),
    ("thrum.onlineWindow", "seconds after a sign of life during which an agent counts as online; 1800"),
]
FILES = [
    (".thrum/identities/NAME.json", "who works in this worktree"),
    (".thrum/var/", "the read model, the daemon's socket, its ports and tokens; nothing that cannot be made anew"),
    (".git/thrum-sync/a-sync/", "the logs: a worktree of the branch a-sync"),
    ("~/.local/share/git-thrum/backups/", "what `git thrum backup` keeps, a folder for each repository"),
]
NOTIFICATIONS = [
    (
        "notification.message",
        "A message that a subscription of the connection's session matches and the agent's inbox would show; never one of "
        "its own. It comes once, named with the first subscription that matches.",
        [
            ("message_id", "string", "the message"),
            ("thread_id", "string", 'its thread, "" if it is in none'),
            ("author", "object", "{agent_id, name, role?, module?}"),
            ("preview", "string", "the beginning of its text"),
            ("scopes", "array", "its scopes, each {type, value}"),
            ("matched_subscription", "object", "{subscription_id, match_type}; match_type is scope, mention or all"),
            ("timestamp", "string", "when it was sent, or edited"),
            ("event_id", "string", "what to give `subscribe` as `since`, to hear of what came after it"),
            ("to", "array", "whom it is addressed to, * for everyone"),
            ("priority", "string", "low, normal, high or critical"),
            ("authored_by", "string, optional", "the user who wrote it in the author's name"),
            ("disclosed", "boolean, optional", "readers are told outright who wrote it"),
            ("edited", "boolean, optional", "it was there before, and has another text now"),
        ],
    ),
    (
        "notification.thread.updated",
        "A thread the agent takes part in has a new message.",
        [
            ("thread_id", "string", "the thread"),
            ("message_count", "integer", "how many messages it has"),
            ("unread_count", "integer", "how many of them the agent has not read"),
            ("last_activity", "string", "when something was said last"),
            ("last_sender", "string", "who said it"),
            ("preview", "string", "the beginning of what was said"),
            ("timestamp", "string", "when the message was sent"),
        ],
    ),
]
"""What subscribers are told: name, meaning, and each parameter's name, type and meaning."""
