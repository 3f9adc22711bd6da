"""Judges: what they are asked, how they are reached, what their replies mean."""
