"""Clusters whose workers are in pools: what starts them, and what keeps their data apart.

`local` is the cluster of one machine. What it needs to decide is in `spec` (workers and
options) and `visibility` (whose data is hidden from whom), which start nothing; `namespaces`
and `guard` are the two ways to hide a directory from a process; `worker` puts them to use.
"""
