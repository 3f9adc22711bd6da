"""The part that knows kopf: watches in, objects out. Nothing is decided here."""
