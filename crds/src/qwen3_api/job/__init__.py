"""What crosses the border of a pod: the job file in, objects in the bucket and an exit code out."""
