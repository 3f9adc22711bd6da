"""Benchmarks: each prints a table, and says beside its own figure what the machine can do at all."""
