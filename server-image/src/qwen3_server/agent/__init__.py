"""The sidecar: adapters of the index, loaded and tested in the pod's engine."""
