"""Values in, values out: events, codec, ids, union of logs, routing, JSON-RPC. No I/O, no clock, nothing third-party."""
