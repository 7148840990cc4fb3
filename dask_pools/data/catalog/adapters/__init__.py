"""Catalogs that a field has already, read as ours: intake, STAC, and plain folders."""
