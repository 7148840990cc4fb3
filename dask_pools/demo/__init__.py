"""The demo: one computation over two data centres on one machine, run in several ways, measured.

Its parts can be used one by one, in notebooks for example: `data` writes and checks, `ways`
computes, `reads` watches, `run` measures, `table` and `picture` show.
"""
