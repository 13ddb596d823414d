"""Simulations of thousands of ranks on a virtual clock, for adbo and the methods compared with it.

This room does not know MPI, databases or the command line.
"""
