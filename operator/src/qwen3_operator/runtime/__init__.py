"""What runs reconciles: the queue, the resync, probes, and the order of start and stop."""
