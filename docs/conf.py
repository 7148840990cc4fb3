"""Configuration of Sphinx: `sphinx-build --fail-on-warning docs docs/_build`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dask_pools

project = "dask_pools"
author = "The dask_pools developers"
copyright = f"2026, {author}"
version = release = dask_pools.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"dask_pools {release}"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The types of parameters are in the docstrings, where a person wrote them.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# Members are listed by autodoc, once.
numpydoc_show_class_members = False
