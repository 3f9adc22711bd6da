"""What the operator and the sidecars of a serving pool tell each other."""
