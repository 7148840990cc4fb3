"""Pools that lose their workers, and what becomes of their tasks."""
