"""The report: its documents, and the page for people."""
