"""The check of a GPU machine: `gpu/check.sh`."""
