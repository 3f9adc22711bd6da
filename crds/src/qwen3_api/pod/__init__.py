"""Code shared by the programs of pods: bounded texts, log lines, the termination message."""
