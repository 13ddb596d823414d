"""The same ranks on a virtual clock, and the methods they are compared with.

It does not know MPI, databases or the command line.
"""
