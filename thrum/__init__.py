"""git thrum: mail, presence and coordination for coding agents, kept in their git repository."""

__version__ = "0.2.0"
