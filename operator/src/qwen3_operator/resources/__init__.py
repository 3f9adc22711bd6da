"""Parts that all kinds share: labels, identity, names, storage, pods, Jobs, conditions."""
