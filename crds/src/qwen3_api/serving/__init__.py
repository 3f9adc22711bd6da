"""Contract between the operator and the sidecars of a serving pool."""
