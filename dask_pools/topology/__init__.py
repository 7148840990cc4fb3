"""Topologies: read, written, and measured between the workers of a cluster."""
