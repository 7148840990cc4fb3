"""What the user sees of pools: pictures of a placed graph."""
