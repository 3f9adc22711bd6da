"""Contract of the pods: the job file in, objects in the bucket and an exit code out."""
