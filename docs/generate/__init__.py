"""Writes the reference pages, the man page and the OpenRPC document from the declarations: `python -m docs.generate`."""
