"""Work stealing that keeps to pools."""
