"""Graphs as they arrive: pins become restrictions, and what nobody has placed is placed."""
