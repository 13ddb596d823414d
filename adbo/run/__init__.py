"""A whole run: one rank's loop, when it stops, and what all ranks do at the start and the end.

It does not know the command line, nor how progress is shown.
"""
