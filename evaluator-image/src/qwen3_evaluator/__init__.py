"""The evaluator: asks served models every question of every suite and scores the answers.

`python -m qwen3_evaluator` runs in a CPU pod without torch. Order in: `EvalJob`. Out: progress,
samples and a report in the bucket, an exit code, and a termination message if it failed.
"""

VERSION = "0.1.0"
"""Of the package; here because the image holds the sources without the package's metadata."""
