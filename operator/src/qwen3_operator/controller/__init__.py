"""Machinery of any controller: API client, cache, watches, queue, resync, election, probes."""
