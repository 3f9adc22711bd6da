"""The preflight stage: checks without a GPU, and the sized run that comes out of it."""
