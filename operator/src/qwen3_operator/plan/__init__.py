"""Pure decisions: from a resource and what was observed to what shall be true next.

Nothing here reads a clock, the environment, the cluster or the bucket.
"""
