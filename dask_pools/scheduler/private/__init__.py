"""Every name of distributed that is used here without being documented, in one place.

The rest of the package reads and replaces them through the functions of this folder alone.
What replaces something returns the function that takes it back. Each function has a test
that names the release of distributed when a new one has changed what it relies on.
"""
