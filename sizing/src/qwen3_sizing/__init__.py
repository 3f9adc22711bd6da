"""Sizes of a training run: memory, throughput, GPUs. Pure: no I/O, no settings."""
