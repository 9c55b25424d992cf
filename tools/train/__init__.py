"""Trains the bundled model and writes it as a folder in diffusers' layout."""
