"""Kinds of keys in the work queue; also labels of metrics."""

FINE_TUNE = "finetune"
EVAL = "eval"
POOL = "pool"
