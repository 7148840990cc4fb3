"""What runs inside the scheduler process: it keeps what was planned, and counts what crossed."""
