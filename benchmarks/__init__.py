"""Benchmarks: each prints a table with its own figure beside what the machine can do at all."""
