"""Qwen3Eval: from the resource to its Job, its report and its status."""
