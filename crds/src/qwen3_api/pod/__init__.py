"""What the programs of pods share: texts that fit, log lines, the termination message."""
