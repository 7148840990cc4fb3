"""Data where it lives: opened, found and written by the workers of its pool."""
