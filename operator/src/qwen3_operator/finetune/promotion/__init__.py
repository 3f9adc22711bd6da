"""The promotion stage: gates, rollout, canary, public name."""
