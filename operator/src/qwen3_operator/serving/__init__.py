"""Serving pools: one base model, many adapters."""
