"""Clients of inference engines; there is one."""
