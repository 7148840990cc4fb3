"""One queue for each pool: who waits, who has room, and who is chosen."""
