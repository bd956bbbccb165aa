"""The daemon: the same functions, kept warm behind sockets, with push, watching and a clock."""
