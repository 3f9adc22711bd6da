"""Group qwen3.dev, version v1alpha1."""
