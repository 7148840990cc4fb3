"""From Dask graphs to placement problems and back: Dask inside, never its scheduler."""
