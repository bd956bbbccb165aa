"""The cycle: fetch, unite, commit, push; on top of store and git."""
