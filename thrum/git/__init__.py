"""Git: the only room that knows pygit2 and the git program."""
