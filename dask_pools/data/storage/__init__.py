"""Object stores whose credentials are on the workers of one pool, and nowhere else."""
