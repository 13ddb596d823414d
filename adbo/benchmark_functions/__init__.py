"""Test functions with a known optimum, for demonstrations, tests and experiments.

Names and dimensions are apart from the functions, so that the command line can check them
without numpy.
"""
