"""Qwen3FineTune: from the resource to its training, its promotion and its status."""
