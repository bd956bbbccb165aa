"""Defects seeded on purpose, one at a time: a suite that does not notice them proves nothing."""
