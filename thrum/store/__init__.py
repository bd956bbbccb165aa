"""Files and SQLite: the logs, the door into them, and the read model folded from them."""
