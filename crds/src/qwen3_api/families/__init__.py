"""Families of base models: facts of their files and texts that training and export rely on."""
