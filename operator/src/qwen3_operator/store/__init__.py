"""Object storage: the only place that speaks S3."""
