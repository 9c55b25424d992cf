"""Measures whether a video shows what its prompt says. `measure` knows nothing of the program that draws clips."""
