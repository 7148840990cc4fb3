"""Catalogs: names of data sets, and where each of them is, so that nobody has to know by heart."""
