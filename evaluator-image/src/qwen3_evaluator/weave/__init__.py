"""Weave's scorers, in a process of their own."""
