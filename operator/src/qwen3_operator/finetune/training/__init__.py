"""The training stage: the Job of a revision, its job spec, its status."""
