"""Checks of files before an engine reads them."""
