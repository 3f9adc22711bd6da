"""Public benchmarks: prompts and scores by EvalScope, in a process of its own."""
