"""P2P rechunk, shuffle and merge that keep to pools."""
