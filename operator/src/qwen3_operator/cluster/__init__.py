"""All I/O with the Kubernetes API server: connection, client, errors, cache."""
