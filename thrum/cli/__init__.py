"""The command line: one module a noun; a command becomes a `Plan`, a result becomes text."""
